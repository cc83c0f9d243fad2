/* Where training pictures come from: a folder of picture files, or a packed .npy file of uint8 [N,
 * height, width, channels].
 *
 * A source delivers item `index` as uint8 [height, width, channels] of the wanted size. It may be
 * read from many threads at once, each with a reader of its own.
 *
 * Bad pictures (empty, truncated, no picture at all, too large) keep their number, so that the
 * order never depends on when one was found out: whoever asks for one gets the next good one
 * instead, index + 1, index + 2, … modulo the count. Each is logged once as a warning. More than
 * half of them bad is an error. */
#ifndef DDPM_DATA_SOURCE_H
#define DDPM_DATA_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/random.h"
#include "data/resize.h"

struct ddpm_source;

/* Working memory of one reading thread. */
struct ddpm_source_reader;

struct ddpm_source_options {
    int channels, height, width; /* wanted; files are decoded to 1, 3 or 4 channels */
    enum ddpm_crop crop;
    int threads;         /* for checking pictures while opening; at least 1 */
    int64_t pixel_limit; /* largest picture; 0 = DDPM_PICTURE_PIXEL_LIMIT */
    size_t cache_bytes;  /* keep decoded pictures when all of them fit and the crop is the centre; 0
                            = never */
};

/* The value meant for `cache_bytes` unless the user says otherwise: 1 GiB. */
#define DDPM_SOURCE_CACHE_BYTES ((size_t)1 << 30)

/* What has been found out so far. */
struct ddpm_source_counts {
    int64_t total, bad;
    int64_t enlarged; /* smaller than wanted, so enlarged */
};

/* Open a folder or a .npy file. In a folder every file's first bytes are looked at; up to 2000
 * pictures of together at most 64 MiB are decoded as well, so that damaged ones are known at once
 * (with a cache they are kept, and never decoded again). Errors: DDPM_ERROR_IO; DDPM_ERROR_FORMAT
 * for no pictures, more than half of them bad, a .npy of another type; DDPM_ERROR_MISMATCH for a
 * packed file of another size or other channels than wanted. *out is NULL on failure. */
ddpm_status ddpm_source_open(struct ddpm_source **out, const char *path,
                             const struct ddpm_source_options *options);
void ddpm_source_close(struct ddpm_source **source);

/* The items `part` [count] of a source as a source of their own, in that order; the array is taken
 * over. It shares what is known and kept of them with `whole` (borrowed, closed after it). Index i
 * of it is part[i], and a bad one's stand-in is the next good one of the part; what is delivered,
 * and names, are told as items of `whole`. Only ddpm_source_count(), ddpm_source_wanted(), readers
 * and ddpm_source_read() take a part. Close it with ddpm_source_part_close(). */
ddpm_status ddpm_source_part_open(struct ddpm_source **out, struct ddpm_source *whole,
                                  int64_t *part, int64_t count);
void ddpm_source_part_close(struct ddpm_source **part);

/* Items, the bad ones included: 1 to 2^31. */
int64_t ddpm_source_count(const struct ddpm_source *source);

/* 64-bit hash that tells whether a run is resumed with the same pictures: for a folder names and
 * sizes, for a packed file shape and samples of its bytes. */
uint64_t ddpm_source_fingerprint(const struct ddpm_source *source);

/* What the item is called in messages: the path inside the folder, or "#index" of a packed file.
 * Lives as long as the source for a folder; of a packed file, written to `buffer`. */
const char *ddpm_source_name(const struct ddpm_source *source, int64_t index, char *buffer,
                             size_t buffer_bytes);

/* The options it was opened with. */
const struct ddpm_source_options *ddpm_source_wanted(const struct ddpm_source *source);

struct ddpm_source_counts ddpm_source_count_kinds(const struct ddpm_source *source);

/* Decode every picture that has not been decoded yet, in parallel, and log the bad ones and the
 * number of enlarged ones. The same errors as opening. Not to be called while other threads read.
 */
ddpm_status ddpm_source_verify(struct ddpm_source *source);

ddpm_status ddpm_source_reader_create(struct ddpm_source_reader **out, struct ddpm_source *source);
void ddpm_source_reader_destroy(struct ddpm_source_reader **reader);

/* Item `index` into out [height, width, channels]. random->v[1] and v[2] place a random crop; NULL
 * is fine for a centre crop. *used, when not NULL, is the item that was delivered: `index`, or the
 * one that stands in for a bad one. DDPM_ERROR_FORMAT when more than half of the items have turned
 * out bad; DDPM_ERROR_ARGUMENT for an index out of range. */
ddpm_status ddpm_source_read(struct ddpm_source_reader *reader, int64_t index,
                             const struct ddpm_random4 *random, uint8_t *out, int64_t *used);

/* The same without standing in for a bad item: *good says whether the item is one. For packing. */
ddpm_status ddpm_source_read_exactly(struct ddpm_source_reader *reader, int64_t index,
                                     const struct ddpm_random4 *random, uint8_t *out, bool *good);

#endif

/* Where training pictures come from: a folder of picture files, or a packed .npy file of uint8 [N,
 * height, width, channels], or [N, height, width] with one channel, or such an array in memory.
 *
 * A source delivers item `index` as uint8 [height, width, channels] of the requested size. Many
 * threads may read it at once, each with its own reader.
 *
 * Bad pictures (empty, truncated, not a picture, too large) keep their index, so the order never
 * depends on when one was found. Reading a bad one gives the next good one instead: index + 1,
 * index + 2, … modulo the count. Warnings say which are bad: one line for each, or one line for
 * more than three with the same reason. After opening there are at most 100 lines. If more than
 * half are bad, that is an error. */
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
    int channels, height, width; /* of the items; files are decoded to 1, 3 or 4 channels */
    enum ddpm_crop crop;
    int threads;         /* for checking pictures while opening; at least 1 */
    int64_t pixel_limit; /* largest picture; 0 = DDPM_PICTURE_PIXEL_LIMIT */
    size_t cache_bytes; /* cache decoded pictures if all of them fit and the crop is the centre; 0 =
                           never */
};

/* The default for `cache_bytes`: 1 GiB. */
#define DDPM_SOURCE_CACHE_BYTES ((size_t)1 << 30)

/* What is known so far. */
struct ddpm_source_counts {
    int64_t total, bad;
    int64_t enlarged; /* smaller than requested, so enlarged */
};

/* Open a folder or a .npy file. In a folder, check every file's first bytes. If there are at most
 * 2000 pictures of 64 MiB in total, decode them too, so that damaged ones are known at once (with a
 * cache they are kept and never decoded again). Of more pictures, and of a .npy file, decode 64.
 * Log what these are like (data/noticed.h), and bad ones grouped by reason. Errors: DDPM_ERROR_IO;
 * DDPM_ERROR_FORMAT if there are no pictures, if more than half are bad, or for a .npy file of a
 * different type; DDPM_ERROR_MISMATCH for a packed file with another size or other channels than
 * requested. *out is NULL on failure. */
ddpm_status ddpm_source_open(struct ddpm_source **out, const char *path,
                             const struct ddpm_source_options *options);
void ddpm_source_close(struct ddpm_source **source);

/* Pictures in memory: uint8 [count, height, width, channels], borrowed while the source is open;
 * count at least 1, `bytes` their size. */
struct ddpm_picture_array {
    const uint8_t *pixels;
    int64_t count, height, width;
    size_t bytes;
};

/* The same for pictures in memory, with the channels of `options`. They are delivered, named and
 * hashed like those of a packed file with the same content. */
ddpm_status ddpm_source_open_array(struct ddpm_source **out, const struct ddpm_picture_array *array,
                                   const struct ddpm_source_options *options);

/* Make a source of the items `part` [count] of `whole`, in that order; takes ownership of the
 * array. It shares the items' state and cache with `whole` (borrowed; close it after the part). Its
 * index i is part[i], and a bad item is replaced by the next good one of the part. Delivered
 * indices and names are those of `whole`. Only ddpm_source_count(), ddpm_source_wanted(), readers
 * and ddpm_source_read() accept a part. Close it with ddpm_source_part_close(). */
ddpm_status ddpm_source_part_open(struct ddpm_source **out, struct ddpm_source *whole,
                                  int64_t *part, int64_t count);
void ddpm_source_part_close(struct ddpm_source **part);

/* Items, including bad ones: 1 to 2^31. */
int64_t ddpm_source_count(const struct ddpm_source *source);

/* 64-bit hash to tell whether a run is resumed with the same pictures: of names and sizes for a
 * folder, of shape and samples of the bytes for a packed file. */
uint64_t ddpm_source_fingerprint(const struct ddpm_source *source);

/* The item's name in messages: its path inside the folder, or "#index" in a packed file. For a
 * folder it lives as long as the source; for a packed file it is written to `buffer`. */
const char *ddpm_source_name(const struct ddpm_source *source, int64_t index, char *buffer,
                             size_t buffer_bytes);

/* The options that the source was opened with. */
const struct ddpm_source_options *ddpm_source_wanted(const struct ddpm_source *source);

struct ddpm_source_counts ddpm_source_count_kinds(const struct ddpm_source *source);

ddpm_status ddpm_source_reader_create(struct ddpm_source_reader **out, struct ddpm_source *source);
void ddpm_source_reader_destroy(struct ddpm_source_reader **reader);

/* Read item `index` into out [height, width, channels]. random->v[1] and v[2] place a random crop;
 * NULL is fine for a centre crop. *used, if not NULL, is the item that was delivered: `index`, or
 * its replacement if that is bad. DDPM_ERROR_FORMAT if more than half of the items have turned out
 * bad; DDPM_ERROR_ARGUMENT for an index out of range. */
ddpm_status ddpm_source_read(struct ddpm_source_reader *reader, int64_t index,
                             const struct ddpm_random4 *random, uint8_t *out, int64_t *used);

/* The same without replacing a bad item: *good says whether the item is good. For packing. */
ddpm_status ddpm_source_read_exactly(struct ddpm_source_reader *reader, int64_t index,
                                     const struct ddpm_random4 *random, uint8_t *out, bool *good);

#endif

/* Between source.c and the kinds of sources: one file each, one row each in the table of source.c.
 */
#ifndef DDPM_DATA_SOURCE_KINDS_H
#define DDPM_DATA_SOURCE_KINDS_H

#include "data/picture.h"
#include "data/source.h"

struct ddpm_source_kind {
    const char *name;
    /* All items are in one file: a failure to read is the file's, not the picture's. */
    bool one_file;
    /* Whether this path is for this kind. */
    bool (*claims)(const char *path);
    /* Fill source->count, fingerprint and state. On failure `close` is called too. */
    ddpm_status (*open)(struct ddpm_source *source);
    void (*close)(struct ddpm_source *source);
    const char *(*name_of)(const struct ddpm_source *source, int64_t index, char *buffer,
                           size_t buffer_bytes);
    /* Cheap test before anything is decoded; NULL when there is nothing to test. */
    ddpm_status (*check)(const struct ddpm_source *source, int64_t index);
    /* One item. *enlarged tells whether it was smaller than wanted. */
    ddpm_status (*read)(struct ddpm_source_reader *reader, int64_t index,
                        const struct ddpm_random4 *random, uint8_t *out, bool *enlarged);
    /* A hash of an item's bytes as they are stored (data/content.h); `buffer` is room to read them
     * in pieces. */
    ddpm_status (*hash)(const struct ddpm_source *source, int64_t index, void *buffer, size_t bytes,
                        uint64_t *out);
    /* What changes when the item may have: a hash of its name, size and time of change. */
    ddpm_status (*stamp)(const struct ddpm_source *source, int64_t index, uint64_t *out);
};

extern const struct ddpm_source_kind ddpm_source_kind_folder, ddpm_source_kind_packed;

struct ddpm_source {
    const struct ddpm_source_kind *kind;
    struct ddpm_source_options options;
    char *path;
    int64_t count;
    uint64_t fingerprint;
    size_t item_bytes;
    bool cacheable;     /* items are worth keeping decoded */
    bool verify_opened; /* few and small enough to decode all while opening */
    void *data;         /* of the kind */
    struct ddpm_source_items *items;
    /* Of a part: the source that it is a part of, whose fields above it lacks but for count and
     * options, and the items of that source, in its order. */
    struct ddpm_source *whole;
    int64_t *part;
};

/* Does the failure to read an item lie in that picture? Others must end the run instead of changing
 * which pictures are used. */
bool ddpm_source_is_pictures_fault(const struct ddpm_source *source, ddpm_status status);

struct ddpm_source_reader {
    struct ddpm_source *source;     /* never a part */
    const struct ddpm_source *part; /* or NULL: all of it is read */
    struct ddpm_picture picture;
    struct ddpm_resizer resizer;
    uint8_t *pixels; /* room of the kind for one picture as it is stored; NULL until needed */
};

#endif

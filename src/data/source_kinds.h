/* The interface between source.c and the kinds of sources: one file each, and one row each in
 * source.c's table. */
#ifndef DDPM_DATA_SOURCE_KINDS_H
#define DDPM_DATA_SOURCE_KINDS_H

#include "data/noticed.h"
#include "data/picture.h"
#include "data/source.h"

struct ddpm_source_kind {
    const char *name;
    /* All items are in one file, so a read error is the file's fault, not the picture's. */
    bool one_file;
    /* Does this kind handle this path? NULL for arrays, which have none. */
    bool (*claims)(const char *path);
    /* Fill source->count, fingerprint and state. After a failure `close` is called too. */
    ddpm_status (*open)(struct ddpm_source *source);
    void (*close)(struct ddpm_source *source);
    const char *(*name_of)(const struct ddpm_source *source, int64_t index, char *buffer,
                           size_t buffer_bytes);
    /* Cheap check before anything is decoded; NULL if there is nothing to check. */
    ddpm_status (*check)(const struct ddpm_source *source, int64_t index);
    /* Read an item. *enlarged says whether it was smaller than requested. */
    ddpm_status (*read)(struct ddpm_source_reader *reader, int64_t index,
                        const struct ddpm_random4 *random, uint8_t *out, bool *enlarged);
    /* A hash of an item's stored bytes (data/content.h); `buffer` is for reading them in pieces. */
    ddpm_status (*hash)(const struct ddpm_source *source, int64_t index, void *buffer, size_t bytes,
                        uint64_t *out);
    /* A hash of the item's name, size and modification time: it changes whenever the item may have
     * changed. */
    ddpm_status (*stamp)(const struct ddpm_source *source, int64_t index, uint64_t *out);
};

extern const struct ddpm_source_kind ddpm_source_kind_folder, ddpm_source_kind_packed,
    ddpm_source_kind_array;

struct ddpm_source {
    const struct ddpm_source_kind *kind;
    struct ddpm_source_options options;
    char *path;                             /* of an array: what messages call it */
    const struct ddpm_picture_array *array; /* while an array is opened */
    int64_t count;
    uint64_t fingerprint;
    size_t item_bytes;
    bool cacheable;     /* items are worth keeping decoded */
    bool verify_opened; /* few and small enough to decode them all while opening */
    void *data;         /* of the kind */
    struct ddpm_source_items *items;
    struct ddpm_noticed *noticed; /* while opening: what the pictures decoded so far are like */
    /* For a part: the source that it belongs to, and which of its items, in order. Of the fields
     * above, a part has only count and options. */
    struct ddpm_source *whole;
    int64_t *part;
};

/* Is the failure to read an item the picture's fault? Other failures must end the run rather than
 * change which pictures are used. */
bool ddpm_source_is_pictures_fault(const struct ddpm_source *source, ddpm_status status);

struct ddpm_source_reader {
    struct ddpm_source *source;     /* never a part */
    const struct ddpm_source *part; /* or NULL: all of it is read */
    struct ddpm_picture picture;
    struct ddpm_resizer resizer;
    uint8_t *pixels; /* the kind's buffer for a picture as stored; NULL until needed */
};

#endif

/* What pictures hold, as numbers: to set some aside by it, so that a picture is on the same side
 * under every name and in every order, and a second copy of it too.
 *
 * The hash is of the bytes of a folder's file, or of an item of a packed file: FNV-1a, its bits
 * mixed once more because its highest ones decide. */
#ifndef DDPM_DATA_CONTENT_H
#define DDPM_DATA_CONTENT_H

#include "data/source.h"

struct ddpm_content {
    uint64_t stamp; /* of name, size and time of change: is the hash still right? */
    uint64_t hash;
};

/* The contents of all items; free() them. All bytes are read once, in parallel, unless `kept` (or
 * NULL) is a file of ddpm_contents_keep() that knows them already. A picture that cannot be read
 * has its stamp for a hash; other failures are returned. Not for a part. */
ddpm_status ddpm_contents_make(struct ddpm_content **out, struct ddpm_source *source,
                               const char *kept);

/* Write them as int64 [count, 2], atomically. */
ddpm_status ddpm_contents_keep(const struct ddpm_content *contents, int64_t count,
                               const char *path);

/* Does this hash belong to the `fraction` (0 to 1) of all hashes that is set aside? */
bool ddpm_content_is_set_aside(uint64_t hash, double fraction);

/* An item and its hash. */
struct ddpm_hashed_item {
    uint64_t hash;
    int64_t item;
};

/* The items on one side of that in the order of their hashes, one of each content; free() them.
 * `fraction` 0 and aside = false: all. */
ddpm_status ddpm_contents_sort(struct ddpm_hashed_item **out, int64_t *out_count,
                               const struct ddpm_content *contents, int64_t count, double fraction,
                               bool aside);

/* How many of the items of `a` have a content that is in `b`, both as contents_sort() gives them.
 */
int64_t ddpm_contents_common(const struct ddpm_hashed_item *a, int64_t a_count,
                             const struct ddpm_hashed_item *b, int64_t b_count);

#endif

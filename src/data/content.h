/* Hashes of the pictures' content, which decide what is set aside for validation. So a picture is
 * on the same side whatever its name or place in the order, and so is a second file with the same
 * content.
 *
 * The hash covers the bytes of a file in a folder, or of an item in a packed file. It is FNV-1a,
 * with its bits mixed once more because the highest ones decide. */
#ifndef DDPM_DATA_CONTENT_H
#define DDPM_DATA_CONTENT_H

#include "data/source.h"

struct ddpm_content {
    uint64_t
        stamp; /* of name, size and modification time, to tell whether the hash is still valid */
    uint64_t hash;
};

/* Hash all items; free() the result. Reads all bytes once, in parallel, except for items whose hash
 * is in the file `kept` that ddpm_contents_keep() wrote (may be NULL). The hash of a picture that
 * cannot be read is its stamp; other failures are returned. Not for a part. */
ddpm_status ddpm_contents_make(struct ddpm_content **out, struct ddpm_source *source,
                               const char *kept);

/* Write the hashes as int64 [count, 2], atomically. */
ddpm_status ddpm_contents_keep(const struct ddpm_content *contents, int64_t count,
                               const char *path);

/* Is this hash in the `fraction` (0 to 1) of all hashes that is set aside? */
bool ddpm_content_is_set_aside(uint64_t hash, double fraction);

/* An item and its hash. */
struct ddpm_hashed_item {
    uint64_t hash;
    int64_t item;
};

/* The items that are set aside, or those that are not, sorted by hash, each content once; free()
 * them. `fraction` 0 and aside = false: all. */
ddpm_status ddpm_contents_sort(struct ddpm_hashed_item **out, int64_t *out_count,
                               const struct ddpm_content *contents, int64_t count, double fraction,
                               bool aside);

/* How many items of `a` have the same content as an item of `b`; both come from
 * ddpm_contents_sort(). */
int64_t ddpm_contents_common(const struct ddpm_hashed_item *a, int64_t a_count,
                             const struct ddpm_hashed_item *b, int64_t b_count);

#endif

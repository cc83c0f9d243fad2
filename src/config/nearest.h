/* The known name that is most like a mistyped one, for error texts. */
#ifndef DDPM_CONFIG_NEAREST_H
#define DDPM_CONFIG_NEAREST_H

#include <stddef.h>

/* Keeps the best of the names offered so far; zero-initialise, then set `wanted`. */
struct ddpm_nearest {
    const char *wanted;
    const char *best; /* borrowed from the caller; NULL before the first offer */
    size_t distance;
};

/* Offer one known name. */
void ddpm_nearest_offer(struct ddpm_nearest *nearest, const char *name);

/* Insertions, deletions, substitutions and swaps of neighbours that turn one text into the other
 * (optimal string alignment); '-' and '_' count as the same. Only the first 63 bytes are compared.
 */
size_t ddpm_edit_distance(const char *a, const char *b);

#endif

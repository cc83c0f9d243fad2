/* Which known name is most like a mistyped one, for error messages. */
#ifndef DDPM_CONFIG_NEAREST_H
#define DDPM_CONFIG_NEAREST_H

#include <stddef.h>

#include "core/error.h"

/* Keeps the best of the names offered so far. Zero-initialise it, then set `wanted`. */
struct ddpm_nearest {
    const char *wanted;
    const char *best; /* borrowed from the caller; NULL before the first offer */
    size_t distance;
};

/* Offer one known name. */
void ddpm_nearest_offer(struct ddpm_nearest *nearest, const char *name);

/* The best name, if what was typed is close enough to it: one typo in a short word, two from seven
 * letters on, three from eleven on, or a prefix of it. NULL otherwise: a bad guess misleads. */
const char *ddpm_nearest_name(const struct ddpm_nearest *nearest);

/* The end of an error message: "; the nearest is "NAME"", with a `mark` "; the nearest is
 * MARKNAME", or "" if none is near. Written to `buffer`, which is returned. */
#define DDPM_NEAREST_BYTES 128
const char *ddpm_nearest_text(const struct ddpm_nearest *nearest, const char *mark,
                              char buffer[DDPM_NEAREST_BYTES]);

/* DDPM_ERROR_ARGUMENT for a name that is not known: "unknown KIND "WANTED"", then the nearest name,
 * or if none is near "; want ALL". */
ddpm_status ddpm_nearest_refuse(const struct ddpm_nearest *nearest, const char *kind,
                                const char *all);

/* Insertions, deletions, substitutions and swaps of neighbours that turn one text into the other
 * (optimal string alignment); '-' and '_' count as the same. Compares only the first 63 bytes. */
size_t ddpm_edit_distance(const char *a, const char *b);

#endif

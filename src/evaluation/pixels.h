/* Neighbours by pixels, found with thumbnails. */
#ifndef DDPM_EVALUATION_PIXELS_H
#define DDPM_EVALUATION_PIXELS_H

#include <stdbool.h>

#include "evaluation/watch.h"

/* Longest side of a thumbnail. */
enum { DDPM_SMALL_SIDE = 32 };

/* uint8 [count, height, width, channels], borrowed. */
struct ddpm_small {
    const uint8_t *pixels;
    int64_t count;
    int height, width, channels;
};

/* For each of `rows`, the nearest of `columns`; the first of several. With `mirrored`, the rows are
 * also compared mirrored left to right. The distance is the root mean square difference of all
 * values. `out` is [rows->count]. */
ddpm_status ddpm_pixel_neighbours(const struct ddpm_small *rows, const struct ddpm_small *columns,
                                  bool mirrored, int threads, const struct ddpm_watch *watch,
                                  const char *what, struct ddpm_neighbour *out);

/* The same among the other rows: a picture is not its own neighbour, mirrored or not. `nearest` is
 * [rows->count], the distance to the nearest of the `few` rows that follow (ddpm_follows()). */
ddpm_status ddpm_pixel_neighbours_within(const struct ddpm_small *rows, bool mirrored, int64_t few,
                                         int threads, const struct ddpm_watch *watch,
                                         const char *what, struct ddpm_neighbour *out,
                                         struct ddpm_neighbour *nearest);

#endif

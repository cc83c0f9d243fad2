/* Squared Euclidean distances between all rows of two sets of features, tile by tile, in fp64. The
 * squared differences are summed in the order of the features, so a distance has the same bits
 * whichever of the two is the row, for any number of threads. */
#ifndef DDPM_EVALUATION_DISTANCES_H
#define DDPM_EVALUATION_DISTANCES_H

#include <stdbool.h>

#include "evaluation/watch.h"

/* fp32 [count, width], borrowed. */
struct ddpm_rows {
    const float *values;
    int64_t count, width;
};

/* A random order of `count` rows, the same every time: the place of each. Neighbours in a folder
 * are often alike, so the order of the files must not matter. DDPM_ERROR_UNSUPPORTED for more than
 * 2^31 rows. Free with free(). */
ddpm_status ddpm_new_places(uint32_t **out, int64_t count);

/* Is `other` one of the `few` rows that follow `row` in the random order of its set of `count`,
 * where the first one follows the last? The nearest of a fixed number of others can be compared
 * between sets of different sizes: among more rows, the nearest is nearer. */
static inline bool ddpm_follows(const uint32_t *places, int64_t row, int64_t other, int64_t count,
                                int64_t few)
{
    const int64_t ahead = (int64_t)places[other] - (int64_t)places[row];
    return other != row && (ahead > 0 ? ahead : ahead + count) <= few;
}

/* Columns passed to the callback together. */
enum { DDPM_LANES = 8 };

/* How many others there are in the smaller of two sets. */
static inline int64_t ddpm_fewer_others(int64_t a, int64_t b)
{
    return (a < b ? a : b) - 1;
}

/* Called with the distances of `row` to columns [first, first + count), count at most DDPM_LANES.
 * All calls for one row are on one thread, with its columns in order; different rows may be on
 * different threads. */
typedef void ddpm_take_distances(void *context, int64_t row, int64_t first, int count,
                                 const double *squared);

/* Both sets have the same width. `what` is passed to the watch. */
ddpm_status ddpm_distances(const struct ddpm_rows *rows, const struct ddpm_rows *columns,
                           int threads, const struct ddpm_watch *watch, const char *what,
                           ddpm_take_distances *take, void *context);

#endif

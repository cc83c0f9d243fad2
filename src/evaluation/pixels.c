/* Compare all pairs, but stop a sum once it exceeds the nearest so far. Sums are integers: exact,
 * and the same for any number of threads. */
#include "evaluation/pixels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "data/resize.h"
#include "evaluation/distances.h"

/* Values summed between two comparisons with the nearest so far; rows between two calls of the
 * watch. */
enum { STRETCH = 256, PIECE = 256 };

struct job {
    const struct ddpm_small *rows, *columns; /* columns NULL: the other rows */
    size_t bytes;                            /* of a thumbnail */
    int64_t begin;
    bool mirrored;
    uint8_t *room; /* [threads, bytes] */
    struct ddpm_neighbour *out;
    uint32_t *places;               /* within the rows: their random order; … */
    int64_t few;                    /* … among this many that follow in it … */
    struct ddpm_neighbour *nearest; /* … the nearest is this */
};

/* Sums of squares so far. */
struct least {
    int64_t all, few;
};

/* Σ(a - b)², or any value above `most` if it exceeds that. */
static int64_t difference(const uint8_t *restrict a, const uint8_t *restrict b, size_t bytes,
                          int64_t most)
{
    int64_t sum = 0;
    for (size_t first = 0; first < bytes && sum <= most; first += STRETCH) {
        const size_t left = bytes - first, count = left < STRETCH ? left : STRETCH;
        int32_t part = 0;
        for (size_t i = 0; i < count; ++i) {
            const int16_t d = (int16_t)(a[first + i] - b[first + i]);
            part += d * d;
        }
        sum += part;
    }
    return sum;
}

static void look_for(const struct job *job, int64_t row, const uint8_t *pixels, bool mirrored,
                     struct least *least)
{
    const struct ddpm_small *columns = job->columns ? job->columns : job->rows;
    const int64_t count = columns->count, self = job->columns ? -1 : row;
    struct ddpm_neighbour *out = &job->out[row];
    for (int64_t i = 0; i < count; ++i) {
        if (i == self)
            continue;
        const bool follows = job->nearest && ddpm_follows(job->places, row, i, count, job->few);
        const uint8_t *other = columns->pixels + (size_t)i * job->bytes;
        const int64_t sum =
            difference(pixels, other, job->bytes, (follows ? least->few : least->all) - 1);
        if (follows && sum < least->few)
            least->few = sum;
        if (sum >= least->all)
            continue;
        least->all = sum;
        *out = (struct ddpm_neighbour){.index = i, .mirrored = mirrored};
    }
}

static double distance_of(const struct job *job, int64_t sum)
{
    return sqrt((double)sum / (double)job->bytes);
}

static void run_rows(void *context, int64_t begin, int64_t end, int thread)
{
    const struct job *job = context;
    const struct ddpm_small *rows = job->rows;
    uint8_t *room = job->room + (size_t)thread * job->bytes;
    for (int64_t row = job->begin + begin; row < job->begin + end; ++row) {
        const uint8_t *pixels = rows->pixels + (size_t)row * job->bytes;
        struct least least = {INT64_MAX, INT64_MAX};
        look_for(job, row, pixels, false, &least);
        if (job->mirrored) {
            memcpy(room, pixels, job->bytes);
            ddpm_flip_horizontal(room, rows->height, rows->width, rows->channels);
            look_for(job, row, room, true, &least);
        }
        job->out[row].distance = distance_of(job, least.all);
        if (job->nearest)
            job->nearest[row].distance = distance_of(job, least.few);
    }
}

static ddpm_status run(struct job *job, int threads, const struct ddpm_watch *watch,
                       const char *what)
{
    const struct ddpm_small *rows = job->rows;
    ddpm_status status = DDPM_OK;
    job->bytes = (size_t)rows->height * (size_t)rows->width * (size_t)rows->channels;
    DDPM_TRY(ddpm_new_array((void **)&job->room, (size_t)threads, job->bytes, "mirrored pictures"));
    for (; job->begin < rows->count && status == DDPM_OK; job->begin += PIECE) {
        const int64_t left = rows->count - job->begin;
        status = ddpm_watch(watch, what, job->begin, rows->count);
        if (status == DDPM_OK)
            ddpm_parallel_for(threads, left < PIECE ? left : PIECE, 4, run_rows, job);
    }
    free(job->room);
    return status;
}

ddpm_status ddpm_pixel_neighbours(const struct ddpm_small *rows, const struct ddpm_small *columns,
                                  bool mirrored, int threads, const struct ddpm_watch *watch,
                                  const char *what, struct ddpm_neighbour *out)
{
    struct job job = {.rows = rows, .columns = columns, .mirrored = mirrored, .out = out};
    return run(&job, threads, watch, what);
}

ddpm_status ddpm_pixel_neighbours_within(const struct ddpm_small *rows, bool mirrored, int64_t few,
                                         int threads, const struct ddpm_watch *watch,
                                         const char *what, struct ddpm_neighbour *out,
                                         struct ddpm_neighbour *nearest)
{
    struct job job = {
        .rows = rows, .mirrored = mirrored, .out = out, .few = few, .nearest = nearest};
    DDPM_TRY(ddpm_new_places(&job.places, rows->count));
    ddpm_status status = run(&job, threads, watch, what);
    free(job.places);
    return status;
}

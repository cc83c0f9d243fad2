/* Distances between a block of rows and panels of columns. */
#include "evaluation/distances.h"

#include <stdlib.h>

#include "core/memory.h"
#include "core/random.h"
#include "core/threads.h"

/* Rows of a tile, whose sums stay in registers; rows that share one conversion of a panel to fp64;
 * rows between two calls of the watch. */
enum { TILE = 2, BLOCK = 32, PIECE = 512 };

/* Seeds the random order of rows. Any number will do, as long as it never changes. */
#define PLACES_SEED 20

/* The most rows that ddpm_permute() can order. */
#define PLACES_LIMIT ((int64_t)1 << 31)

ddpm_status ddpm_new_places(uint32_t **out, int64_t count)
{
    *out = NULL;
    if (count > PLACES_LIMIT)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "got a set of %lld pictures, want at most %lld",
                          (long long)count, (long long)PLACES_LIMIT);
    DDPM_TRY(ddpm_new_array((void **)out, (size_t)count, sizeof **out, "an order of pictures"));
    for (int64_t i = 0; i < count; ++i)
        (*out)[i] = ddpm_permute((uint32_t)i, (uint32_t)count, PLACES_SEED, 0);
    return DDPM_OK;
}

struct job {
    const struct ddpm_rows *rows, *columns;
    int64_t begin; /* first row of the piece */
    double *room;  /* BLOCK rows and one panel for each thread */
    ddpm_take_distances *take;
    void *context;
};

static size_t room_of_thread(int64_t width)
{
    return (size_t)width * (BLOCK + DDPM_LANES);
}

/* x [TILE, width] against panel [width, DDPM_LANES]. */
static void tile(const double *restrict x, const double *restrict panel, int64_t width,
                 double out[TILE][DDPM_LANES])
{
    double sums[TILE][DDPM_LANES] = {{0}};
    for (int64_t d = 0; d < width; ++d)
        for (int r = 0; r < TILE; ++r)
            for (int lane = 0; lane < DDPM_LANES; ++lane) {
                const double difference = x[r * width + d] - panel[d * DDPM_LANES + lane];
                sums[r][lane] += difference * difference;
            }
    for (int r = 0; r < TILE; ++r)
        for (int lane = 0; lane < DDPM_LANES; ++lane)
            out[r][lane] = sums[r][lane];
}

/* Rows [begin, end), padded to BLOCK by repeating the last one. */
static void fill_rows(const struct ddpm_rows *rows, int64_t begin, int64_t end, double *x)
{
    for (int64_t r = 0; r < BLOCK; ++r) {
        const int64_t row = begin + r < end ? begin + r : end - 1;
        for (int64_t d = 0; d < rows->width; ++d)
            x[r * rows->width + d] = (double)rows->values[row * rows->width + d];
    }
}

/* Pad with repeats of the last column. */
static void fill_panel(const struct ddpm_rows *columns, int64_t first, double *panel)
{
    for (int lane = 0; lane < DDPM_LANES; ++lane) {
        const int64_t column = first + lane < columns->count ? first + lane : columns->count - 1;
        const float *values = columns->values + column * columns->width;
        for (int64_t d = 0; d < columns->width; ++d)
            panel[d * DDPM_LANES + lane] = (double)values[d];
    }
}

static void run_block(void *context, int64_t begin, int64_t end, int thread)
{
    const struct job *job = context;
    const int64_t width = job->rows->width, columns = job->columns->count;
    double *x = job->room + room_of_thread(width) * (size_t)thread;
    double *panel = x + (size_t)(width * BLOCK), squared[TILE][DDPM_LANES];
    fill_rows(job->rows, job->begin + begin, job->begin + end, x);
    for (int64_t first = 0; first < columns; first += DDPM_LANES) {
        const int64_t left = columns - first;
        const int count = left < DDPM_LANES ? (int)left : DDPM_LANES;
        fill_panel(job->columns, first, panel);
        for (int64_t r = begin; r < end; r += TILE) {
            tile(x + (r - begin) * width, panel, width, squared);
            for (int k = 0; k < TILE && r + k < end; ++k)
                job->take(job->context, job->begin + r + k, first, count, squared[k]);
        }
    }
}

ddpm_status ddpm_distances(const struct ddpm_rows *rows, const struct ddpm_rows *columns,
                           int threads, const struct ddpm_watch *watch, const char *what,
                           ddpm_take_distances *take, void *context)
{
    struct job job = {.rows = rows, .columns = columns, .take = take, .context = context};
    ddpm_status status = DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&job.room, room_of_thread(rows->width) * (size_t)threads,
                            sizeof *job.room, "tiles of features"));
    for (; job.begin < rows->count && status == DDPM_OK; job.begin += PIECE) {
        const int64_t left = rows->count - job.begin;
        status = ddpm_watch(watch, what, job.begin, rows->count);
        if (status == DDPM_OK)
            ddpm_parallel_for(threads, left < PIECE ? left : PIECE, BLOCK, run_block, &job);
    }
    free(job.room);
    return status;
}

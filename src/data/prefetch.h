/* Batches made by threads ahead of the trainer.
 *
 * Sample number p = step * batch_size + place is item permute(p mod N, N, seed, epoch) of the
 * source, with epoch = p / N rounded down, or item p mod N without shuffling. Its flip and its crop
 * come from the Philox block (seed, block 0, sample = place, step, DDPM_STREAM_AUGMENT): word 0
 * flips when its highest bit is set, words 1 and 2 place the crop, the highest two bits of word 3
 * are the quarter turns. So a batch is a pure function of
 * (source, seed, step): thread counts and resuming never change it.
 *
 *     ddpm_prefetch_create(&prefetch, source, &options)
 *     loop: ddpm_prefetch_next(prefetch, &batch); use batch; ddpm_prefetch_release(prefetch)
 *     ddpm_prefetch_destroy(&prefetch) */
#ifndef DDPM_DATA_PREFETCH_H
#define DDPM_DATA_PREFETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "data/source.h"

struct ddpm_prefetch;

/* Where the pixels of the batches lie, for memory that a device reads directly. Both functions are
 * called from the threads that create and destroy the prefetcher. */
struct ddpm_buffer_allocator {
    ddpm_status (*allocate)(void *user, void **out, size_t bytes);
    void (*release)(void *user, void *buffer);
    void *user;
};

struct ddpm_prefetch_options {
    int batch_size; /* at least 1 */
    /* Only the places [first, first + part) of each batch are read; part 0: all of them. What comes
     * out is then that part, and nothing of it depends on how a batch is cut. */
    int first, part;
    int depth;   /* batches in the ring, 1 to 1024; 2 at least to work ahead */
    int threads; /* 1 to 1024 */
    uint64_t seed;
    uint64_t start_step; /* of the first batch */
    bool shuffle, flip, rotate;
    const struct ddpm_buffer_allocator *allocator; /* or NULL for ordinary memory; copied */
};

/* One batch, or the part of it that was asked for, borrowed until it is released. */
struct ddpm_batch {
    uint64_t step;
    int size, height, width, channels;
    const uint8_t *pixels; /* [size, height, width, channels], not yet flipped or turned */
    const uint8_t *flips; /* [size], bit 0: to be mirrored; above: then to be turned, in quarters */
    const int64_t *items; /* [size], the source's items that were delivered */
};

struct ddpm_prefetch_statistics {
    uint64_t batches; /* handed out */
    uint64_t waits;   /* of these, not ready when asked for */
    double seconds_waited;
};

/* Start the threads. The source is borrowed and must outlive the prefetcher. *out is NULL on
 * failure. */
ddpm_status ddpm_prefetch_create(struct ddpm_prefetch **out, struct ddpm_source *source,
                                 const struct ddpm_prefetch_options *options);

/* Stop the threads, waiting for the pictures they are at, and free everything, borrowed batches
 * included. */
void ddpm_prefetch_destroy(struct ddpm_prefetch **prefetch);

/* The next batch, in order of steps; waits while it is not ready. Up to `depth` batches may be held
 * at once (more is DDPM_ERROR_ARGUMENT). An error met while a batch was made is returned when its
 * turn comes, and from then on. One thread only may call next and release. */
ddpm_status ddpm_prefetch_next(struct ddpm_prefetch *prefetch, struct ddpm_batch *batch);

/* Give the oldest held batch back to be filled again. */
void ddpm_prefetch_release(struct ddpm_prefetch *prefetch);

struct ddpm_prefetch_statistics ddpm_prefetch_statistics(struct ddpm_prefetch *prefetch);

#endif

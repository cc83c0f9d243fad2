/* Threads that make batches ahead of the trainer.
 *
 * Sample number p = step * batch_size + place is item permute(p mod N, N, seed, epoch) of the
 * source, with epoch = p / N rounded down, or item p mod N without shuffling. Its flip and its crop
 * come from the Philox block (seed, block 0, sample = place, step, DDPM_STREAM_AUGMENT): the
 * picture is flipped if the highest bit of word 0 is set, words 1 and 2 place the crop, and the
 * highest two bits of word 3 are the quarter turns. Words 0 and 1 of block 1 place a patch. So a
 * batch is a pure function of (source, seed, step): thread counts and resuming never change it.
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

/* Allocator for the pixels of the batches, for memory that a device reads directly. Both functions
 * are called on the threads that create and destroy the prefetcher. */
struct ddpm_buffer_allocator {
    ddpm_status (*allocate)(void *user, void **out, size_t bytes);
    void (*release)(void *user, void *buffer);
    void *user;
};

struct ddpm_prefetch_options {
    int batch_size; /* at least 1 */
    /* Read only the places [first, first + part) of each batch; part 0: all of them. A batch is
     * then that part. Its content does not depend on how the batch is cut. */
    int first, part;
    int depth;   /* batches in the ring, 1 to 1024; at least 2 to work ahead */
    int threads; /* 1 to 1024 */
    uint64_t seed;
    uint64_t start_step; /* of the first batch */
    int height, width;   /* of the samples: patches of the source's items; 0: whole items */
    bool shuffle, flip, rotate;
    const struct ddpm_buffer_allocator *allocator; /* or NULL for ordinary memory; copied */
};

/* One batch, or the requested part of it, borrowed until it is released. */
struct ddpm_batch {
    uint64_t step;
    int size, height, width, channels;
    const uint8_t *pixels; /* [size, height, width, channels], not yet flipped or rotated */
    const uint8_t *flips;  /* [size], bit 0: mirror; higher bits: then rotate, in quarter turns */
    const int64_t *items;  /* [size], the source's items that were delivered */
    /* [size][2], row and column of each patch's first pixel in the mirrored and rotated picture; 0
     * for whole pictures */
    const int32_t *corners;
};

struct ddpm_prefetch_statistics {
    uint64_t batches; /* handed out */
    uint64_t waits;   /* of these, not ready when requested */
    double seconds_waited;
};

/* Start the threads. The source is borrowed and must outlive the prefetcher. *out is NULL on
 * failure. */
ddpm_status ddpm_prefetch_create(struct ddpm_prefetch **out, struct ddpm_source *source,
                                 const struct ddpm_prefetch_options *options);

/* Stop the threads, after the pictures they are working on, and free everything, including borrowed
 * batches. */
void ddpm_prefetch_destroy(struct ddpm_prefetch **prefetch);

/* Get the next batch, in order of steps; waits until it is ready. Up to `depth` batches may be held
 * at once (more is DDPM_ERROR_ARGUMENT). If making a batch failed, this call for that batch and
 * every later one returns the error. Only one thread may call next and release. */
ddpm_status ddpm_prefetch_next(struct ddpm_prefetch *prefetch, struct ddpm_batch *batch);

/* Release the oldest held batch, to be filled again. */
void ddpm_prefetch_release(struct ddpm_prefetch *prefetch);

struct ddpm_prefetch_statistics ddpm_prefetch_statistics(struct ddpm_prefetch *prefetch);

#endif

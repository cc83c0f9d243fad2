/* Shared by the tests of the prefetcher: a folder of pictures, and what it delivers. */
#ifndef DDPM_TESTS_PREFETCH_SUPPORT_H
#define DDPM_TESTS_PREFETCH_SUPPORT_H

#include "data_support.h"

#include <stdbool.h>

#include "data/prefetch.h"

enum { COUNT = 11, BATCH = 4, STEPS = 9, BYTES = 6 * 6 * 3 };

static const struct ddpm_prefetch_options plain = {
    .batch_size = BATCH, .depth = 3, .threads = 2, .seed = 5, .shuffle = true, .flip = true};

static char *folder;

static inline int make_pictures(void **state)
{
    (void)state;
    folder = make_folder();
    for (int i = 0; i < COUNT; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%02d.png", i);
        write_picture(folder, name, i, 9, 8);
    }
    return 0;
}

static inline int remove_pictures(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

static inline struct ddpm_source *open_source(enum ddpm_crop crop, size_t cache_bytes)
{
    const struct ddpm_source_options options = {.channels = 3,
                                                .height = 6,
                                                .width = 6,
                                                .crop = crop,
                                                .threads = 1,
                                                .cache_bytes = cache_bytes};
    struct ddpm_source *source = NULL;
    assert_ok(ddpm_source_open(&source, folder, &options));
    return source;
}

struct record {
    uint8_t pixels[STEPS][BATCH * BYTES];
    uint8_t flips[STEPS * BATCH];
    int64_t items[STEPS * BATCH];
};

static inline void run(struct record *record, struct ddpm_source *source, int threads, int depth,
                       int first)
{
    struct ddpm_prefetch_options options = plain;
    struct ddpm_prefetch *prefetch = NULL;
    options.threads = threads;
    options.depth = depth;
    options.start_step = (uint64_t)first;
    assert_ok(ddpm_prefetch_create(&prefetch, source, &options));
    for (int step = first; step < STEPS; ++step) {
        struct ddpm_batch batch;
        assert_ok(ddpm_prefetch_next(prefetch, &batch));
        assert_int_equal(batch.step, step);
        assert_int_equal(batch.size, BATCH);
        memcpy(record->pixels[step], batch.pixels, sizeof record->pixels[step]);
        memcpy(record->flips + step * BATCH, batch.flips, BATCH * sizeof *batch.flips);
        memcpy(record->items + step * BATCH, batch.items, BATCH * sizeof *batch.items);
        ddpm_prefetch_release(prefetch);
    }
    assert_int_equal(ddpm_prefetch_statistics(prefetch).batches, STEPS - first);
    assert_true(ddpm_prefetch_statistics(prefetch).waits <= (uint64_t)(STEPS - first));
    ddpm_prefetch_destroy(&prefetch);
    assert_null(prefetch);
}

#endif

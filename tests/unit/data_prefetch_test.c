/* Unit tests of the prefetcher: the order of the pictures, resuming, thread counts, errors,
 * shutting down. */
#include "prefetch_support.h"

#include "core/memory.h"

static void threads_depth_and_cache_never_change_a_batch(void **state)
{
    (void)state;
    for (int crop = 0; crop < 2; ++crop) {
        struct record *first = calloc(1, sizeof *first), *other = calloc(1, sizeof *other);
        struct ddpm_source *source = open_source((enum ddpm_crop)crop, 0);
        run(first, source, 1, 1, 0);
        ddpm_source_close(&source);
        for (int threads = 1; threads <= 5; threads += 2) {
            source = open_source((enum ddpm_crop)crop, 1 << 20);
            memset(other, 0, sizeof *other);
            run(other, source, threads, threads, 0);
            assert_memory_equal(first, other, sizeof *first);
            ddpm_source_close(&source);
        }
        free(first);
        free(other);
    }
}

static void resuming_goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct record *whole = calloc(1, sizeof *whole), *rest = calloc(1, sizeof *rest);
    struct ddpm_source *source = open_source(DDPM_CROP_RANDOM, 0);
    run(whole, source, 2, 2, 0);
    run(rest, source, 3, 4, 4);
    for (int step = 4; step < STEPS; ++step)
        assert_memory_equal(whole->pixels[step], rest->pixels[step], BATCH * BYTES);
    for (int p = 4 * BATCH; p < STEPS * BATCH; ++p) {
        assert_int_equal(whole->items[p], rest->items[p]);
        assert_int_equal(whole->flips[p], rest->flips[p]);
    }
    ddpm_source_close(&source);
    free(whole);
    free(rest);
}

/* Three processes that share the batches, with places 0, 1 and 2 to 3, read the same as one
 * process. */
static void parts_of_a_batch_are_those_of_the_whole(void **state)
{
    (void)state;
    static const int ends[] = {0, 1, 2, BATCH};
    struct record *whole = calloc(1, sizeof *whole);
    struct ddpm_source *source = open_source(DDPM_CROP_RANDOM, 0);
    run(whole, source, 2, 2, 0);
    for (int part = 0; part < 3; ++part) {
        struct ddpm_prefetch_options options = plain;
        struct ddpm_prefetch *prefetch = NULL;
        options.first = ends[part];
        options.part = ends[part + 1] - ends[part];
        assert_ok(ddpm_prefetch_create(&prefetch, source, &options));
        for (int step = 0; step < STEPS; ++step) {
            struct ddpm_batch batch;
            const int first = step * BATCH + options.first;
            assert_ok(ddpm_prefetch_next(prefetch, &batch));
            assert_int_equal(batch.size, options.part);
            const size_t count = (size_t)batch.size;
            assert_memory_equal(batch.pixels, whole->pixels[step] + options.first * BYTES,
                                count * BYTES);
            assert_memory_equal(batch.flips, whole->flips + first, count);
            assert_memory_equal(batch.items, whole->items + first, count * sizeof *batch.items);
            ddpm_prefetch_release(prefetch);
        }
        ddpm_prefetch_destroy(&prefetch);
    }
    struct ddpm_prefetch_options wrong = plain;
    struct ddpm_prefetch *none;
    wrong.first = 2;
    wrong.part = BATCH - 1;
    assert_int_equal(ddpm_prefetch_create(&none, source, &wrong), DDPM_ERROR_ARGUMENT);
    ddpm_source_close(&source);
    free(whole);
}

static void the_order_is_a_permutation_per_epoch(void **state)
{
    (void)state;
    struct record *record = calloc(1, sizeof *record);
    struct ddpm_source *source = open_source(DDPM_CROP_CENTRE, 1 << 20);
    run(record, source, 2, 2, 0);
    const int64_t *items = record->items;
    int flipped = 0, same = 0;
    for (int epoch = 0; epoch < STEPS * BATCH / COUNT; ++epoch) {
        int seen[COUNT] = {0};
        for (int i = 0; i < COUNT; ++i)
            assert_int_equal(seen[items[epoch * COUNT + i]]++, 0);
    }
    for (int i = 0; i < COUNT; ++i)
        same += items[i] == items[COUNT + i];
    assert_true(same < COUNT);
    for (int p = 0; p < STEPS * BATCH; ++p) {
        uint32_t index = (uint32_t)p % COUNT, epoch = (uint32_t)p / COUNT;
        struct ddpm_random4 random =
            ddpm_philox(5, 0, (uint32_t)p % BATCH, (uint32_t)p / BATCH, DDPM_STREAM_AUGMENT);
        assert_int_equal(items[p], ddpm_permute(index, COUNT, 5, epoch));
        assert_int_equal(record->flips[p], random.v[0] >> 31);
        flipped += record->flips[p];
    }
    assert_in_range(flipped, 8, 28);
    ddpm_source_close(&source);
    free(record);
}

/* All eight orientations occur, and rotating does not change which pictures are flipped. */
static void pictures_are_turned_too(void **state)
{
    (void)state;
    struct ddpm_source *source = open_source(DDPM_CROP_CENTRE, 1 << 20);
    struct ddpm_prefetch_options options = plain;
    struct ddpm_prefetch *prefetch;
    struct ddpm_batch batch;
    int seen[8] = {0};
    options.rotate = true;
    assert_int_equal(ddpm_prefetch_create(&prefetch, source, &options), DDPM_OK);
    for (uint32_t step = 0; step < 20; ++step) {
        assert_int_equal(ddpm_prefetch_next(prefetch, &batch), DDPM_OK);
        for (uint32_t place = 0; place < BATCH; ++place) {
            const struct ddpm_random4 random = ddpm_philox(5, 0, place, step, DDPM_STREAM_AUGMENT);
            assert_int_equal(batch.flips[place] & 1, random.v[0] >> 31);
            assert_int_equal(batch.flips[place] >> 1, random.v[3] >> 30);
            ++seen[batch.flips[place]];
        }
        ddpm_prefetch_release(prefetch);
    }
    for (int i = 0; i < 8; ++i)
        assert_true(seen[i] > 0);
    ddpm_prefetch_destroy(&prefetch);
    ddpm_source_close(&source);
}

static void errors_come_with_their_batch(void **state)
{
    (void)state;
    struct ddpm_source *source = open_source(DDPM_CROP_RANDOM, 0);
    for (int i = 0; i < COUNT; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%02d.png", i);
        if (i >= 4)
            write_bytes(folder, name, "", 0);
    }
    struct ddpm_prefetch_options options = plain;
    struct ddpm_prefetch *prefetch = NULL;
    struct ddpm_batch batch;
    options.shuffle = false;
    options.threads =
        1; /* with more, a later batch may find the bad ones before an earlier one is done */
    start_log();
    assert_ok(ddpm_prefetch_create(&prefetch, source, &options));
    assert_ok(ddpm_prefetch_next(prefetch, &batch));
    assert_int_equal(batch.items[3], 3);
    for (int again = 0; again < 2; ++again)
        assert_error(ddpm_prefetch_next(prefetch, &batch), DDPM_ERROR_FORMAT, "of 11 pictures");
    ddpm_prefetch_destroy(&prefetch);
    ddpm_source_close(&source);
    for (int i = 4; i < COUNT; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%02d.png", i);
        write_picture(folder, name, i, 9, 8);
    }
}

struct counted {
    int allocated, freed, fail_at;
};

static ddpm_status count_allocate(void *user, void **out, size_t bytes)
{
    struct counted *counted = user;
    if (++counted->allocated == counted->fail_at)
        return ddpm_raise_memory(bytes, "pinned pictures");
    return ddpm_new_aligned(out, bytes, "pictures");
}

static void count_release(void *user, void *buffer)
{
    ++((struct counted *)user)->freed;
    ddpm_free_aligned(buffer);
}

static void buffers_come_from_the_callers_allocator(void **state)
{
    (void)state;
    struct ddpm_source *source = open_source(DDPM_CROP_CENTRE, 0);
    struct ddpm_prefetch_options options = plain;
    struct ddpm_prefetch *prefetch = NULL;
    struct ddpm_batch batch;
    struct counted counted = {0};
    const struct ddpm_buffer_allocator allocator = {count_allocate, count_release, &counted};
    options.allocator = &allocator;
    assert_ok(ddpm_prefetch_create(&prefetch, source, &options));
    for (int i = 0; i < options.depth; ++i)
        assert_ok(ddpm_prefetch_next(prefetch, &batch));
    assert_error(ddpm_prefetch_next(prefetch, &batch), DDPM_ERROR_ARGUMENT, "are held");
    ddpm_prefetch_destroy(&prefetch); /* with all batches still held */
    assert_int_equal(counted.allocated, 3);
    assert_int_equal(counted.freed, 3);
    counted = (struct counted){.fail_at = 2};
    assert_error(ddpm_prefetch_create(&prefetch, source, &options), DDPM_ERROR_MEMORY, "pinned");
    assert_null(prefetch);
    assert_int_equal(counted.freed, 1);
    options.batch_size = 0;
    assert_error(ddpm_prefetch_create(&prefetch, source, &options), DDPM_ERROR_ARGUMENT,
                 "batch size 0");
    for (int i = 0; i < 20; ++i) { /* destroyed at any moment */
        assert_ok(ddpm_prefetch_create(&prefetch, source, &plain));
        ddpm_prefetch_destroy(&prefetch);
    }
    ddpm_source_close(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_depth_and_cache_never_change_a_batch),
        cmocka_unit_test(resuming_goes_on_where_it_stopped),
        cmocka_unit_test(parts_of_a_batch_are_those_of_the_whole),
        cmocka_unit_test(the_order_is_a_permutation_per_epoch),
        cmocka_unit_test(pictures_are_turned_too),
        cmocka_unit_test(errors_come_with_their_batch),
        cmocka_unit_test(buffers_come_from_the_callers_allocator),
    };
    return cmocka_run_group_tests_name("data_prefetch", tests, make_pictures, remove_pictures);
}

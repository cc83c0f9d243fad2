/* Unit tests of the prefetcher: the order of the pictures, resuming, thread counts, errors,
 * shutting down. */
#include "data_support.h"

#include <stdbool.h>

#include "core/memory.h"
#include "data/prefetch.h"

enum { COUNT = 11, BATCH = 4, STEPS = 9, BYTES = 6 * 6 * 3 };

static const struct ddpm_prefetch_options plain = {
    .batch_size = BATCH, .depth = 3, .threads = 2, .seed = 5, .shuffle = true, .flip = true};

static char *folder;

static int make_pictures(void **state)
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

static int remove_pictures(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

static struct ddpm_source *open_source(enum ddpm_crop crop, size_t cache_bytes)
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

static void run(struct record *record, struct ddpm_source *source, int threads, int depth,
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

/* A patch is the window of the whole sample whose place words 0 and 1 of block 1 say. */
static void patches_are_windows_of_the_samples(void **state)
{
    (void)state;
    enum { HEIGHT = 4, WIDTH = 3, SIDE = 6, CHANNELS = 3 };
    struct record *whole = calloc(1, sizeof *whole);
    struct ddpm_source *source = open_source(DDPM_CROP_RANDOM, 0);
    struct ddpm_prefetch_options options = plain;
    struct ddpm_prefetch *prefetch = NULL;
    bool seen[SIDE - HEIGHT + 1][SIDE - WIDTH + 1] = {{false}};
    run(whole, source, 1, 1, 0);
    options.height = HEIGHT;
    options.width = WIDTH;
    options.threads = 3;
    assert_ok(ddpm_prefetch_create(&prefetch, source, &options));
    for (int p = 0; p < STEPS * BATCH; ++p) {
        static struct ddpm_batch batch;
        const int step = p / BATCH, place = p % BATCH;
        if (place == 0)
            assert_ok(ddpm_prefetch_next(prefetch, &batch));
        const struct ddpm_random4 random =
            ddpm_philox(plain.seed, 1, (uint32_t)place, (uint32_t)step, DDPM_STREAM_AUGMENT);
        const int top = (int)((uint64_t)random.v[0] * (SIDE - HEIGHT + 1) >> 32);
        const int left = (int)((uint64_t)random.v[1] * (SIDE - WIDTH + 1) >> 32);
        const uint8_t *from = whole->pixels[step] + place * BYTES + (top * SIDE + left) * CHANNELS;
        seen[top][left] = true;
        for (int y = 0; y < HEIGHT; ++y)
            assert_memory_equal(batch.pixels + (place * HEIGHT + y) * WIDTH * CHANNELS,
                                from + (ptrdiff_t)y * SIDE * CHANNELS, WIDTH * CHANNELS);
        assert_int_equal(batch.flips[place], whole->flips[p]);
        assert_int_equal(batch.items[place], whole->items[p]);
        assert_int_equal(batch.corners[2 * place], top);
        assert_int_equal(batch.corners[2 * place + 1],
                         batch.flips[place] ? SIDE - WIDTH - left : left);
        if (place == BATCH - 1)
            ddpm_prefetch_release(prefetch);
    }
    for (int top = 0; top <= SIDE - HEIGHT; ++top)
        for (int left = 0; left <= SIDE - WIDTH; ++left)
            assert_true(seen[top][left]);
    ddpm_prefetch_destroy(&prefetch);
    options.height = SIDE + 1;
    assert_error(ddpm_prefetch_create(&prefetch, source, &options), DDPM_ERROR_ARGUMENT,
                 "got patches of 7x3 from pictures of 6x6");
    ddpm_source_close(&source);
    free(whole);
}

enum { WHOLE = 6, PART = 4 };

/* A square sample of side x side pixels, mirrored and rotated as `flip` says. */
static void turn(const uint8_t *from, int side, unsigned flip, uint8_t *to)
{
    for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x) {
            int row = y, column = flip & 1 ? side - 1 - x : x;
            for (unsigned turns = flip >> 1; turns > 0; --turns) {
                const int top = side - 1 - column; /* a quarter turn counterclockwise */
                column = row;
                row = top;
            }
            memcpy(to + (row * side + column) * 3, from + (y * side + x) * 3, 3);
        }
}

/* A batch of patches and the batch of the same pictures. */
static void assert_corners(const struct ddpm_batch *patches, const struct ddpm_batch *wholes,
                           int seen[8])
{
    uint8_t whole[WHOLE * WHOLE * 3], patch[PART * PART * 3];
    for (int place = 0; place < BATCH; ++place) {
        const int32_t top = patches->corners[2 * place], left = patches->corners[2 * place + 1];
        turn(wholes->pixels + (size_t)place * sizeof whole, WHOLE, wholes->flips[place], whole);
        turn(patches->pixels + (size_t)place * sizeof patch, PART, patches->flips[place], patch);
        assert_in_range(top, 0, WHOLE - PART);
        assert_in_range(left, 0, WHOLE - PART);
        for (int y = 0; y < PART; ++y)
            assert_memory_equal(patch + (ptrdiff_t)y * PART * 3,
                                whole + ((top + y) * WHOLE + left) * 3, PART * 3);
        assert_int_equal(wholes->corners[2 * place], 0);
        assert_int_equal(wholes->corners[2 * place + 1], 0);
        ++seen[patches->flips[place]];
    }
}

static void corners_are_those_in_the_turned_picture(void **state)
{
    (void)state;
    struct ddpm_source *source = open_source(DDPM_CROP_RANDOM, 1 << 20);
    struct ddpm_prefetch_options options = plain;
    struct ddpm_prefetch *whole, *cut;
    struct ddpm_batch wholes, patches;
    int seen[8] = {0};
    options.rotate = true;
    assert_ok(ddpm_prefetch_create(&whole, source, &options));
    options.height = options.width = PART;
    assert_ok(ddpm_prefetch_create(&cut, source, &options));
    for (int step = 0; step < 20; ++step) {
        assert_ok(ddpm_prefetch_next(whole, &wholes));
        assert_ok(ddpm_prefetch_next(cut, &patches));
        assert_corners(&patches, &wholes, seen);
        ddpm_prefetch_release(whole);
        ddpm_prefetch_release(cut);
    }
    for (int i = 0; i < 8; ++i)
        assert_true(seen[i] > 0);
    ddpm_prefetch_destroy(&whole);
    ddpm_prefetch_destroy(&cut);
    ddpm_source_close(&source);
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
        cmocka_unit_test(patches_are_windows_of_the_samples),
        cmocka_unit_test(corners_are_those_in_the_turned_picture),
        cmocka_unit_test(resuming_goes_on_where_it_stopped),
        cmocka_unit_test(parts_of_a_batch_are_those_of_the_whole),
        cmocka_unit_test(the_order_is_a_permutation_per_epoch),
        cmocka_unit_test(pictures_are_turned_too),
        cmocka_unit_test(errors_come_with_their_batch),
        cmocka_unit_test(buffers_come_from_the_callers_allocator),
    };
    return cmocka_run_group_tests_name("data_prefetch", tests, make_pictures, remove_pictures);
}

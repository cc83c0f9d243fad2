/* Patches that the prefetcher cuts out of pictures: which windows they are, and where they are
 * after mirroring and rotation. */
#include "prefetch_support.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patches_are_windows_of_the_samples),
        cmocka_unit_test(corners_are_those_in_the_turned_picture),
    };
    return cmocka_run_group_tests_name("data_patches", tests, make_pictures, remove_pictures);
}

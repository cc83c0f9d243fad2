/* Unit tests of the procedural pictures: the same on every machine, different from each other,
 * neither black nor white. */
#include "data_support.h"

#include "core/hash.h"
#include "data/synthetic.h"

enum { SIDE = 64, BYTES = SIDE * SIDE * 3 };

static void a_picture_is_a_function_of_seed_and_index(void **state)
{
    (void)state;
    uint8_t *a = malloc(BYTES), *b = malloc(BYTES);
    assert_ok(ddpm_synthetic_draw(a, SIDE, SIDE, 3, 9));
    assert_ok(ddpm_synthetic_draw(b, SIDE, SIDE, 3, 9));
    assert_memory_equal(a, b, BYTES);
    assert_ok(ddpm_synthetic_draw(b, SIDE, SIDE, 3, 10));
    assert_memory_not_equal(a, b, BYTES);
    assert_ok(ddpm_synthetic_draw(b, SIDE, SIDE, 4, 9));
    assert_memory_not_equal(a, b, BYTES);
    free(a);
    free(b);
}

/* The docs and the demo promise this: no compiler or math library changes the set. */
static void the_set_is_what_it_was(void **state)
{
    (void)state;
    uint8_t *pixels = malloc(BYTES);
    uint64_t hash = DDPM_FNV64_START;
    for (uint32_t index = 0; index < 32; ++index) {
        assert_ok(ddpm_synthetic_draw(pixels, SIDE, SIDE, 0, index));
        hash = ddpm_fnv64(hash, pixels, BYTES);
    }
    if (hash != UINT64_C(0x30690E565EAF6A62))
        fail_msg("got 0x%016llX", (unsigned long long)hash);
    free(pixels);
}

static void pictures_look_like_land(void **state)
{
    (void)state;
    uint8_t *pixels = malloc(BYTES);
    double greenish = 0;
    for (uint32_t index = 0; index < 64; ++index) {
        assert_ok(ddpm_synthetic_draw(pixels, SIDE, SIDE, 1, index));
        double sum[3] = {0}, squares = 0;
        for (int i = 0; i < BYTES; ++i) {
            sum[i % 3] += pixels[i];
            squares += (double)pixels[i] * pixels[i];
        }
        double mean = (sum[0] + sum[1] + sum[2]) / BYTES;
        assert_true(mean > 30 && mean < 200);
        assert_true(squares / BYTES - mean * mean > 60);
        greenish += sum[1] > sum[2];
    }
    assert_true(greenish > 55);
    free(pixels);
}

static void every_size_is_drawn_and_absurd_ones_refused(void **state)
{
    (void)state;
    static const int sizes[][2] = {{8, 8}, {8, 100}, {100, 8}, {33, 47}, {200, 160}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        uint8_t *pixels = malloc((size_t)sizes[i][0] * (size_t)sizes[i][1] * 3);
        assert_ok(ddpm_synthetic_draw(pixels, sizes[i][0], sizes[i][1], 2, 7));
        free(pixels);
    }
    assert_error(ddpm_synthetic_draw(NULL, 7, 64, 0, 0), DDPM_ERROR_ARGUMENT, "want 8x8 to");
    assert_error(ddpm_synthetic_draw(NULL, 64, 5000, 0, 0), DDPM_ERROR_ARGUMENT, "want 8x8 to");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_is_a_function_of_seed_and_index),
        cmocka_unit_test(the_set_is_what_it_was),
        cmocka_unit_test(pictures_look_like_land),
        cmocka_unit_test(every_size_is_drawn_and_absurd_ones_refused),
    };
    return cmocka_run_group_tests_name("data_synthetic", tests, NULL, NULL);
}

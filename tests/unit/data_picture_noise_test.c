/* Unit tests of distinguishing white noise from pictures: noise of several kinds, pictures with
 * noise on them, patterns whose neighbours do not correlate either. */
#include "data_support.h"

#include <math.h>

#include "core/random.h"
#include "data/picture_kind.h"
#include "data/synthetic.h"

enum { MOST_SIDE = 64, MOST_VALUES = MOST_SIDE * MOST_SIDE * 4 };

static uint8_t values[MOST_VALUES];
static float normals[MOST_VALUES];

static uint8_t to_byte(double value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : lround(value));
}

/* Normal numbers with mean 127.5 and standard deviation `spread`. */
static void add_noise(int count, double spread, uint64_t seed, bool on_picture)
{
    ddpm_fill_normal(normals, count, seed, DDPM_STREAM_NOISE, 0, 0);
    for (int i = 0; i < count; ++i)
        values[i] = to_byte((on_picture ? values[i] : 127.5) + spread * (double)normals[i]);
}

static bool is_noise(int height, int width, int channels)
{
    return ddpm_picture_kind_of(values, height, width, channels) == DDPM_PICTURE_NOISE;
}

static void noise_is_noise(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; ++seed) {
        for (int channels = 1; channels <= 4; ++channels) {
            add_noise(64 * 64 * channels, 60, seed, false);
            assert_true(is_noise(64, 64, channels));
        }
        add_noise(32 * 32 * 3, 127.5, seed, false); /* a third of it clipped, like x_T */
        assert_true(is_noise(32, 32, 3));
        add_noise(16 * 16 * 3, 20, seed, false); /* faint and small */
        assert_true(is_noise(16, 16, 3));
        add_noise(24 * 40, 40, seed, false);
        assert_true(is_noise(24, 40, 1));
    }
}

static void uniform_noise_is_noise(void **state)
{
    (void)state;
    for (int i = 0; i < 32 * 32 * 3; ++i)
        values[i] = (uint8_t)(ddpm_philox(7, 0, 0, 0, (uint32_t)i).v[0] >> 24);
    assert_true(is_noise(32, 32, 3));
    for (int i = 0; i < 32 * 32; ++i) /* the same in all channels */
        values[3 * i + 1] = values[3 * i + 2] = values[3 * i];
    assert_true(is_noise(32, 32, 3));
}

static double spread_of(int count)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < count; ++i) {
        sum += values[i];
        squares += (double)values[i] * values[i];
    }
    return sqrt(squares / count - sum / count * (sum / count));
}

static void pictures_are_none_with_as_much_noise_on_them(void **state)
{
    (void)state;
    static const int sides[] = {12, 16, 23, 32, 64};
    for (uint64_t number = 0; number < 30; ++number)
        for (size_t k = 0; k < sizeof sides / sizeof *sides; ++k) {
            const int side = sides[k], count = side * side * 3;
            assert_ok(ddpm_synthetic_draw(values, side, side, number, 0));
            assert_false(is_noise(side, side, 3));
            const double spread = spread_of(count);
            add_noise(count, side < 32 ? spread / 2 : spread, number, true);
            assert_false(is_noise(side, side, 3));
        }
}

static void patterns_are_none(void **state)
{
    (void)state;
    for (int i = 0; i < 64 * 64; ++i) /* a chessboard */
        values[i] = (i / 64 + i % 64) % 2 ? 200 : 50;
    assert_false(is_noise(64, 64, 1));
    for (int i = 0; i < 64 * 64;
         ++i) /* stripes four wide: pixels a quarter period apart do not correlate */
        values[i] = i % 64 % 4 < 2 ? 200 : 50;
    assert_false(is_noise(64, 64, 1));
    for (int i = 0; i < 64 * 64; ++i) /* stars */
        values[i] = (ddpm_philox(1, 0, 0, 0, (uint32_t)i).v[0] % 40) ? 12 : 230;
    assert_false(is_noise(64, 64, 1));
    for (int i = 0; i < 64 * 64; ++i) /* a gradient with grain */
        values[i] = (uint8_t)(50 + i % 64 + (int)(ddpm_philox(2, 0, 0, 0, (uint32_t)i).v[0] % 40));
    assert_false(is_noise(64, 64, 1));
}

static void too_small_to_tell_is_no_noise(void **state)
{
    (void)state;
    add_noise(11 * 64, 60, 0, false);
    assert_false(is_noise(11, 64, 1));
    assert_false(is_noise(64, 11, 1));
    assert_false(ddpm_picture_is_noise(values, 1, 1, 1));
    memset(values, 9, sizeof values);
    assert_false(ddpm_picture_is_noise(values, 32, 32, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_noise),
        cmocka_unit_test(uniform_noise_is_noise),
        cmocka_unit_test(pictures_are_none_with_as_much_noise_on_them),
        cmocka_unit_test(patterns_are_none),
        cmocka_unit_test(too_small_to_tell_is_no_noise),
    };
    return cmocka_run_group_tests_name("data_picture_noise", tests, NULL, NULL);
}

/* Unit tests of interpolation on a sphere. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"
#include "slerp.h"

enum { COUNT = 1000 };

static double length(const float *x)
{
    double squares = 0;
    for (int i = 0; i < COUNT; ++i)
        squares += (double)x[i] * (double)x[i];
    return sqrt(squares);
}

static void ends_are_exact_and_lengths_stay(void **state)
{
    (void)state;
    float a[COUNT], b[COUNT], x[COUNT];
    ddpm_fill_normal(a, COUNT, 1, DDPM_STREAM_SAMPLE_INIT, 0, 0);
    ddpm_fill_normal(b, COUNT, 2, DDPM_STREAM_SAMPLE_INIT, 0, 0);
    ddpm_slerp(a, b, COUNT, 0, x);
    assert_memory_equal(x, a, sizeof x);
    ddpm_slerp(a, b, COUNT, 1, x);
    assert_memory_equal(x, b, sizeof x);
    const double of_a = length(a), of_b = length(b);
    for (int i = 1; i < 10; ++i) {
        ddpm_slerp(a, b, COUNT, i / 10.0, x);
        assert_true(length(x) > 0.99 * fmin(of_a, of_b) && length(x) < 1.01 * fmax(of_a, of_b));
    }
}

/* A quarter of a circle in thirds. */
static void angles_are_even(void **state)
{
    (void)state;
    const float a[] = {2, 0}, b[] = {0, 2};
    float x[2];
    ddpm_slerp(a, b, 2, 1 / 3.0, x);
    assert_float_equal(x[0], sqrtf(3), 1e-6F); /* 30 degrees */
    assert_float_equal(x[1], 1, 1e-6F);
}

static void without_an_angle_it_is_linear(void **state)
{
    (void)state;
    const float a[] = {1, -2}, twice[] = {2, -4}, opposite[] = {-1, 2}, zero[] = {0, 0};
    float x[2];
    ddpm_slerp(a, a, 2, 0.25, x);
    assert_memory_equal(x, a, sizeof x);
    ddpm_slerp(a, twice, 2, 0.5, x);
    assert_float_equal(x[0], 1.5, 1e-6);
    ddpm_slerp(a, opposite, 2, 0.5, x);
    assert_float_equal(x[0], 0, 1e-6);
    ddpm_slerp(a, zero, 2, 0.5, x);
    assert_float_equal(x[1], -1, 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_are_exact_and_lengths_stay),
        cmocka_unit_test(angles_are_even),
        cmocka_unit_test(without_an_angle_it_is_linear),
    };
    return cmocka_run_group_tests_name("slerp", tests, NULL, NULL);
}

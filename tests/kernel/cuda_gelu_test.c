/* GELU and its slope for every bf16 number, on a CUDA device or the emulated one: correct to half a
 * unit in the last place, plus a fiftieth for the polynomial of activation.cuh. The bounds of
 * test_kernel apply to whole tensors and would not notice a wrong coefficient. Exit 77 without a
 * device. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend.h"

enum { EXIT_SKIPPED = 77, COUNT = 65536 };

static struct ddpm_device *device;
static uint16_t x[COUNT], ones[COUNT], got[COUNT];

static double value_of(uint16_t bits)
{
    return ddpm_load(&bits, DDPM_BF16, 0);
}

/* Φ(x), accurate far from 0 as well. */
static double cdf(double v)
{
    return 0.5 * erfc(-v / sqrt(2.0));
}

static double gelu(double v)
{
    return v * cdf(v);
}

static double slope(double v)
{
    return cdf(v) + v * exp(-0.5 * v * v) / sqrt(2.0 * acos(-1.0));
}

static void run(enum ddpm_op op)
{
    const struct ddpm_backend *b = device->backend;
    const struct ddpm_tensor shape = ddpm_tensor_make(DDPM_BF16, 1, 1, COUNT / 8, 8);
    struct ddpm_call call = {.op = op, .label = "a test", .device = device};
    const uint16_t *const inputs[] = {x, ones};
    call.attributes.activation = DDPM_GELU;
    call.out[0] = shape;
    assert_int_equal(b->allocate(device, sizeof got, "a test", &call.out[0].data), DDPM_OK);
    for (int i = 0; i < ddpm_op_info[op].inputs; ++i) {
        call.in[i] = shape;
        assert_int_equal(b->allocate(device, sizeof x, "a test", &call.in[i].data), DDPM_OK);
        assert_int_equal(b->upload(device, call.in[i].data, inputs[i], sizeof x), DDPM_OK);
    }
    call.kernel = b->find_kernel(device, &call);
    assert_non_null(call.kernel);
    assert_int_equal(call.kernel->run(&call), DDPM_OK);
    assert_int_equal(b->download(device, got, call.out[0].data, sizeof got), DDPM_OK);
    b->release(device, call.out[0].data);
    for (int i = 0; i < ddpm_op_info[op].inputs; ++i)
        b->release(device, call.in[i].data);
}

/* Relative to |want|, or to `floor` if that is more. */
static void assert_near(double (*function)(double), double floor)
{
    double worst = 0;
    for (int i = 0; i < COUNT; ++i) {
        const double v = value_of(x[i]), result = value_of(got[i]);
        if (isnan(v) || isinf(v))
            continue;
        int exponent;
        const double want = function(v), size = fmax(fabs(want), floor);
        frexp(size, &exponent);
        const double places = fabs(result - want) / ldexp(1.0, exponent - 8);
        if (!(places <= 0.52))
            fail_msg("of %.9g: got %.9g, want %.9g", v, result, want);
        worst = fmax(worst, places);
    }
    print_message("wrong by %.4f places at most\n", worst);
}

static void gelu_is_right_to_half_a_place(void **state)
{
    (void)state;
    run(DDPM_OP_ACTIVATION);
    assert_near(gelu, 0x1p-120); /* below are subnormal numbers, which may be 0 */
    for (int i = 0; i < COUNT; ++i)
        if (isnan(value_of(x[i])))
            assert_true(isnan(value_of(got[i])));
    assert_true(value_of(got[0x7f80]) == (double)INFINITY); /* of ∞ */
}

static void its_slope_is_right_to_half_a_place(void **state)
{
    (void)state;
    run(DDPM_OP_ACTIVATION_BACKWARD);
    assert_near(slope, 0.25); /* it crosses 0, where its two parts cancel */
}

int main(void)
{
    const struct ddpm_device_options options = {0};
    if (ddpm_device_open("cuda", &options, &device) != DDPM_OK) {
        fprintf(stderr, "test_cuda_gelu: %s\n", ddpm_error_message());
        return EXIT_SKIPPED;
    }
    for (int i = 0; i < COUNT; ++i) {
        x[i] = (uint16_t)i;
        ones[i] = ddpm_float_to_bf16(1.0f);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_is_right_to_half_a_place),
        cmocka_unit_test(its_slope_is_right_to_half_a_place),
    };
    const int failed = cmocka_run_group_tests_name("GELU", tests, NULL, NULL);
    ddpm_device_close(&device);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

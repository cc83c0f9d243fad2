/* Devices by name, loading of plug-ins, complete tables, the cost of a call, and what the check
 * backend detects. DDPM_TEST_PLUGIN names the library built from fake_plugin.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory.h"
#include "kernel_case.h"

static const struct ddpm_device_options one_thread = {.threads = 1};
static char last_log[300];

static void keep_log(void *user, ddpm_log_level level, const char *text)
{
    (void)user;
    if (level == DDPM_LOG_INFO || strncmp(text, "no CUDA ", 8) == 0) /* debug without a GPU */
        snprintf(last_log, sizeof last_log, "%s", text);
}

/* A CPU row runs its own kernel; the reference's kernel only runs on request. */
static void expect_own_kernel(struct ddpm_device *device, struct ddpm_device *reference,
                              const struct kernel_case *test)
{
    struct case_state state = {.test = *test};
    char text[200];
    case_build(&state);
    for (int i = 0; i < DDPM_MAX_INPUTS; ++i)
        state.call.in[i] = state.in[i].view;
    for (int o = 0; o < DDPM_MAX_OUTPUTS; ++o)
        state.call.out[o] = state.out[o].view;
    const struct ddpm_kernel *kernel = device->backend->find_kernel(device, &state.call);
    case_describe(test, text, sizeof text);
    if (!kernel)
        fail_msg("%s has no kernel for %s", device->description, text);
    if (kernel->run == reference->backend->find_kernel(reference, &state.call)->run)
        fail_msg("%s has the reference's kernel for %s", device->description, text);
}

static void every_shape_is_served_by_the_level(const char *level)
{
    struct ddpm_device_options options = {.threads = 1, .level = level};
    struct ddpm_device *device, *reference;
    if (ddpm_device_open("cpu", &options, &device) != DDPM_OK) {
        print_message("%s: %s\n", level, ddpm_error_message());
        return;
    }
    assert_int_equal(ddpm_device_open("ref", &one_thread, &reference), DDPM_OK);
    for (enum ddpm_op op = 0; op < DDPM_OP_COUNT; ++op) {
        struct kernel_case test;
        for (enum ddpm_dtype dtype = DDPM_F32; dtype <= DDPM_BF16; ++dtype)
            for (int cursor = 0;
                 case_op_has_dtype(op, dtype) && case_next(op, dtype, &cursor, &test);)
                expect_own_kernel(device, reference, &test);
    }
    ddpm_device_close(&reference);
    ddpm_device_close(&device);
}

static void nothing_falls_back_to_the_reference(void **unused)
{
    (void)unused;
    static const char *const levels[] = {"generic", "avx2", "avx512",  "avx512bf16",
                                         "amx",     "neon", "neonbf16"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; ++i)
        every_shape_is_served_by_the_level(levels[i]);
}

static void every_operation_has_a_row(const char *backend, const char *level)
{
    struct ddpm_device_options options = {.threads = 1, .level = level};
    struct ddpm_device *device;
    if (ddpm_device_open(backend, &options, &device) != DDPM_OK) {
        print_message("%s: %s\n", level, ddpm_error_message());
        return;
    }
    for (enum ddpm_op op = 0; op < DDPM_OP_COUNT; ++op) {
        for (enum ddpm_dtype dtype = DDPM_F32; dtype <= DDPM_BF16; ++dtype) {
            struct kernel_case test;
            struct case_state state;
            int cursor = 0;
            if (!case_op_has_dtype(op, dtype))
                continue;
            assert_true(case_next(op, dtype, &cursor, &test));
            assert_int_equal(case_open(&state, &test, NULL), DDPM_OK);
            if (!device->backend->find_kernel(device, &state.call))
                fail_msg("%s, %s: no kernel for %s in %s", backend, level ? level : "",
                         ddpm_op_info[op].name, ddpm_dtype_name(dtype));
            case_close(&state);
        }
    }
    ddpm_device_close(&device);
    assert_null(device);
}

static void tables_are_complete(void **unused)
{
    (void)unused;
    every_operation_has_a_row("ref", NULL);
    every_operation_has_a_row("cpu", "generic");
    every_operation_has_a_row("cpu", "avx2");
    every_operation_has_a_row("cpu", "avx512");
    every_operation_has_a_row("cpu", "neon");
}

static void wrong_names_are_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[] = {
        "", "gpu", "cpu:1", "cuda:", "cuda:x", "cuda:1x", "cuda:-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        struct ddpm_device *device;
        assert_int_equal(ddpm_device_open(wrong[i], &one_thread, &device), DDPM_ERROR_ARGUMENT);
        assert_null(device);
        assert_non_null(strstr(ddpm_error_message(), "device: got"));
    }
}

static void expect_unsupported(const char *name, const char *text)
{
    struct ddpm_device *device;
    assert_int_equal(ddpm_device_open(name, &one_thread, &device), DDPM_ERROR_UNSUPPORTED);
    assert_null(device);
    if (!strstr(ddpm_error_message(), text))
        fail_msg("got \"%s\", want \"%s\" in it", ddpm_error_message(), text);
}

static void plugin_failures_are_clear(void **unused)
{
    (void)unused;
    setenv("DDPM_CUDA_PLUGIN", "/nowhere/libddpm_cuda.so", 1);
    expect_unsupported("cuda", "DDPM_CUDA_PLUGIN");
    const char *plugin = getenv("DDPM_TEST_PLUGIN");
    if (!plugin)
        return;
    setenv("DDPM_CUDA_PLUGIN", plugin, 1);
    setenv("DDPM_FAKE_PLUGIN", "old", 1);
    expect_unsupported("cuda", "another version");
    unsetenv("DDPM_FAKE_PLUGIN");
    expect_unsupported("cuda:3", "no device number 3");
}

static void auto_falls_back_to_the_cpu_and_says_so(void **unused)
{
    (void)unused;
    struct ddpm_device *device;
    setenv("DDPM_CUDA_PLUGIN", "/nowhere/libddpm_cuda.so", 1);
    ddpm_set_log_callback(keep_log, NULL);
    assert_int_equal(ddpm_device_open("auto", &one_thread, &device), DDPM_OK);
    ddpm_set_log_callback(NULL, NULL);
    assert_string_equal(last_log, "no CUDA plug-in, using the CPU");
    assert_string_equal(device->backend->name, "cpu");
    ddpm_device_close(&device);
}

/* A plug-in without a device is not the same as no plug-in, and each is reported once. */
static void what_is_lacking_is_said_once(void **unused)
{
    (void)unused;
    const char *plugin = getenv("DDPM_TEST_PLUGIN");
    struct ddpm_device *device;
    if (!plugin)
        skip();
    setenv("DDPM_CUDA_PLUGIN", plugin, 1);
    for (int turn = 0; turn < 2; ++turn) {
        last_log[0] = 0;
        ddpm_set_log_callback(keep_log, NULL);
        assert_int_equal(ddpm_device_open("auto", &one_thread, &device), DDPM_OK);
        ddpm_set_log_callback(NULL, NULL);
        assert_string_equal(last_log, turn == 0 ? "no CUDA device, using the CPU" : "");
        ddpm_device_close(&device);
    }
}

static void costs_count_multiply_adds_and_bytes(void **unused)
{
    (void)unused;
    struct kernel_case test = {.op = DDPM_OP_CONV2D_BACKWARD_WEIGHT,
                               .shape = {2, 5, 7, 3, 8, 3, 1, 1},
                               .in_place = -1,
                               .dtype = DDPM_BF16};
    struct case_state state;
    assert_int_equal(case_open(&state, &test, NULL), DDPM_OK);
    assert_true(ddpm_call_flops(&state.call) == 2.0 * 70 * 8 * 9 * 3);
    assert_true(ddpm_call_bytes(&state.call) == 2.0 * (70 * 3 + 70 * 8) + 8.0 * (8 * 27 + 8));
    case_close(&state);
}

/* One call on the check backend over the reference, with tensors in plain host memory. */
static ddpm_status run_checked(struct ddpm_call *call)
{
    struct ddpm_device *device;
    setenv("DDPM_CHECK_BACKEND", "ref", 1);
    DDPM_TRY(ddpm_device_open("check", &one_thread, &device));
    call->device = device;
    call->label = "ups.1.block";
    call->kernel = device->backend->find_kernel(device, call);
    assert_non_null(call->kernel);
    ddpm_status status = call->kernel->prepare(call);
    if (status == DDPM_OK)
        status = call->kernel->run(call);
    call->kernel->release(call);
    ddpm_device_close(&device);
    return status;
}

static struct ddpm_tensor view(double *data, int64_t n, int64_t c, int64_t stride)
{
    return (struct ddpm_tensor){data, DDPM_F64, n, 1, 1, c, stride};
}

static void check_passes_what_keeps_the_rules(void **unused)
{
    (void)unused;
    double shared[4] = {1, 2, 3, 4};
    struct ddpm_call add = {.op = DDPM_OP_ADD};
    add.in[0] = view(shared, 2, 1, 2); /* reads one channel of a tensor, writes the other */
    add.in[1] = view(shared, 2, 1, 2);
    add.out[0] = view(shared + 1, 2, 1, 2);
    assert_int_equal(run_checked(&add), DDPM_OK);
    assert_true(shared[0] == 1 && shared[1] == 2 && shared[2] == 3 && shared[3] == 6);
}

static void check_finds_outputs_that_are_not_written(void **unused)
{
    (void)unused;
    double a[2] = {1, 2}, b[2] = {3, 4}, y[6] = {0};
    struct ddpm_call concat = {.op = DDPM_OP_CONCAT};
    concat.in[0] = view(a, 2, 1, 1);
    concat.in[1] = view(b, 2, 1, 1);
    concat.out[0] = view(y, 2, 3, 3); /* a third channel that nobody fills */
    assert_int_equal(run_checked(&concat), DDPM_ERROR_DEVICE);
    assert_non_null(strstr(ddpm_error_message(), "concat_ref at ups.1.block"));
    assert_non_null(strstr(ddpm_error_message(), "not written"));
}

static void check_finds_nan_out_of_finite_numbers(void **unused)
{
    (void)unused;
    double x[2] = {1e300, -1e300}, w[2] = {1e300, 1e300}, y[1]; /* ∞ - ∞ */
    struct ddpm_call conv = {.op = DDPM_OP_CONV2D};
    conv.attributes.kernel_h = conv.attributes.kernel_w = conv.attributes.stride = 1;
    conv.in[0] = view(x, 1, 2, 2);
    conv.in[1] = view(w, 1, 2, 2);
    conv.out[0] = view(y, 1, 1, 1);
    assert_int_equal(run_checked(&conv), DDPM_ERROR_DEVICE);
    assert_non_null(strstr(ddpm_error_message(), "is NaN though every input is finite"));
}

static void check_wraps_host_backends_only(void **unused)
{
    (void)unused;
    struct ddpm_device *device;
    setenv("DDPM_CHECK_BACKEND", "cuda", 1);
    assert_int_equal(ddpm_device_open("check", &one_thread, &device), DDPM_ERROR_ARGUMENT);
    unsetenv("DDPM_CHECK_BACKEND");
    assert_int_equal(ddpm_device_open("check", &one_thread, &device), DDPM_OK);
    assert_int_equal(strncmp(device->description, "checked CPU", 11), 0);
    ddpm_device_close(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_complete),
        cmocka_unit_test(nothing_falls_back_to_the_reference),
        cmocka_unit_test(wrong_names_are_refused),
        cmocka_unit_test(plugin_failures_are_clear),
        cmocka_unit_test(auto_falls_back_to_the_cpu_and_says_so),
        cmocka_unit_test(what_is_lacking_is_said_once),
        cmocka_unit_test(costs_count_multiply_adds_and_bytes),
        cmocka_unit_test(check_passes_what_keeps_the_rules),
        cmocka_unit_test(check_finds_outputs_that_are_not_written),
        cmocka_unit_test(check_finds_nan_out_of_finite_numbers),
        cmocka_unit_test(check_wraps_host_backends_only),
    };
    return cmocka_run_group_tests_name("devices", tests, NULL, NULL);
}

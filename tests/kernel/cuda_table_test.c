/* The CUDA backend's table, without a device: for every operation and element type, every shape of
 * the kernel tests and the article's own large shapes have a row; the large ones get the fast row;
 * and so do the mixed types around a bf16 network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernel_case.h"
#include "kernels/plugin.h"

static const struct ddpm_backend *cuda;

static const struct ddpm_kernel *row_of(const struct kernel_case *test)
{
    struct case_state state = {.test = *test};
    char text[200];
    case_build(&state);
    for (int i = 0; i < DDPM_MAX_INPUTS; ++i)
        state.call.in[i] = state.in[i].view;
    for (int o = 0; o < DDPM_MAX_OUTPUTS; ++o)
        state.call.out[o] = state.out[o].view;
    const struct ddpm_kernel *kernel = cuda->find_kernel(NULL, &state.call);
    case_describe(test, text, sizeof text);
    if (!kernel)
        fail_msg("no CUDA kernel for %s", text);
    assert_non_null(kernel->name);
    assert_non_null(kernel->run);
    return kernel;
}

static void every_case_finds_a_row(void **unused)
{
    (void)unused;
    for (enum ddpm_op op = 0; op < DDPM_OP_COUNT; ++op) {
        for (enum ddpm_dtype dtype = DDPM_F32; dtype <= DDPM_BF16; ++dtype) {
            struct kernel_case test;
            if (!case_op_has_dtype(op, dtype))
                continue;
            for (int cursor = 0; case_next(op, dtype, &cursor, &test);)
                row_of(&test);
            for (int cursor = 0; case_next_bench(op, dtype, &cursor, &test);)
                row_of(&test);
        }
    }
}

static void large_shapes_find_the_fast_rows(void **unused)
{
    (void)unused;
    for (enum ddpm_op op = DDPM_OP_CONV2D; op <= DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT; ++op) {
        const char *wanted = case_op_is_convolution(op) ? "_mma" : "_7x7";
        struct kernel_case test;
        for (int cursor = 0; case_next_bench(op, DDPM_BF16, &cursor, &test);) {
            const char *name = row_of(&test)->name;
            if (!strstr(name, wanted) && !strstr(name, "_cudnn"))
                fail_msg("%s is served by %s", ddpm_op_info[op].name, name);
        }
    }
}

/* A bf16 network that ends in fp32: the last convolution's output, its gradient, and their
 * neighbours. */
static void mixed_types_find_a_row(void **unused)
{
    (void)unused;
    struct ddpm_call call = {.op = DDPM_OP_CONV2D,
                             .attributes = {.kernel_h = 1, .kernel_w = 1, .stride = 1}};
    const struct ddpm_tensor features = ddpm_tensor_make(DDPM_BF16, 16, 128, 128, 64);
    const struct ddpm_tensor picture = ddpm_tensor_make(DDPM_F32, 16, 128, 128, 3);
    const struct ddpm_tensor weights = ddpm_tensor_make(DDPM_F32, 3, 1, 1, 64);
    const struct ddpm_tensor bias = ddpm_tensor_make(DDPM_F32, 1, 1, 1, 3);
    const struct ddpm_tensor losses = ddpm_tensor_make(DDPM_F32, 16, 1, 1, 1);

    call.in[0] = features, call.in[1] = weights, call.in[2] = bias, call.out[0] = picture;
    assert_non_null(cuda->find_kernel(NULL, &call));
    call.op = DDPM_OP_CONV2D_BACKWARD_DATA;
    call.in[0] = picture, call.in[2] = (struct ddpm_tensor){0}, call.out[0] = features;
    assert_non_null(cuda->find_kernel(NULL, &call));
    call.op = DDPM_OP_CONV2D_BACKWARD_WEIGHT;
    call.in[0] = features, call.in[1] = picture, call.out[0] = weights, call.out[1] = bias;
    assert_non_null(cuda->find_kernel(NULL, &call));

    call = (struct ddpm_call){.op = DDPM_OP_LOSS, .in = {picture, picture}, .out = {losses}};
    assert_non_null(cuda->find_kernel(NULL, &call));
    call =
        (struct ddpm_call){.op = DDPM_OP_LOSS_BACKWARD, .in = {picture, picture}, .out = {picture}};
    assert_non_null(cuda->find_kernel(NULL, &call));
}

int main(void)
{
    if (ddpm_plugin_load_cuda(&cuda) != DDPM_OK) {
        fprintf(stderr, "test_cuda_table: %s\n", ddpm_error_message());
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_finds_a_row),
        cmocka_unit_test(large_shapes_find_the_fast_rows),
        cmocka_unit_test(mixed_types_find_a_row),
    };
    return cmocka_run_group_tests_name("CUDA table", tests, NULL, NULL);
}

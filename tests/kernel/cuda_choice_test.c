/* The choice between our own convolution kernels and cuDNN's on the emulated device, with the
 * emulator's stand-in for cuDNN (DDPM_CUDNN names it). Choices are measured, stored, found again,
 * and measured again if the stored ones make no sense; compiled plans are not compiled again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "choice_support.h"

/* The row that serves a convolution; `copied`: with a bf16 copy of its weights. *packed_bytes: the
 * size of its packed weights. */
static const struct ddpm_kernel *prepared_row(enum ddpm_op op, enum ddpm_dtype dtype,
                                              int64_t channels, bool copied, size_t *packed_bytes)
{
    struct ddpm_device *device;
    struct ddpm_call call = choice_call(op, dtype, channels);
    if (copied)
        call.in[op == DDPM_OP_CONV2D ? 4 : 2] = ddpm_tensor_make(DDPM_BF16, 16, 3, 3, channels);
    assert_int_equal(ddpm_device_open("cuda", &(struct ddpm_device_options){0}, &device), DDPM_OK);
    call.device = device;
    const struct ddpm_kernel *kernel = device->backend->find_kernel(device, &call);
    assert_non_null(kernel);
    call.kernel = kernel;
    assert_int_equal(kernel->prepare ? kernel->prepare(&call) : DDPM_OK, DDPM_OK);
    ddpm_device_close(&device);
    *packed_bytes = call.packed_bytes;
    return kernel;
}

static const struct ddpm_kernel *row(enum ddpm_op op, enum ddpm_dtype dtype, int64_t channels)
{
    size_t ignored;
    return prepared_row(op, dtype, channels, false, &ignored);
}

static void choices_are_measured_and_kept(void **unused)
{
    (void)unused;
    static const char *const chosen[] = {"\tfused2_2=7\n", "\tdata2_2=7\n", "\tweight2_2=7\n"};
    char path[512], text[8192], again[8192];
    for (int i = 0; i < 3; ++i) {
        enum ddpm_op op = (enum ddpm_op)(DDPM_OP_CONV2D + i);
        const struct ddpm_kernel *kernel = row(op, DDPM_BF16, 8);
        choice_read(path, sizeof path, text, sizeof text);
        /* The stand-in's plain loops beat the emulated kernel, but speed is not the point here: the
         * file says what was chosen, and engine 1, which is wrong, was not. */
        assert_int_equal(strstr(kernel->name, "_cudnn") != NULL, strstr(text, chosen[i]) != NULL);
        assert_null(strstr(text, "1_2=7"));
        assert_null(strstr(text, "0_2=7"));
        assert_ptr_equal(row(op, DDPM_BF16, 8), kernel);
        choice_read(path, sizeof path, again, sizeof again);
        assert_string_equal(text, again);
    }
}

/* Replace the first choice with another text. */
static void rewrite(const char *value)
{
    char path[512], text[8192];
    choice_read(path, sizeof path, text, sizeof text);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%.*s\t%s\n", (int)strcspn(text, "\t"), text, value);
    fclose(file);
}

static void what_is_kept_is_obeyed(void **unused)
{
    (void)unused;
    char path[512], text[8192];
    row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_F32, 8);
    rewrite("own");
    assert_null(strstr(row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_F32, 8)->name, "_cudnn"));
    rewrite("data2_2=7");
    assert_non_null(strstr(row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_F32, 8)->name, "_cudnn"));
    rewrite("an engine that is no more");
    row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_F32, 8);
    choice_read(path, sizeof path, text, sizeof text);
    assert_null(strstr(text, "no more"));
}

static void a_copy_of_the_weights_is_measured_apart_and_not_packed(void **unused)
{
    (void)unused;
    static const enum ddpm_op ops[] = {DDPM_OP_CONV2D, DDPM_OP_CONV2D_BACKWARD_DATA};
    static const char *const plans[] = {"fused2_2=7", "data2_2=7"};
    char path[512], text[8192];
    size_t packed;
    for (int i = 0; i < 2; ++i) {
        prepared_row(ops[i], DDPM_BF16, 8, true, &packed);
        choice_read(path, sizeof path, text, sizeof text);
        assert_non_null(strstr(text, " copy\t"));
        rewrite(plans[i]);
        assert_non_null(strstr(prepared_row(ops[i], DDPM_BF16, 8, true, &packed)->name, "_cudnn"));
        assert_int_equal(packed, 0);
        rewrite("own");
        assert_null(strstr(prepared_row(ops[i], DDPM_BF16, 8, true, &packed)->name, "_cudnn"));
        assert_int_equal(packed != 0, ops[i] == DDPM_OP_CONV2D_BACKWARD_DATA);
        assert_int_equal(remove(path), 0);
    }
}

/* Find the row of a convolution with a compiled plan, and expect this many plans to be compiled and
 * loaded for it. */
static void expect_fused(int compiled, int loaded)
{
    const int *all_compiled = choice_counter("fake_cudnn_compiled");
    const int *all_loaded = choice_counter("fake_cudnn_loaded");
    const int compiled_before = *all_compiled, loaded_before = *all_loaded;
    assert_non_null(strstr(row(DDPM_OP_CONV2D, DDPM_BF16, 8)->name, "_cudnn"));
    assert_int_equal(*all_compiled - compiled_before, compiled);
    assert_int_equal(*all_loaded - loaded_before, loaded);
}

/* Append something to the plan's file ("a"), or replace it ("w"). */
static void damage_plan(const char *mode, const char *text)
{
    char command[512], path[512];
    snprintf(command, sizeof command, "ls %s/ddpm/cuda-*.plan", choice_folder());
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, sizeof path, list));
    pclose(list);
    path[strcspn(path, "\n")] = '\0';
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void what_was_compiled_is_not_compiled_again(void **unused)
{
    (void)unused;
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    rewrite("fused2_2=7"); /* whatever was faster, so there may be a plan or not */
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    expect_fused(0, 1);
    expect_fused(0, 1);
    damage_plan("a", "}");
    expect_fused(1, 0);
    expect_fused(0, 1);
    damage_plan("w", "");
    expect_fused(1, 0);
    expect_fused(0, 1);
}

/* A complete file, but with a plan that cuDNN no longer accepts. */
static void what_cudnn_refuses_is_compiled_again(void **unused)
{
    (void)unused;
    int *refuses = choice_counter("fake_cudnn_refuses");
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    rewrite("fused2_2=7");
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    *refuses = 1;
    expect_fused(1, 0);
    *refuses = 0;
    expect_fused(0, 1);
}

/* A plan that cuDNN accepts but that does not run. */
static void what_does_not_run_is_compiled_again(void **unused)
{
    (void)unused;
    int *stalls = choice_counter("fake_cudnn_stalls");
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    rewrite("fused2_2=7");
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    *stalls = 1;
    expect_fused(1, 1);
    *stalls = 0;
    expect_fused(0, 1);
}

static void what_is_not_compiled_is_not_kept(void **unused)
{
    (void)unused;
    char command[512];
    row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_BF16, 8);
    rewrite("data2_2=7");
    row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_BF16, 8);
    snprintf(command, sizeof command, "ls %s/ddpm/cuda-*.plan 2>/dev/null", choice_folder());
    assert_int_not_equal(system(command), 0);
}

/* The child tries a plan that kills it. */
static void a_plan_that_crashes_is_not_tried_again(void **unused)
{
    (void)unused;
    char path[512], text[8192];
    int status;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        *choice_counter("fake_cudnn_crashes") = 1;
        row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_BF16, 8);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    *choice_counter("fake_cudnn_crashes") = 1; /* it would still do so */
    row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_BF16, 8);
    *choice_counter("fake_cudnn_crashes") = 0;
    choice_read(path, sizeof path, text, sizeof text);
    assert_non_null(strstr(text, " data2_2=7\t1\n"));
    assert_null(strstr(text, "\tdata2_2=7\n"));
}

/* The same for a stored plan, and for another shape, which needs a new plan. */
static void a_kept_plan_that_crashes_is_not_tried_again(void **unused)
{
    (void)unused;
    int status;
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    rewrite("fused2_2=7");
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        *choice_counter("fake_cudnn_crashes") = 1;
        row(DDPM_OP_CONV2D, DDPM_BF16, 8);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    const int *executed = choice_counter("fake_cudnn_right_runs");
    const int before = *executed;
    row(DDPM_OP_CONV2D, DDPM_BF16, 8);
    assert_int_equal(*executed, before);
    row(DDPM_OP_CONV2D, DDPM_BF16, 16);
    assert_true(*executed > before);
}

/* Without time for trials, the first correct plan is used. */
static void trials_end_when_their_time_is_up(void **unused)
{
    (void)unused;
    const int *runs = choice_counter("fake_cudnn_second_right_runs");
    assert_int_equal(setenv("DDPM_CUDA_TRIALS", "0", 1), 0);
    const int before = *runs;
    row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_BF16, 8);
    assert_int_equal(*runs, before);
    assert_int_equal(unsetenv("DDPM_CUDA_TRIALS"), 0);
    row(DDPM_OP_CONV2D_BACKWARD_DATA, DDPM_BF16, 16);
    assert_true(*runs > before);
}

static void odd_channels_and_own_mode_keep_our_kernels(void **unused)
{
    (void)unused;
    assert_null(strstr(row(DDPM_OP_CONV2D, DDPM_BF16, 3)->name, "_cudnn"));
    assert_int_equal(setenv("DDPM_CUDA_CONV", "own", 1), 0);
    assert_null(strstr(row(DDPM_OP_CONV2D, DDPM_BF16, 8)->name, "_cudnn"));
    assert_int_equal(setenv("DDPM_CUDA_CONV", "cudnn", 1), 0);
    assert_non_null(strstr(row(DDPM_OP_CONV2D, DDPM_BF16, 8)->name, "_cudnn"));
}

static void without_a_place_cudnn_s_own_guess_serves(void **unused)
{
    (void)unused;
    assert_int_equal(setenv("XDG_CACHE_HOME", "/proc/no/such/place", 1), 0);
    assert_non_null(strstr(row(DDPM_OP_CONV2D, DDPM_BF16, 8)->name, "_cudnn"));
}

int main(void)
{
    const int cannot = choice_can_run("test_cuda_choice");
    if (cannot)
        return cannot;
#define CASE(f) cmocka_unit_test_setup_teardown(f, choice_make_folder, choice_remove_folder)
    const struct CMUnitTest tests[] = {
        CASE(choices_are_measured_and_kept),
        CASE(what_is_kept_is_obeyed),
        CASE(a_copy_of_the_weights_is_measured_apart_and_not_packed),
        CASE(what_was_compiled_is_not_compiled_again),
        CASE(what_cudnn_refuses_is_compiled_again),
        CASE(what_does_not_run_is_compiled_again),
        CASE(what_is_not_compiled_is_not_kept),
        CASE(a_plan_that_crashes_is_not_tried_again),
        CASE(a_kept_plan_that_crashes_is_not_tried_again),
        CASE(trials_end_when_their_time_is_up),
        CASE(odd_channels_and_own_mode_keep_our_kernels),
        CASE(without_a_place_cudnn_s_own_guess_serves),
    };
    return cmocka_run_group_tests_name("CUDA choice", tests, NULL, NULL);
}

/* The same call gives the same bits on 1, 2 and 3 threads, and again on the same device. oneDNN's
 * kernels promise neither, and are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel_case.h"

/* Thread count of each run; the first is what the others are compared with. */
static const int thread_counts[] = {1, 2, 2, 3};

enum { RUNS = sizeof thread_counts / sizeof *thread_counts };

static struct ddpm_device *devices[RUNS];

static ddpm_status run_once(struct case_state *state, struct ddpm_device *device, bool *promised)
{
    struct device_case run;
    ddpm_status status = device_case_open(&run, state, device);
    if (status == DDPM_OK)
        status = device_case_load(&run, state);
    if (status == DDPM_OK)
        status = device_case_run(&run);
    if (status == DDPM_OK)
        status = device_case_fetch(&run, state);
    *promised = run.call.kernel && !strstr(run.call.kernel->name, "onednn");
    device_case_close(&run);
    return status;
}

/* Run the case on every device and compare the buffers, which hold NaN where nothing is written. */
static void compare_runs(const struct kernel_case *test)
{
    struct case_state state;
    unsigned char *first[CASE_BUFFERS] = {0};
    bool promised;
    char text[200];
    case_describe(test, text, sizeof text);
    assert_int_equal(case_open(&state, test, NULL), DDPM_OK);
    for (int i = 0; i < RUNS; ++i) {
        if (run_once(&state, devices[i], &promised) != DDPM_OK)
            fail_msg("%s: %s", text, ddpm_error_message());
        for (int b = 0; b < state.buffer_count; ++b) {
            const size_t bytes = state.buffers[b].bytes;
            if (!first[b]) {
                first[b] = malloc(bytes);
                assert_non_null(first[b]);
                memcpy(first[b], state.buffers[b].after, bytes);
            } else if (promised && memcmp(first[b], state.buffers[b].after, bytes) != 0) {
                fail_msg("%s: %d threads give other bits than 1", text, thread_counts[i]);
            }
        }
    }
    for (int b = 0; b < state.buffer_count; ++b)
        free(first[b]);
    case_close(&state);
}

static void threads_do_not_change_a_bit(void **argument)
{
    const enum ddpm_dtype dtype = *(const enum ddpm_dtype *)*argument;
    for (enum ddpm_op op = 0; op < DDPM_OP_COUNT; ++op) {
        struct kernel_case test;
        for (int cursor = 0; case_op_has_dtype(op, dtype) && case_next(op, dtype, &cursor, &test);)
            if (test.values == VALUES_NORMAL && !test.wide && !test.absent && test.in_place < 0)
                compare_runs(&test);
    }
}

static int open_all(void **unused)
{
    (void)unused;
    for (int i = 0; i < RUNS; ++i) {
        struct ddpm_device_options options = {.threads = thread_counts[i]};
        if (ddpm_device_open("cpu", &options, &devices[i]) != DDPM_OK)
            return -1;
    }
    return 0;
}

static int close_all(void **unused)
{
    (void)unused;
    for (int i = 0; i < RUNS; ++i)
        ddpm_device_close(&devices[i]);
    return 0;
}

int main(void)
{
    static enum ddpm_dtype fp32 = DDPM_F32, bf16 = DDPM_BF16;
    const struct CMUnitTest tests[] = {
        {"fp32", threads_do_not_change_a_bit, NULL, NULL, &fp32},
        {"bf16", threads_do_not_change_a_bit, NULL, NULL, &bf16},
    };
    return cmocka_run_group_tests_name("determinism", tests, open_all, close_all);
}

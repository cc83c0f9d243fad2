/* Times every kernel on its own, on the shapes of the article's network: median of the runs,
 * operations (as for direct kernels) and minimum bytes per second, and operations as a share of the
 * peak. The peak is measured right before and after, because other work on the machine slows
 * both. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernel_case.h"

enum { RUNS = 30 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of up to RUNS runs or half a second, after one warm-up run. */
static ddpm_status time_runs(struct device_case *run, double *median)
{
    const struct ddpm_backend *backend = run->device->backend;
    double seconds[RUNS], start = 0;
    int count = 0;
    for (int i = -1; i < RUNS; ++i) {
        double begin = now();
        DDPM_TRY(device_case_run(run));
        DDPM_TRY(backend->synchronize(run->device));
        double end = now();
        if (i < 0) {
            start = end;
            continue;
        }
        seconds[count++] = end - begin;
        if (end - start > 0.5)
            break;
    }
    qsort(seconds, (size_t)count, sizeof *seconds, compare_doubles);
    *median = seconds[count / 2];
    return DDPM_OK;
}

static ddpm_status bench_case(struct ddpm_device *device, const struct kernel_case *test)
{
    struct case_state state;
    struct device_case run = {.device = device};
    const struct ddpm_backend *backend = device->backend;
    double median = 0, before = 0, after = 0, bandwidth;
    char text[200];
    ddpm_status status;
    DDPM_TRY_GOTO(done, case_open(&state, test, NULL));
    DDPM_TRY_GOTO(done, device_case_open(&run, &state, device));
    DDPM_TRY_GOTO(done, device_case_load(&run, &state));
    if (backend->measure_peak)
        DDPM_TRY_GOTO(done, backend->measure_peak(device, test->dtype, &before, &bandwidth));
    DDPM_TRY_GOTO(done, time_runs(&run, &median));
    if (backend->measure_peak)
        DDPM_TRY_GOTO(done, backend->measure_peak(device, test->dtype, &after, &bandwidth));
    case_describe(test, text, sizeof text);
    printf("%-78s %-44s %12.0f ns %9.1f GFLOP/s %8.1f GB/s", text, run.call.kernel->name,
           1e9 * median, 1e-9 * ddpm_call_flops(&run.call) / median,
           1e-9 * ddpm_call_bytes(&run.call) / median);
    if (before + after > 0)
        printf(" %6.2f of the peak",
               ddpm_call_flops(&run.call) / median / (0.5 * (before + after)));
    puts("");
    fflush(stdout);
done:
    device_case_close(&run);
    case_close(&state);
    return status;
}

ddpm_status case_bench(struct ddpm_device *device, enum ddpm_dtype dtype, const char *only_op)
{
    printf("%s\n", device->description);
    for (enum ddpm_op op = 0; op < DDPM_OP_COUNT; ++op) {
        if ((only_op && strcmp(only_op, ddpm_op_info[op].name) != 0) ||
            !case_op_has_dtype(op, dtype))
            continue;
        struct kernel_case test;
        for (int cursor = 0; case_next_bench(op, dtype, &cursor, &test);)
            for (int option = 0; option < (case_op_is_convolution(op) ? 1 : case_options(op));
                 ++option) {
                test.option = option;
                DDPM_TRY(bench_case(device, &test));
            }
    }
    return DDPM_OK;
}

/* What this machine can do: fp32 multiply-adds per second and bytes per second, measured. */
#include "kernels/cpu/peak.h"

#include <time.h>

#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/cpu.h"

#define TRIES 5
#define TRIAD_COUNT ((int64_t)16 << 20) /* three arrays of 64 MiB: past every cache */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static ddpm_range_function *peak_function(enum ddpm_cpu_level level, double *flops_per_step)
{
#if defined(__x86_64__) || defined(__i386__)
    if (level == DDPM_CPU_AVX2) {
        *flops_per_step = ddpm_peak_flops_per_step_avx2;
        return ddpm_peak_range_avx2;
    }
    if (level == DDPM_CPU_AVX512) {
        *flops_per_step = ddpm_peak_flops_per_step_avx512;
        return ddpm_peak_range_avx512;
    }
#endif
    (void)level;
    *flops_per_step = ddpm_peak_flops_per_step_generic;
    return ddpm_peak_range_generic;
}

/* a = b + s·c, McCalpin's STREAM. */
struct triad {
    float *a, *b, *c;
};

static void triad_range(void *context, int64_t begin, int64_t end, int thread)
{
    struct triad *t = context;
    (void)thread;
    for (int64_t i = begin; i < end; ++i)
        t->a[i] = t->b[i] + 0.5f * t->c[i];
}

static ddpm_status measure_bandwidth(int threads, double *bytes_per_second)
{
    struct triad t;
    float *block;
    DDPM_TRY(ddpm_new_aligned((void **)&block, 3 * (size_t)TRIAD_COUNT * sizeof *block,
                              "a measurement of memory"));
    t = (struct triad){block, block + TRIAD_COUNT, block + 2 * TRIAD_COUNT};
    double best = 1e30;
    for (int i = 0; i < TRIES; ++i) {
        double begin = now();
        ddpm_parallel_for(threads, TRIAD_COUNT, 1 << 16, triad_range, &t);
        double seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    ddpm_free_aligned(block);
    *bytes_per_second = 3.0 * (double)TRIAD_COUNT * sizeof(float) / best;
    return DDPM_OK;
}

ddpm_status ddpm_cpu_measure_peak(struct ddpm_device *device, double *flops,
                                  double *bytes_per_second)
{
    float results[256];
    double flops_per_step, best = 1e30;
    const int threads = device->threads < 256 ? device->threads : 256;
    ddpm_range_function *function =
        peak_function(((struct ddpm_cpu_device *)device)->level, &flops_per_step);
    for (int i = 0; i < TRIES; ++i) {
        double begin = now();
        ddpm_parallel_for(threads, threads, 1, function, results);
        double seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    *flops = flops_per_step * DDPM_PEAK_STEPS * threads / best;
    return measure_bandwidth(threads, bytes_per_second);
}

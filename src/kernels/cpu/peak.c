/* What this machine can do, measured: multiply-adds per second and bytes per second. */
#include "kernels/cpu/peak.h"

#include "core/clock.h"
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/cpu.h"

#define TRIES 5
#define PEAK_TRIES 20
#define PEAK_SECONDS 0.3 /* at least: by then each thread has its own processor */
#define PEAK_CHUNKS 8    /* per thread, so that a thread that starts late still gets some */
#define TRIAD_COUNT ((int64_t)16 << 20) /* three arrays of 64 MiB: larger than any cache */

static const struct ddpm_peak *const peaks[DDPM_CPU_LEVEL_COUNT] = {
    [DDPM_CPU_GENERIC] = &ddpm_peak_generic,
#if defined(__x86_64__) || defined(__i386__)
    [DDPM_CPU_AVX2] = &ddpm_peak_avx2,
    [DDPM_CPU_AVX512] = &ddpm_peak_avx512,
    [DDPM_CPU_AVX512BF16] = &ddpm_peak_avx512bf16,
#if defined(__x86_64__)
    [DDPM_CPU_AMX] = &ddpm_peak_amx,
#endif
#elif defined(__aarch64__)
    [DDPM_CPU_NEON] = &ddpm_peak_neon,
    [DDPM_CPU_NEONBF16] = &ddpm_peak_neonbf16,
#endif
};

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
        double begin = ddpm_now();
        ddpm_parallel_for(threads, TRIAD_COUNT, 1 << 16, triad_range, &t);
        double seconds = ddpm_now() - begin;
        best = seconds < best ? seconds : best;
    }
    ddpm_free_aligned(block);
    *bytes_per_second = 3.0 * (double)TRIAD_COUNT * sizeof(float) / best;
    return DDPM_OK;
}

ddpm_status ddpm_cpu_measure_peak(struct ddpm_device *device, enum ddpm_dtype dtype, double *flops,
                                  double *bytes_per_second)
{
    float results[256 * PEAK_CHUNKS];
    double best = 1e30;
    const int chunks = PEAK_CHUNKS * (device->threads < 256 ? device->threads : 256);
    const int level = (int)((struct ddpm_cpu_device *)device)->level;
    const struct ddpm_peak *peak = peaks[level];
    if (dtype == DDPM_F32 && !peak->range_f32)
        peak = peaks[level - 1]; /* level amx only adds bf16 to the level before it */
    const bool bf16 = dtype == DDPM_BF16 && peak->range_bf16;
    const double start = ddpm_now();
    for (int i = 0; i < PEAK_TRIES || ddpm_now() - start < PEAK_SECONDS; ++i) {
        double begin = ddpm_now();
        ddpm_parallel_for(device->threads, chunks, 1, bf16 ? peak->range_bf16 : peak->range_f32,
                          results);
        double seconds = ddpm_now() - begin;
        best = seconds < best ? seconds : best;
    }
    *flops = (bf16 ? peak->bf16_flops_per_step : peak->f32_flops_per_step) * DDPM_PEAK_STEPS *
             chunks / best;
    return measure_bandwidth(device->threads, bytes_per_second);
}

/* The processor's peak rate of multiply-adds at this level, for ddpm bench: as many independent
 * sums as the register tile of gemm.h has, without memory accesses. */
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/element.h"
#include "kernels/cpu/peak.h"

#define SUMS (GEMM_ROWS * GEMM_VECTORS)

ALWAYS_INLINE void peak_as(float *result, int64_t begin, int64_t end, int thread, const bool pairs)
{
    vf sum[SUMS], factor = vf_set(0.999f), addend = vf_set(0.001f);
    for (int i = 0; i < SUMS; ++i)
        sum[i] = vf_set((float)(i + thread));
    for (int64_t step = begin * DDPM_PEAK_STEPS; step < end * DDPM_PEAK_STEPS; ++step)
        _Pragma("GCC unroll 32") for (int i = 0; i < SUMS; ++i) sum[i] =
            pairs ? vf_dot2(sum[i], (vu)factor, (vu)addend) : sum[i] * factor + addend;
    for (int i = 1; i < SUMS; ++i)
        sum[0] += sum[i];
    result[begin] = vf_sum(sum[0]); /* so that nothing is optimised away */
}

static void range_f32(void *context, int64_t begin, int64_t end, int thread)
{
    peak_as(context, begin, end, thread, false);
}

#if defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define RANGE_BF16 range_bf16
static void range_bf16(void *context, int64_t begin, int64_t end, int thread)
{
    peak_as(context, begin, end, thread, true);
}
#else
#define RANGE_BF16 NULL
#endif

const struct ddpm_peak SIMD(peak) = {.range_f32 = range_f32,
                                     .range_bf16 = RANGE_BF16,
                                     .f32_flops_per_step = 2.0 * SUMS * LANES,
                                     .bf16_flops_per_step = 4.0 * SUMS * LANES};

/* The processor's peak of fp32 multiply-adds at this level, for ddpm bench: as many independent
 * sums as the register tile of gemm.h has, nothing from memory. */
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/peak.h"

#define SUMS (GEMM_ROWS * GEMM_VECTORS)

void SIMD(peak_range)(void *context, int64_t begin, int64_t end, int thread)
{
    float *result = context;
    vf sum[SUMS], factor = vf_set(0.999f), addend = vf_set(0.001f);
    for (int i = 0; i < SUMS; ++i)
        sum[i] = vf_set((float)(i + thread));
    for (int64_t step = begin * DDPM_PEAK_STEPS; step < end * DDPM_PEAK_STEPS; ++step)
        _Pragma("GCC unroll 32") for (int i = 0; i < SUMS; ++i) sum[i] = sum[i] * factor + addend;
    for (int i = 1; i < SUMS; ++i)
        sum[0] += sum[i];
    result[begin] = vf_sum(sum[0]); /* so that nothing is left out */
}

const double SIMD(peak_flops_per_step) = 2.0 * SUMS * LANES;

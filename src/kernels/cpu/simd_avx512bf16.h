/* What level avx512bf16 does with instructions that vector types cannot express, or that compilers
 * do not find: gcc 12 uses six instructions each for the widening and for min and max. simd.h has
 * the same functions for the levels below. The processor treats subnormal bf16 numbers and sums as
 * zero. */
#ifndef DDPM_KERNELS_CPU_SIMD_AVX512BF16_H
#define DDPM_KERNELS_CPU_SIMD_AVX512BF16_H

#include <immintrin.h>

#include "kernels/cpu/simd.h"

static inline vf vf_dot2(vf sum, vu a, vu b)
{
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

/* b where a or b is NaN. */
static inline vf vf_max(vf a, vf b)
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}

static inline vf vf_min(vf a, vf b)
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}

static inline vf vf_from_bf16(vh bits)
{
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)bits), 16);
}

static inline vh vf_to_bf16(vf v)
{
    return (vh)_mm512_cvtneps_pbh((__m512)v);
}

static inline vu vf_to_bf16_pairs(vf low, vf high)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
    return (vu)_mm512_permutexvar_epi16(order, both);
}

static inline void vf_store_past(float *p, vf v)
{
    _mm512_stream_ps(p, (__m512)v);
}

static inline void vf_stores_past_end(void)
{
    _mm_sfence();
}

#endif

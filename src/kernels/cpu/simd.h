/* Vectors of the CPU level that a file is compiled for.
 *
 * Files named *.simd.c are compiled once per level (generic, avx2, avx512, avx512bf16; on ARM
 * generic, neon, neonbf16), with DDPM_LEVEL set to its name and the level's -m flags. They are
 * written with GCC/clang vector types, without intrinsics except those of simd_avx512bf16.h and
 * simd_neon.h, so the same source serves every level. SIMD(name) adds the level as a suffix to
 * their functions. `-ffp-contract=fast` lets the compiler turn a*b+c into fused multiply-adds. */
#ifndef DDPM_KERNELS_CPU_SIMD_H
#define DDPM_KERNELS_CPU_SIMD_H

#include <stdint.h>
#include <string.h>

#define SIMD_PASTE2(name, level) ddpm_##name##_##level
#define SIMD_PASTE(name, level) SIMD_PASTE2(name, level)
/* SIMD(gemm) is ddpm_gemm_avx2 in the avx2 build of a file. */
#define SIMD(name) SIMD_PASTE(name, DDPM_LEVEL)

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
typedef uint16_t vh __attribute__((vector_size(LANES * 2)));

static inline vf vf_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vf_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

static inline vf vf_set(float x)
{
    return x - (vf){0};
}

/* The four bytes at p in every lane: a number, or a pair of bf16 numbers. */
static inline vu vu_broadcast(const void *p)
{
    uint32_t bits;
    memcpy(&bits, p, sizeof bits);
    return bits + (vu){0};
}

/* The first `count` < LANES elements; the others are 0. */
static inline vf vf_load_part(const float *p, int64_t count)
{
    vf v = {0};
    memcpy(&v, p, (size_t)count * sizeof *p);
    return v;
}

static inline void vf_store_part(float *p, vf v, int64_t count)
{
    memcpy(p, &v, (size_t)count * sizeof *p);
}

/* Lane by lane: mask ? a : b, with mask all ones or all zeros. */
static inline vf vf_select(vi mask, vf a, vf b)
{
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

#if defined(__AVX512BF16__)
/* vf_dot2, vf_max, vf_min, vf_from_bf16, vf_to_bf16, vf_to_bf16_pairs, vf_store_past */
#include "kernels/cpu/simd_avx512bf16.h"
#else
/* b where a or b is NaN. */
static inline vf vf_max(vf a, vf b)
{
    return vf_select((vi)(a > b), a, b);
}

static inline vf vf_min(vf a, vf b)
{
    return vf_select((vi)(a < b), a, b);
}

static inline vf vf_from_bf16(vh bits)
{
    return (vf)(__builtin_convertvector(bits, vu) << 16);
}

#if defined(DDPM_NEON)
/* vf_multiply_add_lane; for neonbf16 also vf_dot2, vf_dot2_lane, vf_to_bf16, vf_to_bf16_pairs */
#include "kernels/cpu/simd_neon.h"
#endif
#if !defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
/* sum + a's low halves times b's + a's high halves times b's; the halves are bf16 numbers. */
static inline vf vf_dot2(vf sum, vu a, vu b)
{
    sum += (vf)(a << 16) * (vf)(b << 16);
    return sum + (vf)(a & 0xffff0000) * (vf)(b & 0xffff0000);
}

/* The bits of a bf16 number in the low half. Round to nearest even; NaN stays NaN. */
static inline vu vf_round_bf16(vf v)
{
    vu bits = (vu)v;
    vu rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vu quiet = (bits >> 16) | 0x40;
    vu is_nan = (vu)((vi)(bits & 0x7fffffff) > 0x7f800000);
    return (rounded & ~is_nan) | (quiet & is_nan);
}

static inline vh vf_to_bf16(vf v)
{
    return __builtin_convertvector(vf_round_bf16(v), vh);
}

/* In each lane: low in the low half, high in the high half. */
static inline vu vf_to_bf16_pairs(vf low, vf high)
{
    return vf_round_bf16(low) | vf_round_bf16(high) << 16;
}
#endif

/* Store to a vector-aligned address, bypassing the caches if the level can: an ordinary store would
 * first read the line from memory. Call vf_stores_past_end() before telling other threads that the
 * data is ready. */
static inline void vf_store_past(float *p, vf v)
{
    vf_store(p, v);
}

static inline void vf_stores_past_end(void)
{
}
#endif

static inline vf vf_load_bf16(const uint16_t *p)
{
    vh bits;
    memcpy(&bits, p, sizeof bits);
    return vf_from_bf16(bits);
}

static inline void vf_store_bf16(uint16_t *p, vf v)
{
    vh bits = vf_to_bf16(v);
    memcpy(p, &bits, sizeof bits);
}

static inline float vf_sum(vf v)
{
    float sum = 0;
    for (int lane = 0; lane < LANES; ++lane)
        sum += v[lane];
    return sum;
}

#endif

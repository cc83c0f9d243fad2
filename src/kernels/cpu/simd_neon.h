/* What levels neon and neonbf16 do with instructions that vector types cannot express, or that
 * compilers do not find: gcc 12 takes a lane out through an integer register. */
#ifndef DDPM_KERNELS_CPU_SIMD_NEON_H
#define DDPM_KERNELS_CPU_SIMD_NEON_H

#include <arm_neon.h>

#include "kernels/cpu/simd.h"

#define LANE_INLINE static inline __attribute__((always_inline))
/* CALL(0) … CALL(3) by lane: the instructions want a constant. */
#define RETURN_BY_LANE(lane, CALL)                                                                 \
    switch (lane) {                                                                                \
    case 0:                                                                                        \
        return (vf)CALL(0);                                                                        \
    case 1:                                                                                        \
        return (vf)CALL(1);                                                                        \
    case 2:                                                                                        \
        return (vf)CALL(2);                                                                        \
    default:                                                                                       \
        return (vf)CALL(3);                                                                        \
    }

/* sum + a·(lane `lane` of b): FMLA by element. vfmaq_laneq_f32 would do it too, but for gcc 12 that
 * may read memory, so it stores its sums before each. */
LANE_INLINE vf vf_multiply_add_lane(vf sum, vf a, vf b, const int lane)
{
#define CALL(n) (sum + a * (vf)vdupq_laneq_f32((float32x4_t)b, n))
    RETURN_BY_LANE(lane, CALL)
#undef CALL
}

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
/* BFDOT. Treats subnormal bf16 numbers and sums as zero, and rounds to odd. The asm hides
 * constants: gcc 12 loads a vector of bf16 ones as fp16 ones. */
static inline vf vf_dot2(vf sum, vu a, vu b)
{
    __asm__("" : "+w"(a), "+w"(b));
    return (vf)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)a, (bfloat16x8_t)b);
}

/* vf_dot2 with lane `lane` of b in every lane. */
LANE_INLINE vf vf_dot2_lane(vf sum, vu a, vu b, const int lane)
{
#define CALL(n) vbfdotq_laneq_f32((float32x4_t)sum, (bfloat16x8_t)a, (bfloat16x8_t)b, n)
    RETURN_BY_LANE(lane, CALL)
#undef CALL
}

static inline vh vf_to_bf16(vf v)
{
    return (vh)vcvt_bf16_f32((float32x4_t)v);
}

static inline vu vf_to_bf16_pairs(vf low, vf high)
{
    return (vu)vzip1q_u16(vcombine_u16((uint16x4_t)vf_to_bf16(low), vdup_n_u16(0)),
                          vcombine_u16((uint16x4_t)vf_to_bf16(high), vdup_n_u16(0)));
}
#endif

#undef LANE_INLINE
#undef RETURN_BY_LANE
#endif

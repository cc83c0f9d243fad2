/* How 64-bit ARM multiplies in gemm.simd.c: by one lane of a vector. One load brings the factors of
 * LANES steps or rows. Broadcasting each of them (LD1R) would take one of the units that multiply.
 *
 * Level neon multiplies pairs of bf16 numbers half by half: first all low numbers, then all high
 * ones. So a load is split once for LANES factors, not once for each. */
#ifndef DDPM_KERNELS_CPU_GEMM_LANES_H
#define DDPM_KERNELS_CPU_GEMM_LANES_H

#include <stdbool.h>

#include "kernels/cpu/element.h"

#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define PAIR_HALVES 1
#else
#define PAIR_HALVES 2
#endif

/* Make the compiler forget what it knows about an index or pointer, so that it loads again what it
 * would otherwise keep on the stack. */
#define READ_AGAIN(place) __asm__("" : "+r"(place))

/* What to multiply of the vector at p in round `half`. */
ALWAYS_INLINE vu load_half(const void *p, const int half, const bool pairs)
{
    vu v;
    memcpy(&v, p, sizeof v);
    if (!pairs || PAIR_HALVES == 1)
        return v;
    return half == 0 ? v << 16 : v & 0xffff0000;
}

/* load_half for the operand that is used lane by lane. */
ALWAYS_INLINE vu load_lanes(const void *p, const int half, const bool pairs)
{
    vu v = load_half(p, half, pairs);
    __asm__("" : "+w"(v)); /* or gcc loads the lanes one by one */
    return v;
}

/* sum + lane `lane` of a times every lane of b. */
ALWAYS_INLINE vf multiply_by_lane(vf sum, vu a, const int lane, vu b, const bool pairs)
{
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
    if (pairs)
        return vf_dot2_lane(sum, b, a, lane);
#endif
    (void)pairs;
    return vf_multiply_add_lane(sum, (vf)b, (vf)a, lane);
}

/* sum[m] += (lane `lane` of `left`)·b[0:GEMM_COLUMNS] for each row m; both expressions are in m. */
#define LANE_STEP(left, lane, b, half, pairs)                                                      \
    do {                                                                                           \
        vu right[GEMM_VECTORS];                                                                    \
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j) right[j] =                                   \
            load_half((b) + j * LANES, half, pairs);                                               \
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)   \
            sum[m][j] = multiply_by_lane(sum[m][j], left, lane, right[j], pairs);                  \
    } while (0)

#define ROWS_HALF(row, k, b, half, pairs)                                                          \
    do {                                                                                           \
        vu left[GEMM_ROWS];                                                                        \
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) left[m] =                                       \
            load_lanes((row)[m] + 4 * (k), half, pairs);                                           \
        UNROLL for (int step = 0; step < LANES; ++step)                                            \
            LANE_STEP(left[m], step, (b) + step * GEMM_COLUMNS, half, pairs);                      \
    } while (0)

/* LANES steps of gemm_rows. */
#define ROWS_STEPS(row, k, b, pairs)                                                               \
    do {                                                                                           \
        ROWS_HALF(row, k, b, 0, pairs);                                                            \
        if ((pairs) && PAIR_HALVES == 2) {                                                         \
            READ_AGAIN(k);                                                                         \
            READ_AGAIN(b);                                                                         \
            ROWS_HALF(row, k, b, 1, pairs);                                                        \
        }                                                                                          \
    } while (0)

#define OUTER_HALF(a, b, half, pairs)                                                              \
    do {                                                                                           \
        vu left[GEMM_ROWS / LANES];                                                                \
        UNROLL for (int i = 0; i < GEMM_ROWS / LANES; ++i) left[i] =                               \
            load_lanes((a) + i * LANES, half, pairs);                                              \
        LANE_STEP(left[m / LANES], m % LANES, b, half, pairs);                                     \
    } while (0)

/* One step of gemm_outer. */
#define OUTER_STEP(a, b, pairs)                                                                    \
    do {                                                                                           \
        OUTER_HALF(a, b, 0, pairs);                                                                \
        if ((pairs) && PAIR_HALVES == 2)                                                           \
            OUTER_HALF(a, b, 1, pairs);                                                            \
    } while (0)

#endif

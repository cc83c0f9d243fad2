/* The two matrix products that every convolution is built on. The sizes of a register tile depend
 * on the level: GEMM_ROWS × GEMM_COLUMNS fp32 sums stay in registers while the depth runs.
 *
 * gemm_rows   y[m][n] = add[m][n] + bias[n] + Σ_k a[m][k]·b[k][n]; pointers say where the rows of a
 * are (pixels of an image, or zeros for padding), b is packed. gemm_outer  c[m][n] += Σ_p
 * a[p][m]·b[p][n]; the sum runs over pixels, and both operands are stored row by row, as in NHWC.
 * For gradients of weights.
 *
 * Both exist for fp32 and for bf16 operands; sums are fp32. The depth is counted in 4-byte steps:
 * one fp32 number, or a pair of bf16 numbers whose two products are added at once. The pairs of
 * gemm_rows are neighbouring channels, as in NHWC; those of gemm_outer are the same channel of two
 * pixels, which the caller has stored side by side.
 *
 * Packed b: panels of GEMM_COLUMNS columns, [N/GEMM_COLUMNS][steps][GEMM_COLUMNS], the last panel
 * padded with zeros. */
#ifndef DDPM_KERNELS_CPU_GEMM_H
#define DDPM_KERNELS_CPU_GEMM_H

#include "kernels/cpu/rows.h"

/* ROWS·VECTORS sums + VECTORS of b + one broadcast of a must fit 16 (AVX-512 and NEON: 32)
 * registers. */
#if defined(__AVX512F__)
#define GEMM_ROWS 14
#define GEMM_VECTORS 2
#elif defined(__AVX__)
#define GEMM_ROWS 6
#define GEMM_VECTORS 2
#elif defined(__aarch64__)
#define GEMM_ROWS 8
#define GEMM_VECTORS 2
#else
#define GEMM_ROWS 4
#define GEMM_VECTORS 2
#endif
#define GEMM_COLUMNS (GEMM_VECTORS * LANES)

/* Depth, in steps, of a block whose panel of b stays in L1 while rows are processed. bf16 sums are
 * not stored between blocks (y may be too narrow for them), so there the depth is not split. */
#define GEMM_DEPTH 256

struct ddpm_gemm_rows {
    /* [segments][GEMM_ROWS] row starts; missing rows repeat an existing one */
    const void *const *a;
    int64_t segments;
    int64_t depth;           /* of a segment, in steps; each segment has its own rows */
    int64_t a_offset;        /* added to every a, in steps */
    const void *b;           /* [segments·depth][GEMM_COLUMNS] steps */
    void *const *y;          /* [rows] */
    const void *const *add;  /* [rows] or NULL; of y's dtype; may be y */
    int64_t offset;          /* offset of every y and add, and of bias, in elements */
    const float *bias;       /* or NULL */
    int rows, columns;       /* how many of y exist: ≤ GEMM_ROWS, ≤ GEMM_COLUMNS */
    enum ddpm_dtype y_dtype; /* gemm_rows: fp32; gemm_rows_bf16: fp32 or bf16 */
};

void SIMD(gemm_rows)(const struct ddpm_gemm_rows *g);
void SIMD(gemm_rows_bf16)(const struct ddpm_gemm_rows *g);

struct ddpm_gemm_outer {
    const void *a, *b;            /* every step reads GEMM_ROWS and GEMM_COLUMNS elements */
    int64_t a_step, b_step;       /* between steps, in 4-byte elements */
    int64_t segments, depth;      /* segments × depth steps */
    int64_t a_segment, b_segment; /* between starts of segments, in 4-byte elements */
    float *c;
    int64_t c_stride;
    int rows, columns;
};

void SIMD(gemm_outer)(const struct ddpm_gemm_outer *g);
void SIMD(gemm_outer_bf16)(const struct ddpm_gemm_outer *g);

#endif

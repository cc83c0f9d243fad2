/* Register-tile matrix products. See gemm.h.
 *
 * The loops over the tile have constant bounds and are fully unrolled, so that the compiler keeps
 * `sum` in registers. Each step of the depth takes GEMM_VECTORS loads, GEMM_ROWS broadcasts and
 * GEMM_ROWS·GEMM_VECTORS fused multiply-adds, or with `pairs` as many sums of two products. */
#include "kernels/cpu/gemm.h"

#include <stdbool.h>

#include "kernels/cpu/element.h"

#define UNROLL _Pragma("GCC unroll 16")

typedef vf tile[GEMM_ROWS][GEMM_VECTORS];

#if defined(DDPM_NEON)
#include "kernels/cpu/gemm_lanes.h" /* ROWS_STEPS, OUTER_STEP */
#else
#define OUTER_STEP(a, b, pairs) STEP((a) + m, b, pairs)
#endif

/* One row of a tile that is partial, or is not followed by our own memory; [0, columns) of y and
 * add. */
ALWAYS_INLINE void store_part(void *y, const void *add, int64_t offset, const float *bias,
                              const vf *sum, int64_t columns, enum ddpm_dtype dtype)
{
    for (int64_t n = 0; n < columns; n += LANES) {
        vf value = sum[n / LANES];
        if (bias)
            value += vf_load_upto(bias, n, columns - n, DDPM_F32);
        if (add)
            value += vf_load_upto(add, offset + n, columns - n, dtype);
        vf_store_upto(y, offset + n, value, columns - n, dtype);
    }
}

/* sum[m] += left·b[0:GEMM_COLUMNS] for every row m; the expression `left`, in m, is the row's step.
 * A macro, because compilers may not keep an array in registers if it is passed to a function. */
#define STEP(left, b, pairs)                                                                       \
    do {                                                                                           \
        vf right[GEMM_VECTORS];                                                                    \
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j) right[j] = vf_load((b) + j * LANES);         \
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)   \
        {                                                                                          \
            vu factor = vu_broadcast(left);                                                        \
            sum[m][j] = (pairs) ? vf_dot2(sum[m][j], factor, (vu)right[j])                         \
                                : sum[m][j] + (vf)factor * right[j];                               \
        }                                                                                          \
    } while (0)

ALWAYS_INLINE void rows_as(const struct ddpm_gemm_rows *g, const bool pairs,
                           const enum ddpm_dtype y_dtype)
{
    tile sum = {0};
    const float *b = g->b;
    int64_t depth = g->depth;
    for (int64_t segment = 0; segment < g->segments; ++segment) {
        const char *row[GEMM_ROWS]; /* bf16 numbers need not be aligned to four bytes */
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) row[m] =
            (const char *)g->a[segment * GEMM_ROWS + m] + 4 * g->a_offset;
        int64_t k = 0;
#if defined(DDPM_NEON)
        for (; k + LANES <= depth; k += LANES, b += LANES * GEMM_COLUMNS)
            ROWS_STEPS(row, k, b, pairs);
#endif
        for (; k < depth; ++k, b += GEMM_COLUMNS)
            STEP(row[m] + 4 * k, b, pairs);
    }

    const float *bias = g->bias ? g->bias + g->offset : NULL;
    void *const *y = g->y;
    int64_t offset = g->offset;
    if (g->columns < GEMM_COLUMNS) {
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) if (m < g->rows)
            store_part(y[m], g->add ? g->add[m] : NULL, offset, bias, sum[m], g->columns, y_dtype);
        return;
    }
    vf start[GEMM_VECTORS] = {{0}};
    if (bias) {
        memcpy(start, bias, sizeof start);
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)
            sum[m][j] += start[j];
    }
    if (g->add)
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) if (m < g->rows)
            UNROLL for (int j = 0; j < GEMM_VECTORS; ++j) sum[m][j] +=
            vf_load_as(g->add[m], offset + j * LANES, y_dtype);
    UNROLL for (int m = 0; m < GEMM_ROWS; ++m)
    {
        if (m == g->rows)
            return;
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)
            vf_store_as(y[m], offset + j * LANES, sum[m][j], y_dtype);
    }
}

void SIMD(gemm_rows)(const struct ddpm_gemm_rows *g)
{
    rows_as(g, false, DDPM_F32);
}

void SIMD(gemm_rows_bf16)(const struct ddpm_gemm_rows *g)
{
    if (g->y_dtype == DDPM_F32)
        rows_as(g, true, DDPM_F32);
    else
        rows_as(g, true, DDPM_BF16);
}

ALWAYS_INLINE void outer_as(const struct ddpm_gemm_outer *g, const bool pairs)
{
    tile sum = {0};
    int64_t a_step = g->a_step, b_step = g->b_step;
    /* c is far away and is needed when the sums are done, which is soon if products come in
     * pairs. */
    for (int m = 0; pairs && m < g->rows; ++m)
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)
            __builtin_prefetch(g->c + m * g->c_stride + j * LANES, 1);
    for (int64_t segment = 0; segment < g->segments; ++segment) {
        const float *a = (const float *)g->a + segment * g->a_segment;
        const float *b = (const float *)g->b + segment * g->b_segment;
        for (int64_t p = g->depth; p > 0; --p, a += a_step, b += b_step)
            OUTER_STEP(a, b, pairs);
    }

    float *c = g->c;
    int64_t stride = g->c_stride;
    if (g->columns < GEMM_COLUMNS) {
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) if (m < g->rows)
            store_part(c, c, m * stride, NULL, sum[m], g->columns, DDPM_F32);
        return;
    }
    UNROLL for (int m = 0; m < GEMM_ROWS; ++m)
    {
        if (m == g->rows)
            return;
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)
            vf_store(c + m * stride + j * LANES, vf_load(c + m * stride + j * LANES) + sum[m][j]);
    }
}

void SIMD(gemm_outer)(const struct ddpm_gemm_outer *g)
{
    outer_as(g, false);
}

void SIMD(gemm_outer_bf16)(const struct ddpm_gemm_outer *g)
{
    outer_as(g, true);
}

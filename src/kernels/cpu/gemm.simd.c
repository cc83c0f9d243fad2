/* Register-tile matrix products. See gemm.h.
 *
 * The loops over the tile have constant bounds and are unrolled whole, so that the compiler keeps
 * `sum` in registers: per step of the depth GEMM_VECTORS loads, GEMM_ROWS broadcasts and
 * GEMM_ROWS·GEMM_VECTORS fused multiply-adds. */
#include "kernels/cpu/gemm.h"

#include <stdbool.h>

#define UNROLL _Pragma("GCC unroll 16")

typedef vf tile[GEMM_ROWS][GEMM_VECTORS];

/* One row of a tile that is not whole, or not followed by memory of ours. */
static void store_part(float *y, const float *add, const float *bias, const vf *sum, int columns)
{
    float row[GEMM_COLUMNS];
    memcpy(row, sum, sizeof row);
    for (int n = 0; n < columns; ++n)
        y[n] = row[n] + (bias ? bias[n] : 0.0f) + (add ? add[n] : 0.0f);
}

/* sum[m] += left·b[0:GEMM_COLUMNS] for every row m, `left` being an expression of m. A macro,
 * because an array handed to a function may not be kept in registers. */
#define STEP(left, b)                                                                              \
    do {                                                                                           \
        vf right[GEMM_VECTORS];                                                                    \
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j) right[j] = vf_load((b) + j * LANES);         \
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)   \
            sum[m][j] += vf_set(left) * right[j];                                                  \
    } while (0)

void SIMD(gemm_rows)(const struct ddpm_gemm_rows *g)
{
    tile sum = {0};
    const float *b = g->b;
    int64_t depth = g->depth;
    for (int64_t segment = 0; segment < g->segments; ++segment) {
        const float *row[GEMM_ROWS];
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) row[m] =
            g->a[segment * GEMM_ROWS + m] + g->a_offset;
        for (int64_t k = 0; k < depth; ++k, b += GEMM_COLUMNS)
            STEP(row[m][k], b);
    }

    const float *bias = g->bias ? g->bias + g->offset : NULL;
    float *const *y = g->y;
    int64_t offset = g->offset;
    if (g->columns < GEMM_COLUMNS) {
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) if (m < g->rows)
            store_part(y[m] + offset, g->add ? g->add[m] + offset : NULL, bias, sum[m], g->columns);
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
            vf_load(g->add[m] + offset + j * LANES);
    UNROLL for (int m = 0; m < GEMM_ROWS; ++m)
    {
        if (m == g->rows)
            return;
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)
            vf_store(y[m] + offset + j * LANES, sum[m][j]);
    }
}

void SIMD(gemm_outer)(const struct ddpm_gemm_outer *g)
{
    tile sum = {0};
    int64_t a_step = g->a_step, b_step = g->b_step;
    for (int64_t segment = 0; segment < g->segments; ++segment) {
        const float *a = g->a + segment * g->a_segment;
        const float *b = g->b + segment * g->b_segment;
        for (int64_t p = g->depth; p > 0; --p, a += a_step, b += b_step)
            STEP(a[m], b);
    }

    float *c = g->c;
    int64_t stride = g->c_stride;
    if (g->columns < GEMM_COLUMNS) {
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) if (m < g->rows)
            store_part(c + m * stride, c + m * stride, NULL, sum[m], g->columns);
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

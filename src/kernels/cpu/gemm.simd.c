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

void SIMD(gemm_rows)(const struct ddpm_gemm_rows *g)
{
    tile sum = {0};
    const float *b = g->b;
    for (int64_t segment = 0; segment < g->segments; ++segment) {
        const float *row[GEMM_ROWS];
        UNROLL for (int m = 0; m < GEMM_ROWS; ++m) row[m] =
            g->a[segment * GEMM_ROWS + m] + g->a_offset;
        for (int64_t k = 0, depth = g->depth; k < depth; ++k, b += GEMM_COLUMNS) {
            vf right[GEMM_VECTORS];
            UNROLL for (int j = 0; j < GEMM_VECTORS; ++j) right[j] = vf_load(b + j * LANES);
            UNROLL for (int m = 0; m < GEMM_ROWS; ++m)
            {
                vf left = vf_set(row[m][k]);
                UNROLL for (int j = 0; j < GEMM_VECTORS; ++j) sum[m][j] += left * right[j];
            }
        }
    }

    const float *bias = g->bias ? g->bias + g->offset : NULL;
    bool whole = g->columns == GEMM_COLUMNS;
    vf start[GEMM_VECTORS] = {{0}};
    if (bias && whole)
        memcpy(start, bias, sizeof start);
    UNROLL for (int m = 0; m < GEMM_ROWS; ++m)
    {
        if (m >= g->rows)
            continue;
        float *y = g->y[m] + g->offset;
        const float *add = g->add ? g->add[m] + g->offset : NULL;
        if (!whole) {
            store_part(y, add, bias, sum[m], g->columns);
            continue;
        }
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)
        {
            vf value = sum[m][j] + start[j];
            if (add)
                value += vf_load(add + j * LANES);
            vf_store(y + j * LANES, value);
        }
    }
}

void SIMD(gemm_outer)(const struct ddpm_gemm_outer *g)
{
    tile sum = {0};
    for (int64_t segment = 0; segment < g->segments; ++segment) {
        const float *a = g->a + segment * g->a_segment;
        const float *b = g->b + segment * g->b_segment;
        int64_t a_step = g->a_step, b_step = g->b_step;
        for (int64_t p = g->depth; p > 0; --p, a += a_step, b += b_step) {
            vf right[GEMM_VECTORS];
            UNROLL for (int j = 0; j < GEMM_VECTORS; ++j) right[j] = vf_load(b + j * LANES);
            UNROLL for (int m = 0; m < GEMM_ROWS; ++m)
            {
                vf left = vf_set(a[m]);
                UNROLL for (int j = 0; j < GEMM_VECTORS; ++j) sum[m][j] += left * right[j];
            }
        }
    }

    bool whole = g->columns == GEMM_COLUMNS;
    UNROLL for (int m = 0; m < GEMM_ROWS; ++m)
    {
        if (m >= g->rows)
            continue;
        float *c = g->c + m * g->c_stride;
        if (!whole) {
            store_part(c, c, NULL, sum[m], g->columns);
            continue;
        }
        UNROLL for (int j = 0; j < GEMM_VECTORS; ++j)
            vf_store(c + j * LANES, vf_load(c + j * LANES) + sum[m][j]);
    }
}

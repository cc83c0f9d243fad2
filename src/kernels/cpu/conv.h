/* What the convolution kernels of one level share. */
#ifndef DDPM_KERNELS_CPU_CONV_H
#define DDPM_KERNELS_CPU_CONV_H

#include "kernels/backend.h"
#include "kernels/cpu/gemm.h"

static inline int64_t ddpm_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* The channels of a pixel in steps of four bytes, see gemm.h; bf16: their number is even. */
static inline int64_t ddpm_steps(const struct ddpm_tensor *t)
{
    return t->dtype == DDPM_BF16 ? t->c / 2 : t->c;
}

/* Columns of packed weights for n outputs. */
static inline int64_t ddpm_padded_columns(int64_t n)
{
    return ddpm_ceil_div(n, GEMM_COLUMNS) * GEMM_COLUMNS;
}

#endif

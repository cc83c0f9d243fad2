/* What the convolution kernels of one level share. */
#ifndef DDPM_KERNELS_CPU_CONV_H
#define DDPM_KERNELS_CPU_CONV_H

#include "kernels/backend.h"
#include "kernels/cpu/gemm.h"

static inline int64_t ddpm_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t ddpm_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The channels of a pixel in 4-byte steps, see gemm.h; for bf16 their number is even. */
static inline int64_t ddpm_steps(const struct ddpm_tensor *t)
{
    return t->dtype == DDPM_BF16 ? t->c / 2 : t->c;
}

/* Pictures with few channels: the S·C numbers under a row of the kernel are adjacent, and count as
 * the channels of a kernel one pixel wide. */
static inline bool ddpm_few_channels(const struct ddpm_call *call)
{
    return call->in[0].c <= 8 && call->attributes.kernel_w > 1;
}

/* Gradient of the data: a convolution of dy (stride 1), or one product per tap? */
static inline bool ddpm_conv_backward_suits(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    const struct ddpm_tensor *dy = &call->in[0], *dx = &call->out[0];
    if (at->stride == 1)
        return at->padding < at->kernel_h && at->padding < at->kernel_w;
    return at->kernel_h == at->stride && at->kernel_w == at->stride && at->padding == 0 &&
           dx->h / at->stride == dy->h && dx->w / at->stride == dy->w;
}

/* The gradient for pixels at the lower and right edge that a strided convolution never reads. */
static inline void ddpm_conv_zero_unreached(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dx = &call->out[0], *dy = &call->in[0];
    const int64_t reached_h = dy->h * call->attributes.stride;
    const int64_t reached_w = dy->w * call->attributes.stride;
    if (reached_h == dx->h && reached_w == dx->w)
        return;
    const size_t size = ddpm_dtype_size(dx->dtype);
    for (int64_t pixel = 0; pixel < ddpm_tensor_pixels(dx); ++pixel)
        if (pixel / dx->w % dx->h >= reached_h || pixel % dx->w >= reached_w)
            memset((char *)dx->data + (size_t)(pixel * dx->pixel_stride) * size, 0,
                   (size_t)dx->c * size);
}

#endif

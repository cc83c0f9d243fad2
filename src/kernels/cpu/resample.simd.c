/* Data that only moves: concat, nearest ×2 and its gradient. Bound by memory. */
#include "kernels/cpu/element.h"

/* y[…, 0:Ca] = a, y[…, Ca:Ca+Cb] = b */

static void concat_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *y = &call->out[0];
    const size_t size = ddpm_dtype_size(y->dtype);
    int64_t channel = 0;
    for (int i = 0; i < 2; channel += call->in[i].c, ++i) {
        const struct ddpm_tensor *x = &call->in[i];
        char *to = (char *)y->data + (size_t)channel * size;
        const char *from = x->data;
        if (from == to && x->pixel_stride == y->pixel_stride)
            continue;
        for (int64_t pixel = begin; pixel < end; ++pixel)
            memcpy(to + (size_t)(pixel * y->pixel_stride) * size,
                   from + (size_t)(pixel * x->pixel_stride) * size, (size_t)x->c * size);
    }
}

static bool concat_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 2);
}

static ddpm_status concat_run(const struct ddpm_call *call)
{
    for_pixels(call, concat_range);
    return DDPM_OK;
}

static const struct ddpm_kernel concat_kernel = {
    .name = SIMD_NAME("concat"), .supports = concat_supports, .run = concat_run};
KERNELS_OF(concat, &concat_kernel);

/* y[b,h,w,c] = x[b,h/2,w/2,c]; the loop runs over the rows of x. */

static void upsample_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    const size_t size = ddpm_dtype_size(y->dtype), bytes = (size_t)x->c * size;
    for (int64_t row = begin; row < end; ++row)
        for (int64_t copy = 0; copy < 2; ++copy)
            for (int64_t w = 0; w < x->w; ++w) {
                const char *from =
                    (const char *)x->data + (size_t)((row * x->w + w) * x->pixel_stride) * size;
                const int64_t pixel = (2 * row + copy) * y->w + 2 * w;
                char *to = (char *)y->data + (size_t)(pixel * y->pixel_stride) * size;
                memcpy(to, from, bytes);
                memcpy(to + (size_t)y->pixel_stride * size, from, bytes);
            }
}

static bool unary_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1);
}

static int64_t row_grain(const struct ddpm_tensor *small)
{
    const int64_t grain = pixel_grain(4 * small->c) / small->w;
    return grain > 1 ? grain : 1;
}

static ddpm_status upsample_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    ddpm_parallel_for(call->device->threads, x->n * x->h, row_grain(x), upsample_range,
                      (void *)call);
    return DDPM_OK;
}

static const struct ddpm_kernel upsample_kernel = {
    .name = SIMD_NAME("upsample"), .supports = unary_supports, .run = upsample_run};
KERNELS_OF(upsample, &upsample_kernel);

/* dx = sum of the 2×2 pixels of dy */

ALWAYS_INLINE void upsample_backward_as(const struct ddpm_call *call, int64_t begin, int64_t end,
                                        enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *dy = &call->in[0], *dx = &call->out[0];
    for (int64_t row = begin; row < end; ++row)
        for (int64_t w = 0; w < dx->w; ++w) {
            const int64_t to = (row * dx->w + w) * dx->pixel_stride;
            const int64_t upper = (2 * row * dy->w + 2 * w) * dy->pixel_stride;
            const int64_t lower = upper + dy->w * dy->pixel_stride;
            for (int64_t c = 0; c < dx->c; c += LANES) {
                const int64_t left = dx->c - c;
                vf sum = vf_load_upto(dy->data, upper + c, left, dtype);
                sum += vf_load_upto(dy->data, upper + dy->pixel_stride + c, left, dtype);
                vf below = vf_load_upto(dy->data, lower + c, left, dtype);
                below += vf_load_upto(dy->data, lower + dy->pixel_stride + c, left, dtype);
                vf_store_upto(dx->data, to + c, sum + below, left, dtype);
            }
        }
}

static void upsample_backward_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    if (call->out[0].dtype == DDPM_F32)
        upsample_backward_as(call, begin, end, DDPM_F32);
    else
        upsample_backward_as(call, begin, end, DDPM_BF16);
}

static ddpm_status upsample_backward_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dx = &call->out[0];
    ddpm_parallel_for(call->device->threads, dx->n * dx->h, row_grain(dx), upsample_backward_range,
                      (void *)call);
    return DDPM_OK;
}

static const struct ddpm_kernel upsample_backward_kernel = {.name = SIMD_NAME("upsample_backward"),
                                                            .supports = unary_supports,
                                                            .run = upsample_backward_run};
KERNELS_OF(upsample_backward, &upsample_backward_kernel);

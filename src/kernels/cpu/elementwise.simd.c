/* Sums and products that touch every element once: add, add_channels and its gradient sum_pixels,
 * scale_pixels and its gradient. Bound by memory. */
#include "kernels/cpu/element.h"

static inline vf add_map(vf a, vf b)
{
    return a + b;
}

MAP_RANGE(add_range, 2, add_map)

static bool add_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 2);
}

static ddpm_status add_run(const struct ddpm_call *call)
{
    for_pixels(call, add_range);
    return DDPM_OK;
}

static const struct ddpm_kernel add_kernel = {
    .name = SIMD_NAME("add"), .supports = add_supports, .run = add_run};
KERNELS_OF(add, &add_kernel);

/* y[b,h,w,c] = x[b,h,w,c] + v[b,c] */

ALWAYS_INLINE void add_channels_as(const struct ddpm_call *call, int64_t begin, int64_t end,
                                   enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *x = &call->in[0], *v = &call->in[1], *y = &call->out[0];
    const int64_t image_pixels = y->h * y->w;
    for (int64_t pixel = begin; pixel < end; ++pixel) {
        const int64_t ix = pixel * x->pixel_stride, iy = pixel * y->pixel_stride,
                      iv = pixel / image_pixels * v->pixel_stride;
        for (int64_t c = 0; c < y->c; c += LANES) {
            const int64_t left = y->c - c;
            vf sum = vf_load_upto(x->data, ix + c, left, dtype) +
                     vf_load_upto(v->data, iv + c, left, dtype);
            vf_store_upto(y->data, iy + c, sum, left, dtype);
        }
    }
}

static void add_channels_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    if (call->out[0].dtype == DDPM_F32)
        add_channels_as(call, begin, end, DDPM_F32);
    else
        add_channels_as(call, begin, end, DDPM_BF16);
}

static ddpm_status add_channels_run(const struct ddpm_call *call)
{
    for_pixels(call, add_channels_range);
    return DDPM_OK;
}

static const struct ddpm_kernel add_channels_kernel = {
    .name = SIMD_NAME("add_channels"), .supports = add_supports, .run = add_channels_run};
KERNELS_OF(add_channels, &add_channels_kernel);

/* y[b,c] = Σ_{h,w} x[b,h,w,c]. Each piece of an image writes one row of fp32 sums to scratch [B,
 * pieces, C]; the rows are then added in order, in fp64. */

static int64_t pieces_per_image(const struct ddpm_tensor *x)
{
    const int64_t grain = pixel_grain(x->c);
    return (x->h * x->w + grain - 1) / grain;
}

ALWAYS_INLINE void sum_piece_as(const struct ddpm_tensor *x, int64_t begin, int64_t end, float *sum,
                                enum ddpm_dtype dtype)
{
    int64_t c = 0;
    /* Four vectors together, so that every cache line is read once. */
    for (; c + 4 * LANES <= x->c; c += 4 * LANES) {
        vf total[4] = {{0}};
        for (int64_t pixel = begin; pixel < end; ++pixel)
            for (int k = 0; k < 4; ++k)
                total[k] += vf_load_as(x->data, pixel * x->pixel_stride + c + k * LANES, dtype);
        for (int k = 0; k < 4; ++k)
            vf_store(sum + c + k * LANES, total[k]);
    }
    for (; c < x->c; c += LANES) {
        const int64_t left = x->c - c;
        vf total = {0};
        for (int64_t pixel = begin; pixel < end; ++pixel)
            total += vf_load_upto(x->data, pixel * x->pixel_stride + c, left, dtype);
        vf_store_upto(sum, c, total, left, DDPM_F32);
    }
}

static void sum_pieces_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *x = &call->in[0];
    const int64_t pieces = pieces_per_image(x), grain = pixel_grain(x->c), pixels = x->h * x->w;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % pieces * grain, image = i / pieces * pixels;
        const int64_t last = first + grain < pixels ? first + grain : pixels;
        float *sum = (float *)call->scratch + i * x->c;
        if (x->dtype == DDPM_F32)
            sum_piece_as(x, image + first, image + last, sum, DDPM_F32);
        else
            sum_piece_as(x, image + first, image + last, sum, DDPM_BF16);
    }
}

static ddpm_status sum_pixels_prepare(struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    call->scratch_bytes = (size_t)(x->n * pieces_per_image(x) * x->c) * sizeof(float);
    return DDPM_OK;
}

static ddpm_status sum_pixels_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    const int64_t pieces = pieces_per_image(x);
    ddpm_parallel_for(call->device->threads, x->n * pieces, 1, sum_pieces_range, (void *)call);
    for (int64_t b = 0; b < x->n; ++b)
        for (int64_t c = 0; c < x->c; ++c) {
            double sum = 0;
            for (int64_t piece = 0; piece < pieces; ++piece)
                sum += (double)((const float *)call->scratch)[(b * pieces + piece) * x->c + c];
            const int64_t i = b * y->pixel_stride + c;
            if (y->dtype == DDPM_F32)
                ((float *)y->data)[i] = (float)sum;
            else
                ((uint16_t *)y->data)[i] = ddpm_float_to_bf16((float)sum);
        }
    return DDPM_OK;
}

static bool sum_pixels_supports(const struct ddpm_call *call)
{
    return is_activation_dtype(call->in[0].dtype) && is_activation_dtype(call->out[0].dtype);
}

static const struct ddpm_kernel sum_pixels_kernel = {.name = SIMD_NAME("sum_pixels"),
                                                     .supports = sum_pixels_supports,
                                                     .prepare = sum_pixels_prepare,
                                                     .run = sum_pixels_run};
KERNELS_OF(sum_pixels, &sum_pixels_kernel);

/* y = a·x, one factor per pixel */

ALWAYS_INLINE float load_one(const struct ddpm_tensor *t, int64_t i, enum ddpm_dtype dtype)
{
    return dtype == DDPM_F32 ? ((const float *)t->data)[i]
                             : ddpm_bf16_to_float(((const uint16_t *)t->data)[i]);
}

ALWAYS_INLINE void scale_pixels_as(const struct ddpm_call *call, int64_t begin, int64_t end,
                                   enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *a = &call->in[0], *x = &call->in[1], *y = &call->out[0];
    for (int64_t pixel = begin; pixel < end; ++pixel) {
        const vf factor = vf_set(load_one(a, pixel * a->pixel_stride, dtype));
        const int64_t ix = pixel * x->pixel_stride, iy = pixel * y->pixel_stride;
        for (int64_t c = 0; c < y->c; c += LANES) {
            const int64_t left = y->c - c;
            vf_store_upto(y->data, iy + c, factor * vf_load_upto(x->data, ix + c, left, dtype),
                          left, dtype);
        }
    }
}

static void scale_pixels_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    if (call->out[0].dtype == DDPM_F32)
        scale_pixels_as(call, begin, end, DDPM_F32);
    else
        scale_pixels_as(call, begin, end, DDPM_BF16);
}

static ddpm_status scale_pixels_run(const struct ddpm_call *call)
{
    for_pixels(call, scale_pixels_range);
    return DDPM_OK;
}

static const struct ddpm_kernel scale_pixels_kernel = {
    .name = SIMD_NAME("scale_pixels"), .supports = add_supports, .run = scale_pixels_run};
KERNELS_OF(scale_pixels, &scale_pixels_kernel);

/* dx = a·dy, da = Σ_c x·dy */

ALWAYS_INLINE void scale_pixels_backward_as(const struct ddpm_call *call, int64_t begin,
                                            int64_t end, enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *a = &call->in[0], *x = &call->in[1], *dy = &call->in[2];
    const struct ddpm_tensor *dx = &call->out[0], *da = &call->out[1];
    for (int64_t pixel = begin; pixel < end; ++pixel) {
        const vf factor = vf_set(load_one(a, pixel * a->pixel_stride, dtype));
        const int64_t ix = pixel * x->pixel_stride, idy = pixel * dy->pixel_stride,
                      idx = pixel * dx->pixel_stride;
        vf sum = {0};
        for (int64_t c = 0; c < dx->c; c += LANES) {
            const int64_t left = dx->c - c;
            vf gradient = vf_load_upto(dy->data, idy + c, left, dtype);
            sum += vf_load_upto(x->data, ix + c, left, dtype) * gradient;
            vf_store_upto(dx->data, idx + c, factor * gradient, left, dtype);
        }
        const int64_t ida = pixel * da->pixel_stride;
        if (dtype == DDPM_F32)
            ((float *)da->data)[ida] = vf_sum(sum);
        else
            ((uint16_t *)da->data)[ida] = ddpm_float_to_bf16(vf_sum(sum));
    }
}

static void scale_pixels_backward_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    if (call->out[0].dtype == DDPM_F32)
        scale_pixels_backward_as(call, begin, end, DDPM_F32);
    else
        scale_pixels_backward_as(call, begin, end, DDPM_BF16);
}

static ddpm_status scale_pixels_backward_run(const struct ddpm_call *call)
{
    for_pixels(call, scale_pixels_backward_range);
    return DDPM_OK;
}

static bool scale_pixels_backward_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 3) && call->out[1].dtype == call->out[0].dtype;
}

static const struct ddpm_kernel scale_pixels_backward_kernel = {
    .name = SIMD_NAME("scale_pixels_backward"),
    .supports = scale_pixels_backward_supports,
    .run = scale_pixels_backward_run};
KERNELS_OF(scale_pixels_backward, &scale_pixels_backward_kernel);

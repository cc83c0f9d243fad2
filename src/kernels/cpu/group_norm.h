/* What the forward and the backward pass of group_norm share: how an image is cut, and how a piece
 * of it reaches the first-level cache as dense, activated fp32.
 *
 * Images are worked on in waves of a few megabytes, so that the second pass over a wave finds it in
 * the cache. An image is cut into chunks of pixels, each of which leaves its partial sums in
 * scratch; a chunk is walked in blocks of a few kilobytes. None of this depends on the number of
 * threads. */
#ifndef DDPM_KERNELS_CPU_GROUP_NORM_H
#define DDPM_KERNELS_CPU_GROUP_NORM_H

#include "core/memory.h"
#include "kernels/cpu/element.h"
#include "kernels/cpu/simd_math.h"

enum { NORM_BLOCK = 2048, NORM_CHUNK = 32768 }; /* elements */
#define NORM_WAVE_BYTES ((int64_t)8 << 20)

struct norm_cut {
    int64_t pixels; /* of an image */
    int64_t channels;
    int64_t block_pixels;
    int64_t chunk_pixels;
    int64_t chunks; /* of an image */
    int64_t buffer; /* floats of one block, rounded up to whole cache lines */
};

static inline struct norm_cut norm_cut_of(const struct ddpm_tensor *x)
{
    struct norm_cut cut = {.pixels = x->h * x->w, .channels = x->c};
    cut.block_pixels = x->c < NORM_BLOCK ? NORM_BLOCK / x->c : 1;
    cut.chunk_pixels = cut.block_pixels * (NORM_CHUNK / NORM_BLOCK);
    cut.chunks = (cut.pixels + cut.chunk_pixels - 1) / cut.chunk_pixels;
    cut.buffer = (cut.block_pixels * x->c + 15) / 16 * 16;
    return cut;
}

static inline int64_t norm_wave_images(const struct ddpm_call *call, int tensors)
{
    const struct ddpm_tensor *x = &call->in[0];
    const int64_t bytes = x->h * x->w * x->c * (int64_t)ddpm_dtype_size(x->dtype) * tensors;
    return bytes < NORM_WAVE_BYTES ? NORM_WAVE_BYTES / bytes : 1;
}

ALWAYS_INLINE void norm_unpack_as(const struct ddpm_tensor *x, int64_t pixel, int64_t pixels,
                                  float *to, enum ddpm_dtype dtype)
{
    const int64_t step = ddpm_tensor_dense(x) ? pixels : 1, count = step * x->c;
    for (int64_t p = 0; p < pixels; p += step)
        for (int64_t i = 0; i < count; i += LANES)
            vf_store_upto(
                to + p * x->c, i,
                vf_load_upto(x->data, (pixel + p) * x->pixel_stride + i, count - i, dtype),
                count - i, DDPM_F32);
}

/* to[i] = activation(x[i]); slope[i] = activation'(x[i]) where slope is not NULL. */
ALWAYS_INLINE void norm_activate_as(const float *x, int64_t count, enum ddpm_activation activation,
                                    float *to, float *slope)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t left = count - i;
        vf value = vf_load_upto(x, i, left, DDPM_F32), derivative = {0};
        if (activation == DDPM_RELU) {
            derivative = vf_relu_slope(value);
            value = vf_relu(value);
        } else if (activation == DDPM_SIGMOID) {
            derivative = slope ? vf_sigmoid_slope(value) : value;
            value = vf_sigmoid(value);
        } else {
            value = slope ? vf_gelu_with_slope(value, &derivative) : vf_gelu(value);
        }
        vf_store_upto(to, i, value, left, DDPM_F32);
        if (slope)
            vf_store_upto(slope, i, derivative, left, DDPM_F32);
    }
}

/* `pixels` pixels from `pixel` on, activated, as dense fp32 [pixels, C]: the tensor's own memory
 * where it is already that, else `buffer`. slope may be NULL; it is not written when there is no
 * activation. */
static inline const float *norm_gather(const struct ddpm_tensor *x, int64_t pixel, int64_t pixels,
                                       enum ddpm_activation activation, float *buffer, float *slope)
{
    const int64_t count = pixels * x->c;
    const float *values = buffer;
    if (x->dtype == DDPM_F32 && ddpm_tensor_dense(x))
        values = (const float *)x->data + pixel * x->c;
    else if (x->dtype == DDPM_F32)
        norm_unpack_as(x, pixel, pixels, buffer, DDPM_F32);
    else
        norm_unpack_as(x, pixel, pixels, buffer, DDPM_BF16);
    if (activation == DDPM_NO_ACTIVATION)
        return values;
    if (activation == DDPM_GELU && slope)
        norm_activate_as(values, count, DDPM_GELU, buffer, slope);
    else if (activation == DDPM_GELU)
        norm_activate_as(values, count, DDPM_GELU, buffer, NULL);
    else if (activation == DDPM_RELU)
        norm_activate_as(values, count, DDPM_RELU, buffer, slope);
    else
        norm_activate_as(values, count, DDPM_SIGMOID, buffer, slope);
    return buffer;
}

#endif

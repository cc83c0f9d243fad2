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

/* to[i] = activation(x[i]); slope[i] = activation'(x[i]) where slope is not NULL. */
ALWAYS_INLINE void norm_gather_span(const void *data, int64_t index, int64_t count,
                                    enum ddpm_activation activation, enum ddpm_dtype dtype,
                                    float *to, float *slope)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const int64_t left = count - i;
        vf x = vf_load_upto(data, index + i, left, dtype);
        vf derivative = vf_set(1.0f);
        if (activation == DDPM_GELU && slope)
            x = vf_gelu_with_slope(x, &derivative);
        else if (activation == DDPM_GELU)
            x = vf_gelu(x);
        vf_store_upto(to, i, x, left, DDPM_F32);
        if (slope)
            vf_store_upto(slope, i, derivative, left, DDPM_F32);
    }
}

/* `pixels` pixels from `pixel` on as dense fp32 [pixels, C]: the tensor's own memory where it is
 * already that, else `buffer`. slope may be NULL, and must be when there is no activation. */
static inline const float *norm_gather(const struct ddpm_tensor *x, int64_t pixel, int64_t pixels,
                                       enum ddpm_activation activation, float *buffer, float *slope)
{
    const bool plain = activation == DDPM_NO_ACTIVATION;
    if (plain && x->dtype == DDPM_F32 && ddpm_tensor_dense(x))
        return (const float *)x->data + pixel * x->c;
    const int64_t step = ddpm_tensor_dense(x) ? pixels : 1, count = step * x->c;
    for (int64_t p = 0; p < pixels; p += step) {
        const int64_t index = (pixel + p) * x->pixel_stride;
        float *to = buffer + p * x->c, *slope_to = slope ? slope + p * x->c : NULL;
        if (x->dtype == DDPM_F32 && plain)
            norm_gather_span(x->data, index, count, DDPM_NO_ACTIVATION, DDPM_F32, to, NULL);
        else if (x->dtype == DDPM_F32 && slope)
            norm_gather_span(x->data, index, count, DDPM_GELU, DDPM_F32, to, slope_to);
        else if (x->dtype == DDPM_F32)
            norm_gather_span(x->data, index, count, DDPM_GELU, DDPM_F32, to, NULL);
        else if (plain)
            norm_gather_span(x->data, index, count, DDPM_NO_ACTIVATION, DDPM_BF16, to, NULL);
        else if (slope)
            norm_gather_span(x->data, index, count, DDPM_GELU, DDPM_BF16, to, slope_to);
        else
            norm_gather_span(x->data, index, count, DDPM_GELU, DDPM_BF16, to, NULL);
    }
    return buffer;
}

static inline bool norm_supports_activation(const struct ddpm_call *call)
{
    return call->attributes.activation == DDPM_NO_ACTIVATION ||
           call->attributes.activation == DDPM_GELU;
}

#endif

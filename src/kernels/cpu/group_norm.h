/* What the forward and backward passes of group_norm share: splitting an image, and activating a
 * piece of it.
 *
 * Images are processed in waves of a few megabytes, so that the second pass over a wave finds it in
 * the cache. An image is split into chunks of pixels, each of which writes its partial sums to
 * scratch; a chunk is processed in blocks of a few kilobytes. None of this depends on the number of
 * threads. */
#ifndef DDPM_KERNELS_CPU_GROUP_NORM_H
#define DDPM_KERNELS_CPU_GROUP_NORM_H

#include "core/memory.h"
#include "kernels/cpu/element.h"
#include "kernels/cpu/simd_math.h"

enum { NORM_BLOCK = 2048, NORM_CHUNK = 32768 }; /* elements */
#define NORM_WAVE_BYTES ((int64_t)8 << 20)

struct norm_cut {
    int64_t pixels; /* per image */
    int64_t channels;
    int64_t block_pixels;
    int64_t chunk_pixels;
    int64_t chunks; /* per image */
};

static inline struct norm_cut norm_cut_of(const struct ddpm_tensor *x)
{
    struct norm_cut cut = {.pixels = x->h * x->w, .channels = x->c};
    cut.block_pixels = x->c < NORM_BLOCK ? NORM_BLOCK / x->c : 1;
    cut.chunk_pixels = cut.block_pixels * (NORM_CHUNK / NORM_BLOCK);
    cut.chunks = (cut.pixels + cut.chunk_pixels - 1) / cut.chunk_pixels;
    return cut;
}

static inline int64_t norm_wave_images(const struct ddpm_call *call, int tensors)
{
    const struct ddpm_tensor *x = &call->in[0];
    const int64_t bytes = x->h * x->w * x->c * (int64_t)ddpm_dtype_size(x->dtype) * tensors;
    return bytes < NORM_WAVE_BYTES ? NORM_WAVE_BYTES / bytes : 1;
}

/* activation(x); for bf16 a GELU with an absolute error of 8e-5. */
ALWAYS_INLINE vf norm_value(vf x, const enum ddpm_activation activation,
                            const enum ddpm_dtype dtype)
{
    switch (activation) {
    case DDPM_GELU:
        return dtype == DDPM_BF16 ? vf_gelu_bf16(x) : vf_gelu(x);
    case DDPM_RELU:
        return vf_relu(x);
    case DDPM_SIGMOID:
        return vf_sigmoid(x);
    default:
        return x;
    }
}

/* The same, and activation'(x). */
ALWAYS_INLINE vf norm_value_with_slope(vf x, vf *slope, const enum ddpm_activation activation,
                                       const enum ddpm_dtype dtype)
{
    switch (activation) {
    case DDPM_GELU:
        if (dtype == DDPM_F32)
            return vf_gelu_with_slope(x, slope);
        *slope = vf_gelu_slope_bf16(x);
        break;
    case DDPM_RELU:
        *slope = vf_relu_slope(x);
        break;
    case DDPM_SIGMOID:
        *slope = vf_sigmoid_slope(x);
        break;
    default:
        *slope = vf_set(1.0f);
    }
    return norm_value(x, activation, dtype);
}

/* function(…, activation, dtype) with both as constants. */
#define NORM_CASES(dtype, activation, function, ...)                                               \
    do {                                                                                           \
        if ((activation) == DDPM_GELU)                                                             \
            function(__VA_ARGS__, DDPM_GELU, dtype);                                               \
        else if ((activation) == DDPM_RELU)                                                        \
            function(__VA_ARGS__, DDPM_RELU, dtype);                                               \
        else if ((activation) == DDPM_SIGMOID)                                                     \
            function(__VA_ARGS__, DDPM_SIGMOID, dtype);                                            \
        else                                                                                       \
            function(__VA_ARGS__, DDPM_NO_ACTIVATION, dtype);                                      \
    } while (0)
#define NORM_DISPATCH(is_f32, activation, function, ...)                                           \
    do {                                                                                           \
        if (is_f32)                                                                                \
            NORM_CASES(DDPM_F32, activation, function, __VA_ARGS__);                               \
        else                                                                                       \
            NORM_CASES(DDPM_BF16, activation, function, __VA_ARGS__);                              \
    } while (0)

#endif

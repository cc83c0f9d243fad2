/* Loads and stores of activations by dtype, and loops over the pixels of a tensor, for *.simd.c.
 *
 * A constant `dtype` costs nothing: the functions are inlined and the branch goes away. Indices
 * count elements from the tensor's data. */
#ifndef DDPM_KERNELS_CPU_ELEMENT_H
#define DDPM_KERNELS_CPU_ELEMENT_H

#include "core/threads.h"
#include "kernels/backend.h"
#include "kernels/cpu/rows.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Elements that one piece of a parallel loop should touch: enough to pay for dispatching it. */
enum { SPAN_GRAIN = 16384 };

ALWAYS_INLINE vf vf_load_as(const void *data, int64_t i, enum ddpm_dtype dtype)
{
    return dtype == DDPM_F32 ? vf_load((const float *)data + i)
                             : vf_load_bf16((const uint16_t *)data + i);
}

/* Prefetch what is a page after element i, for loops that walk through memory: the processor's own
 * prefetchers stop at the end of a page and start again after it. A useless prefetch costs
 * nothing. */
ALWAYS_INLINE void fetch_ahead(const void *data, int64_t i, enum ddpm_dtype dtype)
{
    const int64_t size = dtype == DDPM_F32 ? 4 : 2, page = 4096;
    __builtin_prefetch((const char *)data + i * size + page);
}

/* The first `count` < LANES elements; the others are 0. */
ALWAYS_INLINE vf vf_load_part_as(const void *data, int64_t i, int64_t count, enum ddpm_dtype dtype)
{
    if (dtype == DDPM_F32)
        return vf_load_part((const float *)data + i, count);
    vh bits = {0};
    memcpy(&bits, (const uint16_t *)data + i, (size_t)count * sizeof(uint16_t));
    return vf_from_bf16(bits);
}

ALWAYS_INLINE void vf_store_as(void *data, int64_t i, vf v, enum ddpm_dtype dtype)
{
    if (dtype == DDPM_F32)
        vf_store((float *)data + i, v);
    else
        vf_store_bf16((uint16_t *)data + i, v);
}

ALWAYS_INLINE void vf_store_part_as(void *data, int64_t i, vf v, int64_t count,
                                    enum ddpm_dtype dtype)
{
    if (dtype == DDPM_F32) {
        vf_store_part((float *)data + i, v, count);
    } else {
        vh bits = vf_to_bf16(v);
        memcpy((uint16_t *)data + i, &bits, (size_t)count * sizeof(uint16_t));
    }
}

/* A full vector or the rest of one: `left` elements from i on. */
ALWAYS_INLINE vf vf_load_upto(const void *data, int64_t i, int64_t left, enum ddpm_dtype dtype)
{
    return left >= LANES ? vf_load_as(data, i, dtype) : vf_load_part_as(data, i, left, dtype);
}

ALWAYS_INLINE void vf_store_upto(void *data, int64_t i, vf v, int64_t left, enum ddpm_dtype dtype)
{
    if (left >= LANES)
        vf_store_as(data, i, v, dtype);
    else
        vf_store_part_as(data, i, v, left, dtype);
}

/* Pixels per piece of a parallel loop over a tensor with C channels. */
static inline int64_t pixel_grain(int64_t channels)
{
    return channels < SPAN_GRAIN ? SPAN_GRAIN / channels : 1;
}

static inline bool is_activation_dtype(enum ddpm_dtype dtype)
{
    return dtype == DDPM_F32 || dtype == DDPM_BF16;
}

/* supports(): out[0] and all of in[0 .. inputs-1] are of the same compute dtype. */
static inline bool same_dtype(const struct ddpm_call *call, int inputs)
{
    enum ddpm_dtype dtype = call->out[0].dtype;
    for (int i = 0; i < inputs; ++i)
        if (call->in[i].dtype != dtype)
            return false;
    return is_activation_dtype(dtype);
}

/* y = f(a, b) for each element of a range of pixels of call->out[0]. With one input, b is a. */
typedef vf map_function(vf a, vf b);

ALWAYS_INLINE void map_as(const struct ddpm_call *call, int64_t begin, int64_t end, int inputs,
                          map_function *f, enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *y = &call->out[0], *a = &call->in[0], *b = &call->in[inputs - 1];
    const bool dense = ddpm_tensor_dense(y) && ddpm_tensor_dense(a) && ddpm_tensor_dense(b);
    const int64_t step = dense ? end - begin : 1, length = step * y->c;
    for (int64_t pixel = begin; pixel < end; pixel += step) {
        const int64_t iy = pixel * y->pixel_stride, ia = pixel * a->pixel_stride,
                      ib = pixel * b->pixel_stride;
        int64_t i = 0;
        for (; i + LANES <= length; i += LANES) {
            fetch_ahead(a->data, ia + i, dtype);
            if (inputs > 1)
                fetch_ahead(b->data, ib + i, dtype);
            fetch_ahead(y->data, iy + i, dtype);
            vf va = vf_load_as(a->data, ia + i, dtype);
            vf vb = inputs > 1 ? vf_load_as(b->data, ib + i, dtype) : va;
            vf_store_as(y->data, iy + i, f(va, vb), dtype);
        }
        if (i < length) {
            vf va = vf_load_part_as(a->data, ia + i, length - i, dtype);
            vf vb = inputs > 1 ? vf_load_part_as(b->data, ib + i, length - i, dtype) : va;
            vf_store_part_as(y->data, iy + i, f(va, vb), length - i, dtype);
        }
    }
}

/* Defines the range function `name` (context: the call) that maps f. */
#define MAP_RANGE(name, inputs, f)                                                                 \
    static void name(void *context, int64_t begin, int64_t end, int thread)                        \
    {                                                                                              \
        (void)thread;                                                                              \
        const struct ddpm_call *call = context;                                                    \
        if (call->out[0].dtype == DDPM_F32)                                                        \
            map_as(call, begin, end, inputs, f, DDPM_F32);                                         \
        else                                                                                       \
            map_as(call, begin, end, inputs, f, DDPM_BF16);                                        \
    }

/* Run a range function over the pixels of out[0]. */
static inline void for_pixels(const struct ddpm_call *call, ddpm_range_function *range)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]),
                      pixel_grain(call->out[0].c), range, (void *)call);
}

#endif

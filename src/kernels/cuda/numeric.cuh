/* Elements and vectors of activations: fp32 or bf16 in memory, fp32 in registers.
 *
 * V elements at once: 8 if channels, pixel strides and addresses allow 16-byte accesses, else 1.
 * ddpm_cuda_vector() decides for a launch. */
#ifndef DDPM_KERNELS_CUDA_NUMERIC_CUH
#define DDPM_KERNELS_CUDA_NUMERIC_CUH

#include "kernels/cuda/cuda.cuh"

/* An activation as a kernel sees it: pixel p, channel c is data[p * stride + c]. */
template <class T> struct plane {
    T *data;
    int64_t stride;
};

template <class T> static inline struct plane<T> ddpm_plane(const struct ddpm_tensor *t) {
    return {(T *)t->data, t->pixel_stride};
}

static __device__ inline float
to_float(float x)
{
    return x;
}

static __device__ inline float to_float(bf16 x)
{
    return __bfloat162float(x);
}

static __device__ inline void from_float(float *p, float x)
{
    *p = x;
}

static __device__ inline void from_float(bf16 *p, float x)
{
    *p = __float2bfloat16_rn(x);
}

/* Two floats as bf16 in one word, the first in the low half. */
static __device__ inline uint32_t pack_bf16(float low, float high)
{
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    uint32_t word;
    memcpy(&word, &both, sizeof word);
    return word;
}

static __device__ inline void unpack_bf16(uint32_t word, float *low, float *high)
{
    *low = __uint_as_float(word << 16);
    *high = __uint_as_float(word & 0xffff0000u);
}

template <int V> static __device__ inline void load(const float *p, float x[V])
{
    if constexpr (V == 8) {
        float4 a = ((const float4 *)p)[0], b = ((const float4 *)p)[1];
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
        x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    } else {
        for (int i = 0; i < V; ++i)
            x[i] = p[i];
    }
}

template <int V> static __device__ inline void load(const bf16 *p, float x[V])
{
    if constexpr (V == 8) {
        uint4 a = *(const uint4 *)p;
        unpack_bf16(a.x, &x[0], &x[1]);
        unpack_bf16(a.y, &x[2], &x[3]);
        unpack_bf16(a.z, &x[4], &x[5]);
        unpack_bf16(a.w, &x[6], &x[7]);
    } else {
        for (int i = 0; i < V; ++i)
            x[i] = to_float(p[i]);
    }
}

template <int V> static __device__ inline void store(float *p, const float x[V])
{
    if constexpr (V == 8) {
        ((float4 *)p)[0] = make_float4(x[0], x[1], x[2], x[3]);
        ((float4 *)p)[1] = make_float4(x[4], x[5], x[6], x[7]);
    } else {
        for (int i = 0; i < V; ++i)
            p[i] = x[i];
    }
}

template <int V> static __device__ inline void store(bf16 *p, const float x[V])
{
    if constexpr (V == 8) {
        *(uint4 *)p = make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]),
                                 pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7]));
    } else {
        for (int i = 0; i < V; ++i)
            from_float(p + i, x[i]);
    }
}

/* Can vectors of 8 channels be used on all these tensors? */
static inline bool ddpm_cuda_vector(const struct ddpm_tensor *const *tensors, int count)
{
    for (int i = 0; i < count; ++i) {
        const struct ddpm_tensor *t = tensors[i];
        if (!ddpm_tensor_present(t))
            continue;
        if (t->c % 8 || t->pixel_stride % 8 || (uintptr_t)t->data % 16)
            return false;
    }
    return true;
}

static inline bool ddpm_cuda_is_activation(const struct ddpm_tensor *t)
{
    return t->dtype == DDPM_F32 || t->dtype == DDPM_BF16;
}

/* An absent tensor passes. Counts of vectors and of pixels are 32-bit inside kernels. */
static inline bool ddpm_cuda_takes(const struct ddpm_tensor *t, enum ddpm_dtype dtype)
{
    return !ddpm_tensor_present(t) ||
           (t->dtype == dtype && ddpm_tensor_pixels(t) <= INT32_MAX &&
            ddpm_tensor_count(t) / (t->c % 8 ? 1 : 8) <= INT32_MAX - 1024);
}

/* Sum over a warp, the same in every lane. */
template <class T> static __device__ inline T warp_sum(T x)
{
    for (int step = 16; step; step /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

/* Sum over a block of `warps` whole warps, the same in every thread; `shared` holds one value per
 * warp. Called by all threads. */
template <class T> static __device__ inline T block_sum(T x, T *shared, int thread, int warps)
{
    x = warp_sum(x);
    __syncthreads();
    if (thread % 32 == 0)
        shared[thread / 32] = x;
    __syncthreads();
    T sum = 0;
    for (int warp = 0; warp < warps; ++warp)
        sum += shared[warp];
    return sum;
}

#endif

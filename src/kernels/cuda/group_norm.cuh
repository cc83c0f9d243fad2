/* Moments that can be merged (Chan, Golub & LeVeque 1979), shared by the group norm's kernels and
 * those that find its statistics on their way. */
#ifndef DDPM_KERNELS_CUDA_GROUP_NORM_CUH
#define DDPM_KERNELS_CUDA_GROUP_NORM_CUH

#include "kernels/cuda/numeric.cuh"

#define NORM_THREADS 256

/* Of `count` values: their mean, and the sum of squared distances from it. */
struct moments {
    float count, mean, squares;
};

static __device__ inline struct moments merge(struct moments a, struct moments b)
{
    float count = a.count + b.count;
    if (count == 0.0f)
        return a;
    float part = b.count / count, distance = b.mean - a.mean;
    return {count, a.mean + distance * part,
            a.squares + b.squares + distance * distance * a.count * part};
}

/* Moments of V values. */
template <int V> static __device__ inline struct moments moments_of(const float x[V])
{
    float sum = 0.0f, squares = 0.0f;
    for (int i = 0; i < V; ++i)
        sum += x[i];
    float mean = sum * (1.0f / V);
    for (int i = 0; i < V; ++i)
        squares += (x[i] - mean) * (x[i] - mean);
    return {(float)V, mean, squares};
}

/* Merged in a fixed order; valid in lane 0. */
static __device__ inline struct moments merge_warp(struct moments m)
{
    for (int step = 16; step; step /= 2) {
        struct moments other;
        other.count = __shfl_down_sync(0xffffffffu, m.count, step);
        other.mean = __shfl_down_sync(0xffffffffu, m.mean, step);
        other.squares = __shfl_down_sync(0xffffffffu, m.squares, step);
        m = merge(m, other);
    }
    return m;
}

/* The same of a block of whole warps, at most 32; valid in thread 0. `warps`: shared, one each. */
static __device__ inline struct moments merge_block(struct moments m, struct moments *warps)
{
    m = merge_warp(m);
    if (threadIdx.x % 32 == 0)
        warps[threadIdx.x / 32] = m;
    __syncthreads();
    for (unsigned warp = 1; threadIdx.x == 0 && warp < blockDim.x / 32; ++warp)
        m = merge(m, warps[warp]);
    return m;
}

/* Scratch of ddpm_cuda_statistics(). */
size_t ddpm_cuda_statistics_bytes(const struct ddpm_tensor *x);

/* stats [B,1,1,2] = (mean, 1/√(var + eps)) of x, an activation; eps is the call's. */
ddpm_status ddpm_cuda_statistics(const struct ddpm_call *call, const struct ddpm_tensor *x,
                                 void *scratch, const struct ddpm_tensor *stats);

/* The same from partial moments [B][count]. */
ddpm_status ddpm_cuda_finish_statistics(const struct ddpm_call *call,
                                        const struct moments *partial, int64_t count,
                                        const struct ddpm_tensor *stats);

#endif

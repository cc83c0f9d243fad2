/* Moments that can be merged (Chan, Golub & LeVeque 1979), shared by the kernels of group norm and
 * those that compute its statistics as they go; and how the group norm kernels split an image. */
#ifndef DDPM_KERNELS_CUDA_GROUP_NORM_CUH
#define DDPM_KERNELS_CUDA_GROUP_NORM_CUH

#include "kernels/cuda/numeric.cuh"

#define NORM_THREADS 256
#define NORM_MOST_BLOCKS 512 /* chunks that an image is split into */

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

/* The same for a block of whole warps, at most 32; valid in thread 0. `warps`: shared, one each. */
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

/* A block's threads cover up to 256 vectors of channels, and as many pixels as then fit (`deep`).
 * Thread `thread` starts at pixel `row` of its chunk and advances by `deep`, always with channels
 * c..c+V-1. If row >= deep it has nothing to do. grid: (chunks, ceil(vectors per pixel/256), B) */
struct norm_place {
    int row, deep, wide, c, begin, end;
    int64_t image; /* its first pixel */
};

template <int V>
static __device__ inline struct norm_place norm_place_of(int channels, int pixels, int chunk)
{
    int first = (int)blockIdx.y * NORM_THREADS, thread = (int)threadIdx.x;
    int wide = min(channels / V - first, NORM_THREADS), row = thread / wide;
    int begin = (int)blockIdx.x * chunk;
    return {row, NORM_THREADS / wide, wide, (first + thread - row * wide) * V, begin,
            min(begin + chunk, pixels), (int64_t)blockIdx.z * pixels};
}

/* Chunks of `chunk` pixels each, for about eight vectors per thread. At most 512; just 1 if
 * single-pixel chunks would already make more blocks than that. */
struct norm_cut {
    int pixels, channels, tiles, chunks, chunk;
};

template <int V> static inline struct norm_cut ddpm_norm_cut(const struct ddpm_tensor *x)
{
    const int64_t pixels = x->h * x->w, tiles = ddpm_ceil_div(x->c / V, NORM_THREADS);
    int64_t chunks = ddpm_ceil_div(pixels * (x->c / V), 8 * NORM_THREADS * tiles);
    const int64_t most = tiles < NORM_MOST_BLOCKS ? NORM_MOST_BLOCKS / tiles : 1;
    chunks = chunks < most ? chunks : most;
    const int64_t chunk = ddpm_ceil_div(pixels, chunks);
    return {(int)pixels, (int)x->c, (int)tiles, (int)ddpm_ceil_div(pixels, chunk), (int)chunk};
}

static inline dim3 ddpm_norm_grid(struct norm_cut cut, const struct ddpm_tensor *x)
{
    return dim3((unsigned)cut.chunks, (unsigned)cut.tiles, (unsigned)x->n);
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

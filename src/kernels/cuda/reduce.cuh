/* Sums with a fixed order: over the pixels of a tensor, and over partial results.
 *
 * Both use blocks of 32 columns × 8 rows of threads: a row of threads reads 32 neighbouring
 * columns, each thread adds every eighth row, and the eight are added in order. */
#ifndef DDPM_KERNELS_CUDA_REDUCE_CUH
#define DDPM_KERNELS_CUDA_REDUCE_CUH

#include "kernels/cuda/numeric.cuh"

#define COLUMN_ROWS 8

/* Add the eight values of each column; valid in row 0. Called by all threads of the block. */
static __device__ inline float add_rows(float x)
{
    __shared__ float rows[COLUMN_ROWS][32];
    __syncthreads();
    rows[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    float sum = 0.0f;
    if (threadIdx.y == 0)
        for (int row = 0; row < COLUMN_ROWS; ++row)
            sum += rows[row][threadIdx.x];
    return sum;
}

/* partial[g][z][c] = Σ x[p][c] over the pixels p of chunk z of group g.
 * grid: (ceil(C/32), chunks, groups); group g is pixels [g·pixels, (g+1)·pixels). */
template <class T>
static __global__ void __launch_bounds__(32 * COLUMN_ROWS)
    column_sums(struct plane<T> x, int pixels, int chunk, int channels, float *partial)
{
    int c = (int)(blockIdx.x * 32 + threadIdx.x);
    int begin = (int)blockIdx.y * chunk, end = min(begin + chunk, pixels);
    float sum = 0.0f;
    if (c < channels) {
        const T *from = x.data + (int64_t)blockIdx.z * pixels * x.stride + c;
        for (int p = begin + (int)threadIdx.y; p < end; p += COLUMN_ROWS)
            sum += to_float(from[p * x.stride]);
    }
    sum = add_rows(sum);
    if (threadIdx.y == 0 && c < channels)
        partial[((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * channels + c] = sum;
}

/* out[g][n] (+)= Σ_z partial[g][z][n]. grid: (ceil(N/32), groups). */
template <class T>
static __global__ void __launch_bounds__(32 * COLUMN_ROWS)
    sum_partials(const float *partial, int count, int64_t columns, struct plane<T> out,
                 bool accumulate)
{
    int64_t n = (int64_t)blockIdx.x * 32 + threadIdx.x;
    float sum = 0.0f;
    if (n < columns) {
        const float *from = partial + (int64_t)blockIdx.y * count * columns + n;
        for (int z = (int)threadIdx.y; z < count; z += COLUMN_ROWS)
            sum += from[z * columns];
    }
    sum = add_rows(sum);
    if (threadIdx.y == 0 && n < columns) {
        T *to = out.data + blockIdx.y * out.stride + n;
        from_float(to, accumulate ? to_float(*to) + sum : sum);
    }
}

/* Chunks of pixels that a sum over each of `groups` equal parts of x is cut into. */
static inline int ddpm_cuda_column_chunks(const struct ddpm_tensor *x, int groups)
{
    int64_t pixels = ddpm_tensor_pixels(x) / groups;
    int64_t chunks = ddpm_ceil_div(pixels, 256), most = ddpm_ceil_div(512, groups);
    return (int)(chunks < most ? chunks : most);
}

static inline size_t ddpm_cuda_column_sum_bytes(const struct ddpm_tensor *x, int groups)
{
    return (size_t)(ddpm_cuda_column_chunks(x, groups) * groups * x->c) * sizeof(float);
}

/* partial [groups][chunks][C] of x. */
static inline ddpm_status ddpm_cuda_column_sum_partial(const struct ddpm_call *call,
                                                       const struct ddpm_tensor *x, int groups,
                                                       float *partial)
{
    int pixels = (int)(ddpm_tensor_pixels(x) / groups), chunks = ddpm_cuda_column_chunks(x, groups);
    int chunk = (int)ddpm_ceil_div(pixels, chunks);
    dim3 grid((unsigned)ddpm_ceil_div(x->c, 32), (unsigned)chunks, (unsigned)groups);
    dim3 block(32, COLUMN_ROWS);
    if (x->dtype == DDPM_F32)
        return ddpm_cuda_launch(call, column_sums<float>, grid, block, 0, ddpm_plane<float>(x),
                                pixels, chunk, (int)x->c, partial);
    return ddpm_cuda_launch(call, column_sums<bf16>, grid, block, 0, ddpm_plane<bf16>(x), pixels,
                            chunk, (int)x->c, partial);
}

/* out[g] (+)= the sum of group g's `count` rows of `columns` floats. */
template <class T>
static ddpm_status ddpm_cuda_sum_partials(const struct ddpm_call *call, const float *partial,
                                          int count, int64_t columns, int groups,
                                          struct plane<T> out, bool accumulate)
{
    dim3 grid((unsigned)ddpm_ceil_div(columns, 32), (unsigned)groups);
    return ddpm_cuda_launch(call, sum_partials<T>, grid, dim3(32, COLUMN_ROWS), 0, partial, count,
                            columns, out, accumulate);
}

#endif

/* Sums in a fixed order: over the pixels of a tensor, and over partial results.
 *
 * Both use blocks of rows of 32 threads. A row of threads reads neighbouring columns, each thread
 * adds every 8th (32nd) row, and the results of the rows of threads are added in order. There are
 * few partial results, and their loads wait for memory one after another, so for them a block has
 * 32 rows; if even that is more than there are partial results, each thread has columns of its own.
 */
#ifndef DDPM_KERNELS_CUDA_REDUCE_CUH
#define DDPM_KERNELS_CUDA_REDUCE_CUH

#include "kernels/cuda/numeric.cuh"

#define COLUMN_ROWS 8
#define PARTIAL_ROWS 32
#define FEW_THREADS 256

/* Add the `ROWS` values of each column; valid in row 0. Called by all threads of the block. */
template <int ROWS> static __device__ inline float add_rows(float x)
{
    __shared__ float rows[ROWS][32];
    __syncthreads();
    rows[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    float sum = 0.0f;
    if (threadIdx.y == 0)
        for (int row = 0; row < ROWS; ++row)
            sum += rows[row][threadIdx.x];
    return sum;
}

/* V neighbouring channels: one access if V is 2. */
template <int V> static __device__ inline void load_few(const float *p, float x[V])
{
    if constexpr (V == 2) {
        float2 v = *(const float2 *)p;
        x[0] = v.x, x[1] = v.y;
    } else {
        x[0] = p[0];
    }
}

template <int V> static __device__ inline void load_few(const bf16 *p, float x[V])
{
    if constexpr (V == 2)
        unpack_bf16(*(const uint32_t *)p, &x[0], &x[1]);
    else
        x[0] = to_float(p[0]);
}

/* partial[g][z][c] = Σ x[p][c] over the pixels p of chunk z of group g, V channels per thread.
 * grid: (ceil(C/32V), chunks, groups); group g is pixels [g·pixels, (g+1)·pixels). */
template <class T, int V>
static __global__ void __launch_bounds__(32 * COLUMN_ROWS)
    column_sums(struct plane<T> x, int pixels, int chunk, int channels, float *partial)
{
    int c = (int)(blockIdx.x * 32 + threadIdx.x) * V;
    int begin = (int)blockIdx.y * chunk, end = min(begin + chunk, pixels);
    float sum[V] = {};
    if (c < channels) {
        const T *from = x.data + (int64_t)blockIdx.z * pixels * x.stride + c;
#pragma unroll 4
        for (int p = begin + (int)threadIdx.y; p < end; p += COLUMN_ROWS) {
            float v[V];
            load_few<V>(from + p * x.stride, v);
            for (int k = 0; k < V; ++k)
                sum[k] += v[k];
        }
    }
    for (int k = 0; k < V; ++k) {
        float total = add_rows<COLUMN_ROWS>(sum[k]);
        if (threadIdx.y == 0 && c < channels)
            partial[((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * channels + c + k] = total;
    }
}

/* Σ_z partial[z][n] of column n, valid in row 0. Called by all threads of the block. */
static __device__ inline float add_partials(const float *partial, int count, int64_t columns,
                                            int64_t n)
{
    float sum = 0.0f;
    if (n < columns) {
        const float *from = partial + n;
#pragma unroll 4
        for (int z = (int)threadIdx.y; z < count; z += PARTIAL_ROWS)
            sum += from[z * columns];
    }
    return add_rows<PARTIAL_ROWS>(sum);
}

/* out[g][n] (+)= Σ_z partial[g][z][n]. grid: (ceil(N/32), groups). */
template <class T>
static __global__ void __launch_bounds__(32 * PARTIAL_ROWS)
    sum_partials(const float *partial, int count, int64_t columns, struct plane<T> out,
                 bool accumulate)
{
    int64_t n = (int64_t)blockIdx.x * 32 + threadIdx.x;
    float sum = add_partials(partial + (int64_t)blockIdx.y * count * columns, count, columns, n);
    if (threadIdx.y == 0 && n < columns) {
        T *to = out.data + blockIdx.y * out.stride + n;
        from_float(to, accumulate ? to_float(*to) + sum : sum);
    }
}

/* The same if there are fewer partial results than rows of threads, most of which would have
 * nothing to do: V columns per thread, the same sums in the same order. grid: (ceil(N/256V),
 * groups). */
template <class T, int V>
static __global__ void __launch_bounds__(FEW_THREADS)
    sum_few_partials(const float *partial, int count, int64_t columns, struct plane<T> out,
                     bool accumulate)
{
    int64_t n = ((int64_t)blockIdx.x * FEW_THREADS + threadIdx.x) * V;
    if (n >= columns)
        return;
    const float *from = partial + (int64_t)blockIdx.y * count * columns + n;
    T *to = out.data + blockIdx.y * out.stride + n;
    float sum[V] = {}, before[V] = {};
    if (accumulate)
        load<V>(to, before);
#pragma unroll 4
    for (int z = 0; z < count; ++z) {
        float v[V];
        load<V>(from + z * columns, v);
        for (int k = 0; k < V; ++k)
            sum[k] += v[k];
    }
    for (int k = 0; k < V; ++k)
        sum[k] += before[k];
    store<V>(to, sum);
}

/* How many chunks of pixels to split each of `groups` equal parts of x into. */
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

template <class T, int V>
static ddpm_status ddpm_cuda_column_sum_typed(const struct ddpm_call *call,
                                              const struct ddpm_tensor *x, int groups,
                                              float *partial)
{
    int pixels = (int)(ddpm_tensor_pixels(x) / groups), chunks = ddpm_cuda_column_chunks(x, groups);
    int chunk = (int)ddpm_ceil_div(pixels, chunks);
    dim3 grid((unsigned)ddpm_ceil_div(x->c, 32 * V), (unsigned)chunks, (unsigned)groups);
    return ddpm_cuda_launch(call, column_sums<T, V>, grid, dim3(32, COLUMN_ROWS), 0,
                            ddpm_plane<T>(x), pixels, chunk, (int)x->c, partial);
}

/* partial [groups][chunks][C] of x. */
static inline ddpm_status ddpm_cuda_column_sum_partial(const struct ddpm_call *call,
                                                       const struct ddpm_tensor *x, int groups,
                                                       float *partial)
{
    bool pairs = ddpm_cuda_vector(&x, 1);
    if (x->dtype == DDPM_F32)
        return pairs ? ddpm_cuda_column_sum_typed<float, 2>(call, x, groups, partial)
                     : ddpm_cuda_column_sum_typed<float, 1>(call, x, groups, partial);
    return pairs ? ddpm_cuda_column_sum_typed<bf16, 2>(call, x, groups, partial)
                 : ddpm_cuda_column_sum_typed<bf16, 1>(call, x, groups, partial);
}

template <class T, int V>
static ddpm_status ddpm_cuda_sum_few(const struct ddpm_call *call, const float *partial, int count,
                                     int64_t columns, int groups, struct plane<T> out,
                                     bool accumulate)
{
    dim3 grid((unsigned)ddpm_ceil_div(columns, FEW_THREADS * V), (unsigned)groups);
    return ddpm_cuda_launch(call, sum_few_partials<T, V>, grid, dim3(FEW_THREADS), 0, partial,
                            count, columns, out, accumulate);
}

/* out[g] (+)= the sum of group g's `count` rows of `columns` floats. Long rows come from gradients
 * of weights: with cuDNN a step has tens of millions of columns with one partial result each. */
template <class T>
static ddpm_status ddpm_cuda_sum_partials(const struct ddpm_call *call, const float *partial,
                                          int count, int64_t columns, int groups,
                                          struct plane<T> out, bool accumulate)
{
    if (count <= 4 || (count < PARTIAL_ROWS && columns >= 8192)) {
        bool vector = columns >= 32768 && columns % 8 == 0 && out.stride % 8 == 0 &&
                      (uintptr_t)out.data % 16 == 0 && (uintptr_t)partial % 16 == 0;
        return vector
                   ? ddpm_cuda_sum_few<T, 8>(call, partial, count, columns, groups, out, accumulate)
                   : ddpm_cuda_sum_few<T, 1>(call, partial, count, columns, groups, out,
                                             accumulate);
    }
    dim3 grid((unsigned)ddpm_ceil_div(columns, 32), (unsigned)groups);
    return ddpm_cuda_launch(call, sum_partials<T>, grid, dim3(32, PARTIAL_ROWS), 0, partial, count,
                            columns, out, accumulate);
}

#endif

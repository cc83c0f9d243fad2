/* GroupNorm with one group, after an activation: forward in two kernels.
 *
 *     y = (a - mean_b)·rstd_b·w[c] + bias[c],  a = f(x)
 *
 * The first reads x once and writes the moments of every chunk of an image to scratch. The second
 * merges its image's moments in every block (a few hundred numbers), and writes y. If the
 * statistics are known, only the second runs. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/group_norm.cuh"
#include "kernels/cuda/rows.cuh"

/* Moments of the values that a thread reads: sums of distances from the first vector's mean, which
 * needs no divisions on the way. partial [B][tiles][chunks]. */
template <class T, int V, enum ddpm_activation F>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_moments(struct plane<T> x, int channels, int pixels, int chunk, struct moments *partial)
{
    __shared__ struct moments warps[NORM_THREADS / 32];
    struct norm_place at = norm_place_of<V>(channels, pixels, chunk);
    struct moments all = {0.0f, 0.0f, 0.0f};
    int p = at.begin + at.row;
    if (at.row < at.deep && p < at.end) {
        float a[V], sum = 0.0f, squares = 0.0f, count = 0.0f;
        const T *from = x.data + (at.image + p) * x.stride + at.c;
        load<V>(from, a);
        for (int k = 0; k < V; ++k)
            a[k] = activate<F, T>(a[k]);
        all = moments_of<V>(a);
#pragma unroll 2
        for (p += at.deep; p < at.end; p += at.deep) {
            from += at.deep * x.stride;
            load<V>(from, a);
            for (int k = 0; k < V; ++k) {
                float distance = activate<F, T>(a[k]) - all.mean;
                sum += distance;
                squares = fmaf(distance, distance, squares);
            }
            count += (float)V;
        }
        float mean = sum / (count + (float)V); /* of the distances; the first vector's sum is 0 */
        all.count = count + (float)V;
        all.squares = fmaxf(all.squares + squares - sum * mean, 0.0f);
        all.mean += mean;
    }
    all = merge_block(all, warps);
    if (threadIdx.x == 0)
        partial[((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = all;
}

/* Merge an image's moments, with one warp; valid in lane 0. */
static __device__ struct moments merge_image(const struct moments *partial, unsigned count)
{
    struct moments sum = {0.0f, 0.0f, 0.0f};
    for (unsigned z = threadIdx.x; z < count; z += 32)
        sum = merge(sum, partial[z]);
    return merge_warp(sum);
}

static __device__ float rstd_of(struct moments sum, float eps)
{
    return 1.0f / sqrtf(sum.squares / sum.count + eps);
}

/* grid: (B), one warp each; partial [B][count]. */
static __global__ void __launch_bounds__(32)
    norm_finish(const struct moments *partial, unsigned count, float eps, struct plane<float> stats)
{
    struct moments sum = merge_image(partial + (int64_t)blockIdx.x * count, count);
    if (threadIdx.x == 0) {
        stats.data[blockIdx.x * stats.stride] = sum.mean;
        stats.data[blockIdx.x * stats.stride + 1] = rstd_of(sum, eps);
    }
}

/* Block 0 of an image writes its statistics; if `partial` is NULL, they are read instead. y may be
 * x. */
template <class T, int V, enum ddpm_activation F>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_apply(struct plane<T> x, struct plane<T> y, const float *w, const float *bias,
               struct plane<float> stats, float eps, int channels, int pixels, int chunk,
               const struct moments *partial)
{
    __shared__ float shared_mean, shared_rstd;
    unsigned b = blockIdx.z, parts = gridDim.x * gridDim.y;
    if (!partial && threadIdx.x == 0) {
        shared_mean = stats.data[b * stats.stride];
        shared_rstd = stats.data[b * stats.stride + 1];
    }
    if (partial && threadIdx.x < 32) {
        struct moments sum = merge_image(partial + (int64_t)b * parts, parts);
        if (threadIdx.x == 0) {
            shared_mean = sum.mean;
            shared_rstd = rstd_of(sum, eps);
            if (blockIdx.x == 0 && blockIdx.y == 0) {
                stats.data[b * stats.stride] = shared_mean;
                stats.data[b * stats.stride + 1] = shared_rstd;
            }
        }
    }
    __syncthreads();
    struct norm_place at = norm_place_of<V>(channels, pixels, chunk);
    if (at.row >= at.deep)
        return;
    float mean = shared_mean, rstd = shared_rstd, scale[V], shift[V];
    load<V>(w + at.c, scale);
    load<V>(bias + at.c, shift);
    for (int k = 0; k < V; ++k)
        scale[k] *= rstd;
#pragma unroll 2
    for (int p = at.begin + at.row; p < at.end; p += at.deep) {
        float a[V];
        load<V>(x.data + (at.image + p) * x.stride + at.c, a);
        for (int k = 0; k < V; ++k)
            a[k] = fmaf(activate<F, T>(a[k]) - mean, scale[k], shift[k]);
        store<V>(y.data + (at.image + p) * y.stride + at.c, a);
    }
}

static bool group_norm_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    return ddpm_cuda_is_activation(x) && ddpm_cuda_takes(x, x->dtype) && x->n <= 65535 &&
           x->c <= 65535 && ddpm_cuda_takes(&call->out[0], x->dtype) && call->in[1].dtype == DDPM_F32 &&
           call->in[2].dtype == DDPM_F32 &&
           (ddpm_tensor_present(&call->in[3]) ? &call->in[3] : &call->out[1])->dtype == DDPM_F32;
}

size_t ddpm_cuda_statistics_bytes(const struct ddpm_tensor *x)
{
    const int64_t tiles = ddpm_ceil_div(x->c, NORM_THREADS);
    const int64_t most = tiles > NORM_MOST_BLOCKS ? tiles : NORM_MOST_BLOCKS;
    return (size_t)(x->n * most) * sizeof(struct moments);
}

static ddpm_status group_norm_prepare(struct ddpm_call *call)
{
    call->scratch_bytes =
        ddpm_tensor_present(&call->in[3]) ? 0 : ddpm_cuda_statistics_bytes(&call->in[0]);
    return DDPM_OK;
}

template <class T, int V, enum ddpm_activation F>
static ddpm_status find_moments(const struct ddpm_call *call, const struct ddpm_tensor *x,
                                struct moments *partial)
{
    struct norm_cut cut = ddpm_norm_cut<V>(x);
    return ddpm_cuda_launch(call, norm_moments<T, V, F>, ddpm_norm_grid(cut, x),
                            dim3(NORM_THREADS), 0, ddpm_plane<T>(x), cut.channels, cut.pixels,
                            cut.chunk, partial);
}

ddpm_status ddpm_cuda_finish_statistics(const struct ddpm_call *call,
                                        const struct moments *partial, int64_t count,
                                        const struct ddpm_tensor *stats)
{
    return ddpm_cuda_launch(call, norm_finish, dim3((unsigned)stats->n), dim3(32), 0, partial,
                            (unsigned)count, call->attributes.eps, ddpm_plane<float>(stats));
}

ddpm_status ddpm_cuda_statistics(const struct ddpm_call *call, const struct ddpm_tensor *x,
                                 void *scratch, const struct ddpm_tensor *stats)
{
    struct moments *partial = (struct moments *)scratch;
    struct norm_cut cut = ddpm_norm_cut<1>(x);
    if (x->dtype == DDPM_F32)
        DDPM_TRY((find_moments<float, 1, DDPM_NO_ACTIVATION>(call, x, partial)));
    else
        DDPM_TRY((find_moments<bf16, 1, DDPM_NO_ACTIVATION>(call, x, partial)));
    return ddpm_cuda_finish_statistics(call, partial, (int64_t)cut.chunks * cut.tiles, stats);
}

template <class T, int V, enum ddpm_activation F>
static ddpm_status group_norm_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *stats = &call->in[3];
    struct norm_cut cut = ddpm_norm_cut<V>(x);
    struct moments *partial = NULL;
    if (!ddpm_tensor_present(stats)) {
        stats = &call->out[1];
        partial = (struct moments *)call->scratch;
        DDPM_TRY((find_moments<T, V, F>(call, x, partial)));
    }
    return ddpm_cuda_launch(call, norm_apply<T, V, F>, ddpm_norm_grid(cut, x), dim3(NORM_THREADS),
                            0, ddpm_plane<T>(x), ddpm_plane<T>(&call->out[0]),
                            (const float *)call->in[1].data, (const float *)call->in[2].data,
                            ddpm_plane<float>(stats), call->attributes.eps, cut.channels,
                            cut.pixels, cut.chunk, (const struct moments *)partial);
}

template <class T, int V> static ddpm_status group_norm_sized(const struct ddpm_call *call)
{
    DDPM_BY_ACTIVATION(group_norm_typed, call, T, V);
}

static ddpm_status group_norm_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    const struct ddpm_tensor *all[] = {x, &call->out[0], &call->in[1], &call->in[2]};
    bool vector = ddpm_cuda_vector(all, 4);
    if (x->dtype == DDPM_F32)
        return vector ? group_norm_sized<float, 8>(call) : group_norm_sized<float, 1>(call);
    return vector ? group_norm_sized<bf16, 8>(call) : group_norm_sized<bf16, 1>(call);
}

static const struct ddpm_kernel group_norm_kernel = {
    "group_norm_cuda", group_norm_supports, group_norm_prepare, NULL, group_norm_run, NULL};
CUDA_KERNELS_OF(group_norm, &group_norm_kernel);

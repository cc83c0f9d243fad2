/* GroupNorm with one group, after an activation: forward in two kernels.
 *
 *     y = (a - mean_b)·rstd_b·w[c] + bias[c],  a = f(x)
 *
 * The first reads x once and leaves the moments of every chunk of an image in scratch; the second
 * merges its image's moments in every block (a few hundred numbers), and writes y. Where the
 * statistics are known there is the second alone. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/group_norm.cuh"
#include "kernels/cuda/rows.cuh"

/* A chunk is `chunk` vectors of an image. grid: (chunks, B); partial [B][chunks]. */
template <class T, int V>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_moments(struct plane<T> x, enum ddpm_activation f, unsigned vectors,
                 unsigned vectors_per_pixel, unsigned image_pixels, unsigned chunk,
                 struct moments *partial)
{
    __shared__ struct moments warps[NORM_THREADS / 32];
    struct moments sum = {0.0f, 0.0f, 0.0f};
    unsigned begin = blockIdx.x * chunk, end = min(begin + chunk, vectors);
    const T *image = x.data + (int64_t)blockIdx.y * image_pixels * x.stride;
    for (unsigned i = begin + threadIdx.x; i < end; i += NORM_THREADS) {
        unsigned p = i / vectors_per_pixel, c = (i - p * vectors_per_pixel) * V;
        float a[V];
        load<V>(image + p * x.stride + c, a);
        for (int k = 0; k < V; ++k)
            a[k] = activate(f, a[k]);
        sum = merge(sum, moments_of<V>(a));
    }
    sum = merge_block(sum, warps);
    if (threadIdx.x == 0)
        partial[(int64_t)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

/* Merge an image's moments, by one warp; valid in lane 0. */
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

/* grid: (B), a warp each; partial [B][count]. */
static __global__ void __launch_bounds__(32)
    norm_finish(const struct moments *partial, unsigned count, float eps, struct plane<float> stats)
{
    struct moments sum = merge_image(partial + (int64_t)blockIdx.x * count, count);
    if (threadIdx.x == 0) {
        stats.data[blockIdx.x * stats.stride] = sum.mean;
        stats.data[blockIdx.x * stats.stride + 1] = rstd_of(sum, eps);
    }
}

/* Chunk 0 of an image writes its statistics; they are read where `partial` is NULL.
 * grid: (chunks, B). y may be x. */
template <class T, int V>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_apply(struct plane<T> x, struct plane<T> y, const float *w, const float *bias,
               struct plane<float> stats, enum ddpm_activation f, float eps, unsigned vectors,
               unsigned vectors_per_pixel, unsigned image_pixels, unsigned chunk,
               const struct moments *partial)
{
    __shared__ float shared_mean, shared_rstd;
    if (!partial && threadIdx.x == 0) {
        shared_mean = stats.data[blockIdx.y * stats.stride];
        shared_rstd = stats.data[blockIdx.y * stats.stride + 1];
    }
    if (partial && threadIdx.x < 32) {
        struct moments sum = merge_image(partial + (int64_t)blockIdx.y * gridDim.x, gridDim.x);
        if (threadIdx.x == 0) {
            shared_mean = sum.mean;
            shared_rstd = rstd_of(sum, eps);
            if (blockIdx.x == 0) {
                stats.data[blockIdx.y * stats.stride] = shared_mean;
                stats.data[blockIdx.y * stats.stride + 1] = shared_rstd;
            }
        }
    }
    __syncthreads();
    float mean = shared_mean, rstd = shared_rstd;
    unsigned begin = blockIdx.x * chunk, end = min(begin + chunk, vectors);
    int64_t first_pixel = (int64_t)blockIdx.y * image_pixels;
    for (unsigned i = begin + threadIdx.x; i < end; i += NORM_THREADS) {
        unsigned p = i / vectors_per_pixel, c = (i - p * vectors_per_pixel) * V;
        float a[V], weight[V], shift[V];
        load<V>(x.data + (first_pixel + p) * x.stride + c, a);
        load<V>(w + c, weight);
        load<V>(bias + c, shift);
        for (int k = 0; k < V; ++k)
            a[k] = (activate(f, a[k]) - mean) * rstd * weight[k] + shift[k];
        store<V>(y.data + (first_pixel + p) * y.stride + c, a);
    }
}

static bool group_norm_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    return ddpm_cuda_is_activation(x) && ddpm_cuda_takes(x, x->dtype) && x->n <= 65535 &&
           ddpm_cuda_takes(&call->out[0], x->dtype) && call->in[1].dtype == DDPM_F32 &&
           call->in[2].dtype == DDPM_F32 &&
           (ddpm_tensor_present(&call->in[3]) ? &call->in[3] : &call->out[1])->dtype == DDPM_F32;
}

/* At most this many; scratch is sized before it is known whether vectors can be used. */
#define MOST_CHUNKS 512

size_t ddpm_cuda_statistics_bytes(const struct ddpm_tensor *x)
{
    return (size_t)x->n * MOST_CHUNKS * sizeof(struct moments);
}

static ddpm_status group_norm_prepare(struct ddpm_call *call)
{
    call->scratch_bytes =
        ddpm_tensor_present(&call->in[3]) ? 0 : ddpm_cuda_statistics_bytes(&call->in[0]);
    return DDPM_OK;
}

/* How images are cut into chunks of vectors. */
struct norm_cut {
    unsigned vectors, per_pixel, image_pixels, chunks, chunk;
};

template <int V> static struct norm_cut norm_cut_of(const struct ddpm_tensor *x)
{
    int64_t image_pixels = x->h * x->w, per_pixel = x->c / V, vectors = image_pixels * per_pixel;
    int64_t chunks = ddpm_ceil_div(vectors, 8 * NORM_THREADS);
    chunks = chunks < MOST_CHUNKS ? chunks : MOST_CHUNKS;
    return {(unsigned)vectors, (unsigned)per_pixel, (unsigned)image_pixels, (unsigned)chunks,
            (unsigned)ddpm_ceil_div(vectors, chunks)};
}

template <class T, int V>
static ddpm_status find_moments(const struct ddpm_call *call, const struct ddpm_tensor *x,
                                enum ddpm_activation f, struct moments *partial)
{
    struct norm_cut cut = norm_cut_of<V>(x);
    return ddpm_cuda_launch(call, norm_moments<T, V>, dim3(cut.chunks, (unsigned)x->n),
                            dim3(NORM_THREADS), 0, ddpm_plane<T>(x), f, cut.vectors, cut.per_pixel,
                            cut.image_pixels, cut.chunk, partial);
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
    const enum ddpm_activation none = DDPM_NO_ACTIVATION;
    if (x->dtype == DDPM_F32)
        DDPM_TRY((find_moments<float, 1>(call, x, none, partial)));
    else
        DDPM_TRY((find_moments<bf16, 1>(call, x, none, partial)));
    return ddpm_cuda_finish_statistics(call, partial, norm_cut_of<1>(x).chunks, stats);
}

template <class T, int V> static ddpm_status group_norm_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *stats = &call->in[3];
    struct norm_cut cut = norm_cut_of<V>(x);
    struct moments *partial = NULL;
    enum ddpm_activation f = call->attributes.activation;
    if (!ddpm_tensor_present(stats)) {
        stats = &call->out[1];
        partial = (struct moments *)call->scratch;
        DDPM_TRY((find_moments<T, V>(call, x, f, partial)));
    }
    return ddpm_cuda_launch(call, norm_apply<T, V>, dim3(cut.chunks, (unsigned)x->n),
                            dim3(NORM_THREADS), 0, ddpm_plane<T>(x), ddpm_plane<T>(&call->out[0]),
                            (const float *)call->in[1].data, (const float *)call->in[2].data,
                            ddpm_plane<float>(stats), f, call->attributes.eps, cut.vectors,
                            cut.per_pixel, cut.image_pixels, cut.chunk,
                            (const struct moments *)partial);
}

static ddpm_status group_norm_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    const struct ddpm_tensor *all[] = {x, &call->out[0], &call->in[1], &call->in[2]};
    bool vector = ddpm_cuda_vector(all, 4);
    if (x->dtype == DDPM_F32)
        return vector ? group_norm_typed<float, 8>(call) : group_norm_typed<float, 1>(call);
    return vector ? group_norm_typed<bf16, 8>(call) : group_norm_typed<bf16, 1>(call);
}

static const struct ddpm_kernel group_norm_kernel = {
    "group_norm_cuda", group_norm_supports, group_norm_prepare, NULL, group_norm_run, NULL};
CUDA_KERNELS_OF(group_norm, &group_norm_kernel);

/* The gradient of GroupNorm with one group, through the activation before it.
 *
 * With x̂ = (a - mean)·rstd, per image b and channel c:
 *     S1[b,c] = Σ_pixels dy,  S2[b,c] = Σ_pixels dy·x̂
 *     dbias[c] += Σ_b S1,  dw[c] += Σ_b S2
 *     m1[b] = Σ_c w·S1 / N,  m2[b] = Σ_c w·S2 / N,  N = H·W·C
 *     dx = rstd·(w·dy - m1 - x̂·m2)·f'(x)
 *
 * One kernel leaves S1 and S2 per chunk of pixels in scratch, a small one adds them up, the last
 * writes dx. Scratch: S1 [B][chunks][C], S2 likewise, means [B][2]. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/group_norm.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/rows.cuh"

/* The pixels of one column of threads are added in order. */
template <class T, int V, enum ddpm_activation F>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_backward_sums(struct plane<T> x, struct plane<T> dy, struct plane<float> stats,
                       int channels, int pixels, int chunk, float *s1, float *s2)
{
    __shared__ float shared[2][NORM_THREADS][V];
    struct norm_place at = norm_place_of<V>(channels, pixels, chunk);
    int thread = (int)threadIdx.x;
    float mean = stats.data[blockIdx.z * stats.stride];
    float rstd = stats.data[blockIdx.z * stats.stride + 1];
    float sum1[V], sum2[V];
    for (int i = 0; i < V; ++i)
        sum1[i] = sum2[i] = 0.0f;
#pragma unroll 2
    for (int p = at.begin + at.row; p < at.end && at.row < at.deep; p += at.deep) {
        float a[V], g[V];
        load<V>(x.data + (at.image + p) * x.stride + at.c, a);
        load<V>(dy.data + (at.image + p) * dy.stride + at.c, g);
        for (int i = 0; i < V; ++i) {
            sum1[i] += g[i];
            sum2[i] = fmaf(g[i], activate<F, T>(a[i]) - mean, sum2[i]);
        }
    }
    for (int i = 0; i < V; ++i) {
        shared[0][thread][i] = sum1[i];
        shared[1][thread][i] = sum2[i] * rstd;
    }
    __syncthreads();
    if (at.row > 0)
        return;
    int64_t to = ((int64_t)blockIdx.z * gridDim.x + blockIdx.x) * channels + at.c;
    for (int i = 0; i < V; ++i) {
        float total1 = 0.0f, total2 = 0.0f;
        for (int k = 0; k < at.deep; ++k) {
            total1 += shared[0][thread + k * at.wide][i];
            total2 += shared[1][thread + k * at.wide][i];
        }
        s1[to + i] = total1;
        s2[to + i] = total2;
    }
}

/* The rest of the sums: means[b] = (m1, m2), by one block per image; then dbias += Σ S1 and dw += Σ
 * S2 (NULL: not wanted; or =, see attributes.overwrites), by one block per 32 channels each. A single launch, because each part
 * alone is just a few blocks that wait for memory. grid: (B + 2·ceil(C/32)) */
static __global__ void __launch_bounds__(32 * PARTIAL_ROWS)
    norm_backward_finish(const float *s1, const float *s2, const float *w, int images, int chunks,
                         int channels, double count, float *means, float *dbias, float *dw,
                         unsigned overwrites)
{
    int block = (int)blockIdx.x, thread = (int)(threadIdx.y * 32 + threadIdx.x);
    if (block < images) {
        __shared__ double warps[PARTIAL_ROWS];
        double sum1 = 0.0, sum2 = 0.0;
        int64_t image = (int64_t)block * chunks * channels;
#pragma unroll 4
        for (int i = thread; i < chunks * channels; i += 32 * PARTIAL_ROWS) {
            double weight = w[i % channels];
            sum1 += weight * s1[image + i];
            sum2 += weight * s2[image + i];
        }
        sum1 = block_sum(sum1, warps, thread, PARTIAL_ROWS);
        sum2 = block_sum(sum2, warps, thread, PARTIAL_ROWS);
        if (thread == 0) {
            means[2 * block] = (float)(sum1 / count);
            means[2 * block + 1] = (float)(sum2 / count);
        }
        return;
    }
    int tiles = (channels + 31) / 32, tile = block - images;
    float *to = tile < tiles ? dbias : dw;
    if (!to)
        return;
    int c = tile % tiles * 32 + (int)threadIdx.x;
    float sum = add_partials(tile < tiles ? s1 : s2, images * chunks, channels, c);
    if (threadIdx.y == 0 && c < channels)
        to[c] = overwrites >> (tile < tiles ? 2 : 1) & 1u ? sum : to[c] + sum;
}

/* dx = (scale·dy - (m1·rstd + (a - mean)·m2·rstd²))·f'(x), scale = w·rstd. dx may be dy. */
template <class T, int V, enum ddpm_activation F>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_backward_apply(struct plane<T> x, struct plane<T> dy, struct plane<T> dx, const float *w,
                        struct plane<float> stats, const float *means, int channels, int pixels,
                        int chunk)
{
    struct norm_place at = norm_place_of<V>(channels, pixels, chunk);
    if (at.row >= at.deep)
        return;
    unsigned b = blockIdx.z;
    float mean = stats.data[b * stats.stride], rstd = stats.data[b * stats.stride + 1];
    float m1 = means[2 * b] * rstd, m2 = means[2 * b + 1] * rstd * rstd, scale[V];
    load<V>(w + at.c, scale);
    for (int i = 0; i < V; ++i)
        scale[i] *= rstd;
    int64_t first = at.image + at.begin + at.row;
    const T *x_at = x.data + first * x.stride + at.c, *dy_at = dy.data + first * dy.stride + at.c;
    T *to = dx.data + first * dx.stride + at.c;
    for (int p = at.begin + at.row; p < at.end; p += at.deep) {
        float u[V], g[V];
        load<V>(x_at, u);
        load<V>(dy_at, g);
        for (int i = 0; i < V; ++i) {
            float slope, distance = activate_with_slope<F, T>(u[i], &slope) - mean;
            g[i] = fmaf(scale[i], g[i], -fmaf(distance, m2, m1)) * slope;
        }
        store<V>(to, g);
        x_at += at.deep * x.stride;
        dy_at += at.deep * dy.stride;
        to += at.deep * dx.stride;
    }
}

static int chunk_count(const struct ddpm_tensor *x)
{
    int64_t chunks = ddpm_ceil_div(x->h * x->w, 32), most = ddpm_ceil_div(1024, x->n);
    return (int)(chunks < most ? chunks : most);
}

static bool norm_backward_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    return ddpm_cuda_is_activation(x) && ddpm_cuda_takes(x, x->dtype) && x->n <= 65535 &&
           call->in[1].dtype == DDPM_F32 && call->in[2].dtype == DDPM_F32 &&
           ddpm_cuda_takes(&call->in[3], x->dtype) && ddpm_cuda_takes(&call->out[0], x->dtype) &&
           ddpm_cuda_takes(&call->out[1], DDPM_F32) && ddpm_cuda_takes(&call->out[2], DDPM_F32);
}

static ddpm_status norm_backward_prepare(struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    call->scratch_bytes = (size_t)(x->n * (2 * chunk_count(x) * x->c + 2)) * sizeof(float);
    return DDPM_OK;
}

template <class T, int V, enum ddpm_activation F>
static ddpm_status norm_backward_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *dx = &call->out[0];
    const float *w = (const float *)call->in[1].data;
    int images = (int)x->n, chunks = chunk_count(x), pixels = (int)(x->h * x->w);
    int channels = (int)x->c, chunk = (int)ddpm_ceil_div(pixels, chunks);
    float *s1 = (float *)call->scratch, *s2 = s1 + (int64_t)images * chunks * channels;
    float *means = s2 + (int64_t)images * chunks * channels;
    struct plane<T> from = ddpm_plane<T>(x), dy = ddpm_plane<T>(&call->in[3]);
    struct plane<float> stats = ddpm_plane<float>(&call->in[2]);
    struct norm_cut cut = ddpm_norm_cut<V>(x);
    dim3 grid((unsigned)chunks, (unsigned)cut.tiles, (unsigned)images);
    DDPM_TRY(ddpm_cuda_launch(call, norm_backward_sums<T, V, F>, grid, dim3(NORM_THREADS), 0, from,
                              dy, stats, channels, pixels, chunk, s1, s2));
    const struct ddpm_tensor *dw = &call->out[1], *dbias = &call->out[2];
    unsigned blocks = (unsigned)(images + 2 * ddpm_ceil_div(channels, 32));
    DDPM_TRY(ddpm_cuda_launch(
        call, norm_backward_finish, dim3(blocks), dim3(32, PARTIAL_ROWS), 0, (const float *)s1,
        (const float *)s2, w, images, chunks, channels, (double)pixels * channels, means,
        ddpm_tensor_present(dbias) ? (float *)dbias->data : NULL,
        ddpm_tensor_present(dw) ? (float *)dw->data : NULL, call->attributes.overwrites));
    return ddpm_cuda_launch(call, norm_backward_apply<T, V, F>, ddpm_norm_grid(cut, x),
                            dim3(NORM_THREADS), 0, from, dy, ddpm_plane<T>(dx), w, stats,
                            (const float *)means, channels, pixels, cut.chunk);
}

template <class T, int V> static ddpm_status norm_backward_sized(const struct ddpm_call *call)
{
    DDPM_BY_ACTIVATION(norm_backward_typed, call, T, V);
}

static ddpm_status norm_backward_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    const struct ddpm_tensor *all[] = {x, &call->in[3], &call->out[0], &call->in[1]};
    bool vector = ddpm_cuda_vector(all, 4);
    if (x->dtype == DDPM_F32)
        return vector ? norm_backward_sized<float, 8>(call) : norm_backward_sized<float, 1>(call);
    return vector ? norm_backward_sized<bf16, 8>(call) : norm_backward_sized<bf16, 1>(call);
}

static const struct ddpm_kernel group_norm_backward_kernel = {
    "group_norm_backward_cuda", norm_backward_supports,
    norm_backward_prepare,      NULL,
    norm_backward_run,          NULL};
CUDA_KERNELS_OF(group_norm_backward, &group_norm_backward_kernel);

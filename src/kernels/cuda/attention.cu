/* Self-attention over the pixels of a picture: ops.inc has the formulas. One block per query, and
 * in the backward pass one per key too; the weights of one query or key are in shared memory.
 * Written for the lowest resolution of a U-Net, with a few hundred pixels. */
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/tensor_core.cuh"

#define ATTENTION_THREADS 128
#define ATTENTION_WARPS (ATTENTION_THREADS / 32)

/* One head: grid (pixels, heads, pictures). */
template <class T> struct attention {
    struct plane<T> x, y, dx; /* y: the result, or dy */
    float *statistics;        /* [heads·pictures][pixels][2]: ln Σ exp, and Σ weights·slopes */
    int pixels, width, all;
    float scale;
};

template <class T>
static __device__ inline float part(const struct attention<T> *a, int which, int pixel, int c)
{
    int64_t p = (int64_t)blockIdx.z * a->pixels + pixel;
    return to_float(a->x.data[p * a->x.stride + which * a->all + blockIdx.y * a->width + c]);
}

template <class T>
static __device__ inline T *element(struct plane<T> t, int pixels, int pixel, int c)
{
    return t.data + ((int64_t)blockIdx.z * pixels + pixel) * t.stride + c;
}

/* Over the block; the same in every thread. */
static __device__ inline float block_total(float x, float *warps)
{
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        warps[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < ATTENTION_WARPS; ++i)
        sum += warps[i];
    return sum;
}

static __device__ inline float block_most(float x, float *warps)
{
    for (int step = 16; step > 0; step /= 2)
        x = max(x, __shfl_xor_sync(0xffffffffu, x, step));
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        warps[threadIdx.x / 32] = x;
    __syncthreads();
    float most = warps[0];
    for (int i = 1; i < ATTENTION_WARPS; ++i)
        most = max(most, warps[i]);
    return most;
}

template <class T>
static __device__ inline float score(const struct attention<T> *a, int query, int key)
{
    float sum = 0.0f;
    for (int c = 0; c < a->width; ++c)
        sum += part(a, 0, query, c) * part(a, 1, key, c);
    return a->scale * sum;
}

/* The query's weights, in shared memory. Returns ln Σ exp of its scores. */
template <class T>
static __device__ inline float weigh(const struct attention<T> *a, int query, float *weights,
                                     float *warps)
{
    float most = -INFINITY, sum = 0.0f;
    for (int j = (int)threadIdx.x; j < a->pixels; j += ATTENTION_THREADS)
        most = max(most, weights[j] = score(a, query, j));
    most = block_most(most, warps);
    for (int j = (int)threadIdx.x; j < a->pixels; j += ATTENTION_THREADS)
        sum += weights[j] = expf(weights[j] - most);
    sum = block_total(sum, warps);
    for (int j = (int)threadIdx.x; j < a->pixels; j += ATTENTION_THREADS)
        weights[j] /= sum;
    __syncthreads();
    return most + logf(sum);
}

template <class T>
static __global__ void __launch_bounds__(ATTENTION_THREADS) attend(struct attention<T> a)
{
    float *weights = (float *)dynamic_shared(), *warps = weights + a.pixels;
    const int query = (int)blockIdx.x;
    weigh(&a, query, weights, warps);
    for (int c = (int)threadIdx.x; c < a.width; c += ATTENTION_THREADS) {
        float sum = 0.0f;
        for (int j = 0; j < a.pixels; ++j)
            sum += weights[j] * part(&a, 2, j, c);
        from_float(element(a.y, a.pixels, query, (int)blockIdx.y * a.width + c), sum);
    }
}

/* How much the loss changes with the weight of `key` for `query`. */
template <class T>
static __device__ inline float slope_of(const struct attention<T> *a, int query, int key)
{
    float sum = 0.0f;
    for (int c = 0; c < a->width; ++c)
        sum += to_float(*element(a->y, a->pixels, query, (int)blockIdx.y * a->width + c)) *
               part(a, 2, key, c);
    return sum;
}

template <class T>
static __device__ inline float *statistics_of(const struct attention<T> *a, int query)
{
    return a->statistics + 2 * (((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * a->pixels + query);
}

template <class T>
static __global__ void __launch_bounds__(ATTENTION_THREADS) attend_query(struct attention<T> a)
{
    float *weights = (float *)dynamic_shared(), *slopes = weights + a.pixels;
    float *warps = slopes + a.pixels;
    const int query = (int)blockIdx.x;
    float logarithm = weigh(&a, query, weights, warps), mean = 0.0f;
    for (int j = (int)threadIdx.x; j < a.pixels; j += ATTENTION_THREADS)
        mean += weights[j] * (slopes[j] = slope_of(&a, query, j));
    mean = block_total(mean, warps);
    if (threadIdx.x == 0) {
        statistics_of(&a, query)[0] = logarithm;
        statistics_of(&a, query)[1] = mean;
    }
    for (int c = (int)threadIdx.x; c < a.width; c += ATTENTION_THREADS) {
        float sum = 0.0f;
        for (int j = 0; j < a.pixels; ++j)
            sum += a.scale * weights[j] * (slopes[j] - mean) * part(&a, 1, j, c);
        from_float(element(a.dx, a.pixels, query, (int)blockIdx.y * a.width + c), sum);
    }
}

template <class T>
static __global__ void __launch_bounds__(ATTENTION_THREADS) attend_key(struct attention<T> a)
{
    float *weights = (float *)dynamic_shared(), *slopes = weights + a.pixels;
    const int key = (int)blockIdx.x;
    for (int i = (int)threadIdx.x; i < a.pixels; i += ATTENTION_THREADS) {
        const float *statistics = statistics_of(&a, i);
        weights[i] = expf(score(&a, i, key) - statistics[0]);
        slopes[i] = a.scale * weights[i] * (slope_of(&a, i, key) - statistics[1]);
    }
    __syncthreads();
    for (int c = (int)threadIdx.x; c < a.width; c += ATTENTION_THREADS) {
        const int channel = (int)blockIdx.y * a.width + c;
        float dk = 0.0f, dv = 0.0f;
        for (int i = 0; i < a.pixels; ++i) {
            dk += slopes[i] * part(&a, 0, i, c);
            dv += weights[i] * to_float(*element(a.y, a.pixels, i, channel));
        }
        from_float(element(a.dx, a.pixels, key, a.all + channel), dk);
        from_float(element(a.dx, a.pixels, key, 2 * a.all + channel), dv);
    }
}

template <class T>
static struct attention<T> attention_of(const struct ddpm_call *call, const struct ddpm_tensor *y) {
    struct attention<T> a;
    a.x = ddpm_plane<T>(&call->in[0]);
    a.y = ddpm_plane<T>(y);
    a.dx = ddpm_plane<T>(&call->out[0]);
    a.statistics = (float *)call->scratch;
    a.pixels = (int)(y->h * y->w);
    a.all = (int)y->c;
    a.width = (int)(y->c / call->attributes.heads);
    a.scale = (float)(1.0 / sqrt((double)a.width));
    return a;
}

static dim3
grid_of(const struct ddpm_call *call, const struct ddpm_tensor *y)
{
    return dim3((unsigned)(y->h * y->w), (unsigned)call->attributes.heads, (unsigned)y->n);
}

static size_t shared_bytes(const struct ddpm_tensor *y, int rows)
{
    return ((size_t)rows * (size_t)(y->h * y->w) + ATTENTION_WARPS) * sizeof(float);
}

template <class T> static ddpm_status forward_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    return ddpm_cuda_launch(call, attend<T>, grid_of(call, y), dim3(ATTENTION_THREADS),
                            shared_bytes(y, 1), attention_of<T>(call, y));
}

template <class T> static ddpm_status backward_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dy = &call->in[1];
    DDPM_TRY(ddpm_cuda_launch(call, attend_query<T>, grid_of(call, dy), dim3(ATTENTION_THREADS),
                              shared_bytes(dy, 2), attention_of<T>(call, dy)));
    return ddpm_cuda_launch(call, attend_key<T>, grid_of(call, dy), dim3(ATTENTION_THREADS),
                            shared_bytes(dy, 2), attention_of<T>(call, dy));
}

static ddpm_status forward_run(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 ? forward_typed<float>(call) : forward_typed<bf16>(call);
}

static ddpm_status backward_run(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 ? backward_typed<float>(call) : backward_typed<bf16>(call);
}

static ddpm_status backward_prepare(struct ddpm_call *call)
{
    const struct ddpm_tensor *dy = &call->in[1];
    call->scratch_bytes =
        (size_t)(dy->n * call->attributes.heads * dy->h * dy->w) * 2 * sizeof(float);
    return DDPM_OK;
}

/* All of one dtype, and the weights of a query fit into shared memory. */
static bool supports(const struct ddpm_call *call, const struct ddpm_tensor *y)
{
    const enum ddpm_dtype dtype = call->in[0].dtype;
    return (dtype == DDPM_F32 || dtype == DDPM_BF16) && ddpm_cuda_takes(&call->in[0], dtype) &&
           ddpm_cuda_takes(y, dtype) && ddpm_cuda_takes(&call->out[0], dtype) &&
           shared_bytes(y, 2) <= (96u << 10) && y->n <= 65535;
}

static bool forward_supports(const struct ddpm_call *call)
{
    return supports(call, &call->out[0]);
}

static bool backward_supports(const struct ddpm_call *call)
{
    return supports(call, &call->in[1]);
}

static const struct ddpm_kernel forward_kernel = {
    "attention_cuda", forward_supports, NULL, NULL, forward_run, NULL};
CUDA_KERNELS_OF(attention, &forward_kernel);
static const struct ddpm_kernel backward_kernel = {
    "attention_backward_cuda", backward_supports, backward_prepare, NULL, backward_run, NULL};
CUDA_KERNELS_OF(attention_backward, &backward_kernel);

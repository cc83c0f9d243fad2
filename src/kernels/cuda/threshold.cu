/* Dynamic thresholding of each picture, see THRESHOLD in kernels/ops.inc: one block per picture.
 *
 * The k-th smallest magnitude is found by 31 bisections of the range of bit patterns, as on the
 * CPU; the picture stays in the L2 cache. */
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/rows.cuh"

#define THRESHOLD_THREADS 512

/* Over the block: the sum of the counts, the minimum of the others. Valid in every thread. */
static __device__ inline unsigned sum_and_least(unsigned count, unsigned *least)
{
    __shared__ unsigned counts[THRESHOLD_THREADS], leasts[THRESHOLD_THREADS];
    __syncthreads();
    counts[threadIdx.x] = count;
    leasts[threadIdx.x] = *least;
    __syncthreads();
    for (unsigned half = THRESHOLD_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            counts[threadIdx.x] += counts[threadIdx.x + half];
            leasts[threadIdx.x] = min(leasts[threadIdx.x], leasts[threadIdx.x + half]);
        }
        __syncthreads();
    }
    *least = leasts[0];
    return counts[0];
}

static __device__ inline unsigned count_up_to(struct plane<float> x, int64_t first, unsigned elements,
                                              unsigned channels, unsigned bits, unsigned *next)
{
    unsigned count = 0;
    *next = 0x7fffffffu;
    for (unsigned i = threadIdx.x; i < elements; i += THRESHOLD_THREADS) {
        unsigned p = i / channels;
        float value = x.data[(first + p) * x.stride + (i - p * channels)];
        unsigned m = __float_as_uint(value) & 0x7fffffffu;
        count += m <= bits;
        if (m > bits && m < *next)
            *next = m;
    }
    return sum_and_least(count, next);
}

/* grid: B. `k` and `between`: the position of the quantile among the sorted magnitudes. */
static __global__ void threshold(struct plane<float> x, struct plane<float> y, unsigned pixels,
                                 unsigned channels, unsigned k, float between)
{
    const int64_t first = (int64_t)blockIdx.x * pixels;
    const unsigned elements = pixels * channels;
    unsigned low = 0, high = 0x7fffffffu, next;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (count_up_to(x, first, elements, channels, middle, &next) > k)
            high = middle;
        else
            low = middle + 1;
    }
    const float below = __uint_as_float(low);
    float above = below, s = below;
    if (count_up_to(x, first, elements, channels, low, &next) <= k + 1)
        above = __uint_as_float(next);
    if (between > 0.0f)
        s = below + __fmul_rn(between, above - below);
    s = s > 1.0f ? s : 1.0f;
    for (unsigned i = threadIdx.x; i < elements; i += THRESHOLD_THREADS) {
        unsigned p = i / channels, c = i - p * channels;
        float value = x.data[(first + p) * x.stride + c];
        float clipped = value < -s ? -s : value > s ? s : value;
        y.data[(first + p) * y.stride + c] = clipped / s;
    }
}

static bool threshold_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    return ddpm_cuda_takes(x, DDPM_F32) && ddpm_cuda_takes(&call->out[0], DDPM_F32) &&
           x->h * x->w * x->c <= INT32_MAX;
}

static ddpm_status threshold_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    const int64_t pixels = x->h * x->w;
    const double at = call->attributes.quantile * (double)(pixels * x->c - 1);
    const unsigned k = (unsigned)at;
    return ddpm_cuda_launch(call, threshold, dim3((unsigned)x->n), dim3(THRESHOLD_THREADS), 0,
                            ddpm_plane<float>(x), ddpm_plane<float>(&call->out[0]),
                            (unsigned)pixels, (unsigned)x->c, k, (float)(at - (double)k));
}

static const struct ddpm_kernel threshold_kernel = {"threshold_cuda", threshold_supports, NULL, NULL,
                                                threshold_run,    NULL};
CUDA_KERNELS_OF(threshold, &threshold_kernel);

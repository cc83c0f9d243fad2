/* The nearer of two draws of noise: a block per picture, distances in fp64. */
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/rows.cuh"

#define NEAREST_THREADS 256

static __device__ inline double distance(struct plane<float> x, struct plane<float> z,
                                         int64_t first, unsigned elements, unsigned channels)
{
    __shared__ double warps[NEAREST_THREADS / 32];
    double sum = 0.0;
    for (unsigned i = threadIdx.x; i < elements; i += NEAREST_THREADS) {
        unsigned p = i / channels, c = i - p * channels;
        double d =
            (double)x.data[(first + p) * x.stride + c] - (double)z.data[(first + p) * z.stride + c];
        sum += d * d;
    }
    __syncthreads();
    return block_sum(sum, warps, (int)threadIdx.x, NEAREST_THREADS / 32);
}

/* grid: B. y may be a or b: every block has read its picture before it writes. */
static __global__ void __launch_bounds__(NEAREST_THREADS)
    nearest(struct plane<float> x, struct plane<float> a, struct plane<float> b,
            struct plane<float> y, unsigned pixels, unsigned channels)
{
    __shared__ bool second;
    const int64_t first = (int64_t)blockIdx.x * pixels;
    const unsigned elements = pixels * channels;
    const double to_a = distance(x, a, first, elements, channels);
    const double to_b = distance(x, b, first, elements, channels);
    if (threadIdx.x == 0)
        second = to_b < to_a;
    __syncthreads();
    const struct plane<float> chosen = second ? b : a;
    for (unsigned i = threadIdx.x; i < elements; i += NEAREST_THREADS) {
        unsigned p = i / channels, c = i - p * channels;
        y.data[(first + p) * y.stride + c] = chosen.data[(first + p) * chosen.stride + c];
    }
}

static bool nearest_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    return ddpm_cuda_takes(x, DDPM_F32) && ddpm_cuda_takes(&call->in[1], DDPM_F32) &&
           ddpm_cuda_takes(&call->in[2], DDPM_F32) && ddpm_cuda_takes(&call->out[0], DDPM_F32) &&
           x->h * x->w * x->c <= INT32_MAX;
}

static ddpm_status nearest_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    return ddpm_cuda_launch(call, nearest, dim3((unsigned)x->n), dim3(NEAREST_THREADS), 0,
                            ddpm_plane<float>(x), ddpm_plane<float>(&call->in[1]),
                            ddpm_plane<float>(&call->in[2]), ddpm_plane<float>(&call->out[0]),
                            (unsigned)(x->h * x->w), (unsigned)x->c);
}

static const struct ddpm_kernel nearest_kernel = {"nearest_cuda", nearest_supports, NULL,
                                                  NULL,           nearest_run,      NULL};
CUDA_KERNELS_OF(nearest, &nearest_kernel);

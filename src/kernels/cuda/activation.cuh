/* Activation functions and their derivatives on fp32 values. GELU is the exact one, x·Φ(x). */
#ifndef DDPM_KERNELS_CUDA_ACTIVATION_CUH
#define DDPM_KERNELS_CUDA_ACTIVATION_CUH

#include "kernels/cuda/cuda.cuh"

/* Φ(x). By erff as in PyTorch: erfcf, exact far out where Φ is next to nothing, takes twice the
 * instructions, and these kernels are bound by them. */
static __device__ inline float normal_cdf(float x)
{
    return 0.5f + 0.5f * erff(x * 0.70710678118654752f);
}

static __device__ inline float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

static __device__ inline float activate(enum ddpm_activation f, float x)
{
    switch (f) {
    case DDPM_GELU:
        return x * normal_cdf(x);
    case DDPM_RELU:
        return x > 0.0f ? x : 0.0f;
    case DDPM_SIGMOID:
        return sigmoid(x);
    case DDPM_NO_ACTIVATION:
        break;
    }
    return x;
}

/* f(x) and f'(x), which share what is dear. */
static __device__ inline float activate_with_slope(enum ddpm_activation f, float x, float *slope)
{
    switch (f) {
    case DDPM_GELU: {
        float cdf = normal_cdf(x);
        *slope = cdf + x * 0.39894228040143268f * expf(-0.5f * x * x);
        return x * cdf;
    }
    case DDPM_RELU:
        *slope = x > 0.0f ? 1.0f : 0.0f;
        return x > 0.0f ? x : 0.0f;
    case DDPM_SIGMOID: {
        float y = sigmoid(x);
        *slope = y * (1.0f - y);
        return y;
    }
    case DDPM_NO_ACTIVATION:
        break;
    }
    *slope = 1.0f;
    return x;
}

static __device__ inline float activate_slope(enum ddpm_activation f, float x)
{
    float slope;
    activate_with_slope(f, x, &slope);
    return slope;
}

#endif

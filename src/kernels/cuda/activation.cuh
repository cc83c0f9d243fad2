/* Activation functions and their derivatives on fp32 values. GELU is the exact one, x·Φ(x).
 *
 * F, the function, is a constant of the kernel. T is the type to which the values are rounded
 * afterwards. For fp32, Φ uses erff. For bf16, whose numbers are 2^-9 apart, it is a polynomial
 * that is accurate to 2^-14 and has no branch, because these kernels are limited by their
 * instructions. */
#ifndef DDPM_KERNELS_CUDA_ACTIVATION_CUH
#define DDPM_KERNELS_CUDA_ACTIVATION_CUH

#include <float.h>

#include "kernels/cuda/approximate.cuh"
#include "kernels/cuda/cuda.cuh"

/* Φ(x). With erff as in PyTorch: erfcf, which is exact far out where Φ is almost 0, takes twice the
 * instructions. */
static __device__ inline float normal_cdf(float x)
{
    return 0.5f + 0.5f * erff(x * 0.70710678118654752f);
}

/* Φ(-|x|) and e^(-x²/2). Their ratio only falls slowly:
 *     Φ(-a) = e^(-a²/2)·q(t),  t = 1/(1 + 0.3775·a)
 * The coefficients of q minimise the largest relative error, 3.0e-5, for all a from 0 to 14; beyond
 * that both are 0. */
static __device__ inline float normal_tail(float x, float *bell)
{
    float t = reciprocal_approximately(fmaf(0.3775f, fabsf(x), 1.0f));
    float q = -0.0906633660f;
    q = fmaf(q, t, 0.195332527f);
    q = fmaf(q, t, 0.0872575194f);
    q = fmaf(q, t, 0.157929182f);
    q = fmaf(q, t, 0.150129035f);
    *bell = exp2_approximately(x * (x * -0.72134752f));
    return q * t * *bell;
}

static __device__ inline float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

template <enum ddpm_activation F, class T> static __device__ inline float activate(float x)
{
    if constexpr (F == DDPM_GELU && sizeof(T) == 2) {
        float bell, tail = normal_tail(x, &bell);
        return fmaf(-fminf(fabsf(x), FLT_MAX), tail, fmaxf(x, 0.0f)); /* ∞·0 would be NaN */
    } else if constexpr (F == DDPM_GELU) {
        return x * normal_cdf(x);
    } else if constexpr (F == DDPM_RELU) {
        return x > 0.0f ? x : 0.0f;
    } else if constexpr (F == DDPM_SIGMOID) {
        return sigmoid(x);
    } else {
        return x;
    }
}

/* f(x) and f'(x), which share the expensive part. */
template <enum ddpm_activation F, class T>
static __device__ inline float activate_with_slope(float x, float *slope)
{
    if constexpr (F == DDPM_GELU) {
        float bell, cdf;
        if constexpr (sizeof(T) == 2) {
            cdf = 0.5f + copysignf(0.5f - normal_tail(x, &bell), x);
        } else {
            cdf = normal_cdf(x);
            bell = expf(-0.5f * x * x);
        }
        *slope = fmaf(x * 0.39894228040143268f, bell, cdf);
        return x * cdf;
    } else if constexpr (F == DDPM_RELU) {
        *slope = x > 0.0f ? 1.0f : 0.0f;
        return x > 0.0f ? x : 0.0f;
    } else if constexpr (F == DDPM_SIGMOID) {
        float y = sigmoid(x);
        *slope = y * (1.0f - y);
        return y;
    } else {
        *slope = 1.0f;
        return x;
    }
}

/* function<F>(…) for the function that the call names. */
#define DDPM_BY_ACTIVATION(function, call, ...)                                                    \
    switch ((call)->attributes.activation) {                                                       \
    case DDPM_GELU:                                                                                \
        return function<__VA_ARGS__, DDPM_GELU>(call);                                             \
    case DDPM_RELU:                                                                                \
        return function<__VA_ARGS__, DDPM_RELU>(call);                                             \
    case DDPM_SIGMOID:                                                                             \
        return function<__VA_ARGS__, DDPM_SIGMOID>(call);                                          \
    case DDPM_NO_ACTIVATION:                                                                       \
        break;                                                                                     \
    }                                                                                              \
    return function<__VA_ARGS__, DDPM_NO_ACTIVATION>(call)

#endif

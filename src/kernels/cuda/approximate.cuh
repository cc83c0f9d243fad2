/* Two instructions of the special function unit, which libraries only use behind branches for
 * subnormal numbers: 2^x and 1/x. Both have an error of at most 2^-22; subnormal results are
 * zero. */
#ifndef DDPM_KERNELS_CUDA_APPROXIMATE_CUH
#define DDPM_KERNELS_CUDA_APPROXIMATE_CUH

static __device__ inline float exp2_approximately(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

static __device__ inline float reciprocal_approximately(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif

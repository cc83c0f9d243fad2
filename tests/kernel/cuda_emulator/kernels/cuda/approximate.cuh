/* Emulated counterpart of src/kernels/cuda/approximate.cuh: as inexact as the device's may be. */
#ifndef DDPM_EMULATOR_APPROXIMATE_CUH
#define DDPM_EMULATOR_APPROXIMATE_CUH

#include <cuda_runtime.h>

/* Cut off the last two bits, and all bits of a subnormal number. */
static inline float emulator_cut(float x)
{
    return fabsf(x) < 1.17549435e-38f ? copysignf(0.0f, x)
                                      : __uint_as_float(__float_as_uint(x) & ~3u);
}

static inline float exp2_approximately(float x)
{
    return emulator_cut(exp2f(x));
}

static inline float reciprocal_approximately(float x)
{
    return emulator_cut(1.0f / emulator_cut(x));
}

#endif

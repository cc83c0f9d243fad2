/* Philox4x32-10 on the device: the same integers as src/core/random.h for the same counter. The
 * normals agree up to the rounding of the device's logarithm, sine and cosine. */
#ifndef DDPM_KERNELS_CUDA_PHILOX_CUH
#define DDPM_KERNELS_CUDA_PHILOX_CUH

#include "kernels/cuda/cuda.cuh"

static __device__ inline uint4 philox(uint64_t seed, uint32_t block, uint32_t sample, uint32_t step,
                                      uint32_t stream)
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    uint32_t c0 = block, c1 = sample, c2 = step, c3 = stream;
    for (int round = 0; round < 10; ++round) {
        uint64_t product0 = (uint64_t)0xD2511F53u * c0;
        uint64_t product1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ key0;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ key1;
        c1 = (uint32_t)product1;
        c3 = (uint32_t)product0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return make_uint4(c0, c1, c2, c3);
}

/* (0,1), 23 bits */
static __device__ inline float philox_uniform(uint32_t bits)
{
    return ((float)(bits >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

/* One Box-Muller pair. */
static __device__ inline void philox_normal2(uint32_t bits0, uint32_t bits1, float out[2])
{
    float radius = sqrtf(-2.0f * logf(philox_uniform(bits0)));
    float angle = 6.28318530717958647692f * philox_uniform(bits1);
    out[0] = radius * cosf(angle);
    out[1] = radius * sinf(angle);
}

#endif

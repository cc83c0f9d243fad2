/* Emulated bf16: the conversions that the kernels use, round to nearest even. */
#ifndef DDPM_EMULATOR_CUDA_BF16_H
#define DDPM_EMULATOR_CUDA_BF16_H

#include <stdint.h>
#include <string.h>

struct __nv_bfloat16 {
    uint16_t bits;
};

struct __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

static inline float __bfloat162float(__nv_bfloat16 x)
{
    uint32_t word = (uint32_t)x.bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    uint32_t word;
    memcpy(&word, &x, sizeof word);
    if ((word & 0x7fffffffu) > 0x7f800000u)
        return {0x7fff}; /* the device's one NaN */
    return {(uint16_t)((word + 0x7fffu + ((word >> 16) & 1u)) >> 16)};
}

static inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high)
{
    return {__float2bfloat16_rn(low), __float2bfloat16_rn(high)};
}

#endif

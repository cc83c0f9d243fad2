/* The micro-benchmark of peak.simd.c. */
#ifndef DDPM_KERNELS_CPU_PEAK_H
#define DDPM_KERNELS_CPU_PEAK_H

#include "core/threads.h"

/* Multiply-adds per sum in one iteration of the loop. */
#define DDPM_PEAK_STEPS 400000

/* For one level: fp32, and bf16 if the processor multiplies bf16, else NULL. */
struct ddpm_peak {
    ddpm_range_function *range_f32, *range_bf16;
    double f32_flops_per_step, bf16_flops_per_step;
};

#define DDPM_PEAK_LEVEL(level) extern const struct ddpm_peak ddpm_peak_##level;
DDPM_PEAK_LEVEL(generic)
DDPM_PEAK_LEVEL(avx2)
DDPM_PEAK_LEVEL(avx512)
DDPM_PEAK_LEVEL(avx512bf16)
DDPM_PEAK_LEVEL(amx)
DDPM_PEAK_LEVEL(neon)
DDPM_PEAK_LEVEL(neonbf16)

#endif

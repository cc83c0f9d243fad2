/* The micro-measurement of peak.simd.c. */
#ifndef DDPM_KERNELS_CPU_PEAK_H
#define DDPM_KERNELS_CPU_PEAK_H

#include <stdint.h>

/* Multiply-adds of every sum in one iteration of the loop. */
#define DDPM_PEAK_STEPS 4000000

#define DDPM_PEAK_LEVEL(level)                                                                     \
    void ddpm_peak_range_##level(void *context, int64_t begin, int64_t end, int thread);           \
    extern const double ddpm_peak_flops_per_step_##level;
DDPM_PEAK_LEVEL(generic)
DDPM_PEAK_LEVEL(avx2)
DDPM_PEAK_LEVEL(avx512)

#endif

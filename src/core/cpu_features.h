/* The instruction-set levels that kernels are compiled for, and the best one of this processor. */
#ifndef DDPM_CORE_CPU_FEATURES_H
#define DDPM_CORE_CPU_FEATURES_H

#include <stdbool.h>

#include "core/error.h"

/* Ascending for each architecture: its processors also run the levels before their own. */
enum ddpm_cpu_level {
    DDPM_CPU_GENERIC, /* the compiler's baseline */
    DDPM_CPU_AVX2,    /* AVX2, FMA, F16C */
    DDPM_CPU_AVX512,  /* AVX-512 F, BW, DQ, VL */
    DDPM_CPU_AVX512BF16,
    DDPM_CPU_AMX,      /* avx512bf16, and bf16 matrix tiles that the system lets us use */
    DDPM_CPU_NEON,     /* 64-bit ARM: every processor has NEON with fused multiply-add */
    DDPM_CPU_NEONBF16, /* and bf16 products: BFDOT, BFCVTN */
    DDPM_CPU_LEVEL_COUNT,
};

/* "generic", "avx2", "avx512", "avx512bf16", "amx", "neon", "neonbf16". */
const char *ddpm_cpu_level_name(enum ddpm_cpu_level level);

/* Can this processor (and its operating system) run the level? */
bool ddpm_cpu_supports(enum ddpm_cpu_level level);

/* The level to use: the one called `name`; if that is NULL, the one in the environment variable
 * DDPM_CPU; else the best one. DDPM_ERROR_ARGUMENT for an unknown name, DDPM_ERROR_UNSUPPORTED for
 * one that the processor lacks. */
ddpm_status ddpm_cpu_choose_level(const char *name, enum ddpm_cpu_level *out);

#endif

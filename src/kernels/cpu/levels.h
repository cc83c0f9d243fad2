/* Kernels that are the same for every level, from files compiled once. */
#ifndef DDPM_KERNELS_CPU_LEVELS_H
#define DDPM_KERNELS_CPU_LEVELS_H

#include "kernels/kernels.h"

/* clang-format off */
#define KERNELS_OF_LEVEL(level, name, ...)                                                         \
    extern const struct ddpm_kernel *const ddpm_kernels_of_##name##_##level[];                     \
    const struct ddpm_kernel *const ddpm_kernels_of_##name##_##level[] = {__VA_ARGS__, NULL}
/* clang-format on */

/* KERNELS_OF (rows.h) for each table. */
#define KERNELS_OF_ALL_LEVELS(name, ...)                                                           \
    KERNELS_OF_LEVEL(generic, name, __VA_ARGS__);                                                  \
    KERNELS_OF_LEVEL(avx2, name, __VA_ARGS__);                                                     \
    KERNELS_OF_LEVEL(avx512, name, __VA_ARGS__);                                                   \
    KERNELS_OF_LEVEL(avx512bf16, name, __VA_ARGS__);                                               \
    KERNELS_OF_LEVEL(neon, name, __VA_ARGS__);                                                     \
    KERNELS_OF_LEVEL(neonbf16, name, __VA_ARGS__)

#endif

/* The opened CPU device. */
#ifndef DDPM_KERNELS_CPU_CPU_H
#define DDPM_KERNELS_CPU_CPU_H

#include "core/cpu_features.h"
#include "kernels/backend.h"

/* For every operation, the rows to try in order, NULL at the end. One table per level, from
 * table.simd.c; amx has only the rows to try before avx512bf16's, and NULL for most operations. */
typedef const struct ddpm_kernel *const *ddpm_cpu_table[DDPM_OP_COUNT];
extern ddpm_cpu_table const ddpm_cpu_table_generic, ddpm_cpu_table_avx2, ddpm_cpu_table_avx512,
    ddpm_cpu_table_avx512bf16, ddpm_cpu_table_amx, ddpm_cpu_table_neon, ddpm_cpu_table_neonbf16;

struct ddpm_cpu_device {
    struct ddpm_device base;
    enum ddpm_cpu_level level;
};

/* struct ddpm_backend's measure_peak (peak.c). */
ddpm_status ddpm_cpu_measure_peak(struct ddpm_device *device, enum ddpm_dtype dtype, double *flops,
                                  double *bytes_per_second);

#endif

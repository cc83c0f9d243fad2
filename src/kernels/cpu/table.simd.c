/* The table of one level: per operation the rows to try, in order. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

#define ROWS(...)                                                                                  \
    (const struct ddpm_kernel *const[])                                                            \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

ddpm_cpu_table const SIMD(cpu_table) = {
    [DDPM_OP_CONV2D] = NULL,
};

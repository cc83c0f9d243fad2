/* The table of one level: for every operation the rows to try, in order. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rows.h"

KERNELS_OF(conv2d, &SIMD(conv2d_winograd), &SIMD(conv2d_direct));
KERNELS_OF(conv2d_backward_data, &SIMD(conv2d_backward_data_winograd),
           &SIMD(conv2d_backward_data_direct));
KERNELS_OF(conv2d_backward_weight, &SIMD(conv2d_backward_weight_winograd),
           &SIMD(conv2d_backward_weight_direct));

ddpm_cpu_table const SIMD(cpu_table) = {
#define OP(id, name, ...) [DDPM_OP_##id] = SIMD(kernels_of_##name),
#include "kernels/ops.inc"
#undef OP
};

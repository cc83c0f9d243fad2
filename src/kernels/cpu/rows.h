/* The rows of the CPU backend: every kernel that the *.simd.c files define, once per level.
 *
 * To add one, define it in a *.simd.c file that CMakeLists.txt lists, and name it there as the
 * kernel of its operation:
 *
 *     static const struct ddpm_kernel add_kernel = {SIMD_NAME("add"), …};
 *     KERNELS_OF(add, &add_kernel);
 *
 * If an operation has several kernels, list them in the order in which to try them. A kernel that
 * serves all levels uses KERNELS_OF_ALL_LEVELS (levels.h). */
#ifndef DDPM_KERNELS_CPU_ROWS_H
#define DDPM_KERNELS_CPU_ROWS_H

#include "kernels/cpu/simd.h"
#include "kernels/kernels.h"

#define SIMD_STRING2(level) #level
#define SIMD_STRING(level) SIMD_STRING2(level)
/* SIMD_NAME("gemm") is "gemm_avx2" in the avx2 build of a file. */
#define SIMD_NAME(name) name "_" SIMD_STRING(DDPM_LEVEL)

#define OP(id, name, ...) extern const struct ddpm_kernel *const SIMD(kernels_of_##name)[];
#include "kernels/ops.inc"
#undef OP

/* clang-format off */
#define KERNELS_OF(name, ...)                                                                      \
    const struct ddpm_kernel *const SIMD(kernels_of_##name)[] = {__VA_ARGS__, NULL}
/* clang-format on */

/* For operations with kernels in several files. */
extern const struct ddpm_kernel SIMD(conv2d_direct), SIMD(conv2d_backward_data_direct),
    SIMD(conv2d_backward_weight_direct), SIMD(conv2d_winograd), SIMD(conv2d_backward_data_winograd),
    SIMD(conv2d_backward_weight_winograd);
extern const struct ddpm_kernel SIMD(depthwise_conv2d), SIMD(depthwise_conv2d_backward_data),
    SIMD(depthwise_conv2d_backward_weight);

/* Level amx has the rows of avx512bf16 and these before them (table_amx.c). */
extern const struct ddpm_kernel ddpm_conv2d_amx, ddpm_conv2d_backward_data_amx,
    ddpm_conv2d_backward_weight_amx, ddpm_conv2d_winograd_amx,
    ddpm_conv2d_backward_data_winograd_amx, ddpm_conv2d_rows_amx,
    ddpm_conv2d_backward_data_rows_amx, ddpm_conv2d_backward_weight_rows_amx,
    ddpm_depthwise_conv2d_tiles_amx, ddpm_depthwise_conv2d_backward_data_tiles_amx,
    ddpm_depthwise_conv2d_amx, ddpm_depthwise_conv2d_backward_data_amx,
    ddpm_depthwise_conv2d_backward_weight_amx;

#endif

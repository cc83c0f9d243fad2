/* The rows of the CPU backend: every kernel that the *.simd.c files define, once per level.
 *
 * To add one: define `const struct ddpm_kernel SIMD(my_kernel) = {SIMD_NAME("my_kernel"), …}` in a
 * *.simd.c file listed in CMakeLists.txt, declare it here, and enter it in table.simd.c. */
#ifndef DDPM_KERNELS_CPU_ROWS_H
#define DDPM_KERNELS_CPU_ROWS_H

#include "kernels/cpu/simd.h"
#include "kernels/kernels.h"

#define SIMD_STRING2(level) #level
#define SIMD_STRING(level) SIMD_STRING2(level)
/* SIMD_NAME("gemm") is "gemm_avx2" in the avx2 build of a file. */
#define SIMD_NAME(name) name "_" SIMD_STRING(DDPM_LEVEL)

extern const struct ddpm_kernel SIMD(conv2d_direct), SIMD(conv2d_backward_data_direct),
    SIMD(conv2d_backward_weight_direct), SIMD(conv2d_winograd), SIMD(conv2d_backward_data_winograd),
    SIMD(conv2d_backward_weight_winograd);

extern const struct ddpm_kernel SIMD(depthwise_conv2d), SIMD(depthwise_conv2d_backward_data),
    SIMD(depthwise_conv2d_backward_weight), SIMD(group_norm), SIMD(group_norm_backward),
    SIMD(activation), SIMD(activation_backward), SIMD(add), SIMD(add_channels), SIMD(sum_pixels),
    SIMD(concat), SIMD(upsample), SIMD(upsample_backward), SIMD(scale_pixels),
    SIMD(scale_pixels_backward), SIMD(convert), SIMD(gradient_norm), SIMD(adamw);

/* Level amx has the rows of avx512bf16 and these before them. */
extern const struct ddpm_kernel ddpm_conv2d_amx, ddpm_conv2d_backward_data_amx,
    ddpm_conv2d_backward_weight_amx, ddpm_conv2d_winograd_amx,
    ddpm_conv2d_backward_data_winograd_amx, ddpm_conv2d_rows_amx,
    ddpm_conv2d_backward_data_rows_amx, ddpm_conv2d_backward_weight_rows_amx,
    ddpm_depthwise_conv2d_tiles_amx, ddpm_depthwise_conv2d_backward_data_tiles_amx,
    ddpm_depthwise_conv2d_amx, ddpm_depthwise_conv2d_backward_data_amx,
    ddpm_depthwise_conv2d_backward_weight_amx;

#endif

/* The rows of the CUDA backend. A file declares which operation its kernel serves:
 *
 *     static const struct ddpm_kernel add_kernel = {"add_cuda", …};
 *     CUDA_KERNELS_OF(add, &add_kernel); */
#ifndef DDPM_KERNELS_CUDA_ROWS_CUH
#define DDPM_KERNELS_CUDA_ROWS_CUH

#include "kernels/cuda/cuda.cuh"

#define OP(id, name, ...) extern const struct ddpm_kernel *const ddpm_cuda_kernels_of_##name[];
#include "kernels/ops.inc"
#undef OP

/* clang-format off */
/* The kernels of an operation, in the order in which to try them. */
#define CUDA_KERNELS_OF(name, ...)                                                                 \
    const struct ddpm_kernel *const ddpm_cuda_kernels_of_##name[] = {__VA_ARGS__, NULL}
/* clang-format on */

/* For operations with kernels in several files; listed in cuda.cu. */
/* conv_forward.cu */
extern const struct ddpm_kernel ddpm_cuda_conv2d_mma;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_mma;
/* conv_wgmma.cu */
extern const struct ddpm_kernel ddpm_cuda_conv2d_wgmma;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_wgmma;
/* conv_weight.cu */
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_mma;
/* conv_weight_wgmma.cu */
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_wgmma;
/* conv_simt.cu */
extern const struct ddpm_kernel ddpm_cuda_conv2d_simt;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_simt;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_simt;
/* depthwise.cu */
extern const struct ddpm_kernel ddpm_cuda_depthwise7;
extern const struct ddpm_kernel ddpm_cuda_depthwise7_backward_data;
extern const struct ddpm_kernel ddpm_cuda_depthwise;
extern const struct ddpm_kernel ddpm_cuda_depthwise_backward_data;
/* depthwise_weight.cu */
extern const struct ddpm_kernel ddpm_cuda_depthwise7_backward_weight;
extern const struct ddpm_kernel ddpm_cuda_depthwise_backward_weight;

#endif

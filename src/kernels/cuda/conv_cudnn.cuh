/* Convolutions by cuDNN's plans (cudnn.h) as rows of the table. Which calls they serve, and by
 * which plan, is choose.cu's decision; find_kernel() asks there before it looks at the table. */
#ifndef DDPM_KERNELS_CUDA_CONV_CUDNN_CUH
#define DDPM_KERNELS_CUDA_CONV_CUDNN_CUH

#include "kernels/cuda/cuda.cuh"

extern "C" {
#include "kernels/cuda/cudnn.h"
}

extern const struct ddpm_kernel ddpm_cuda_conv2d_cudnn;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_cudnn;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_cudnn;

/* Whether the shapes and types of a convolution are ones that the rows take. */
bool ddpm_cuda_cudnn_takes(const struct ddpm_call *call);

/* The call as cuDNN is asked for it. */
struct ddpm_cudnn_convolution ddpm_cuda_cudnn_convolution(const struct ddpm_call *call,
                                                          enum ddpm_cudnn_form form);

#endif

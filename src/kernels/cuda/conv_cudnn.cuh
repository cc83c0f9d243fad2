/* Convolutions with cuDNN plans (cudnn.h) as rows of the table. choose.cu decides which calls they
 * serve, and with which plan; find_kernel() asks there before it searches the table. */
#ifndef DDPM_KERNELS_CUDA_CONV_CUDNN_CUH
#define DDPM_KERNELS_CUDA_CONV_CUDNN_CUH

#include "kernels/cuda/cuda.cuh"

extern "C" {
#include "kernels/cuda/cudnn.h"
}

extern const struct ddpm_kernel ddpm_cuda_conv2d_cudnn;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_cudnn;
extern const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_cudnn;

/* Do the rows support the shapes and types of this convolution? */
bool ddpm_cuda_cudnn_takes(const struct ddpm_call *call);

/* The call, described for cuDNN. */
struct ddpm_cudnn_convolution ddpm_cuda_cudnn_convolution(const struct ddpm_call *call,
                                                          enum ddpm_cudnn_form form);

#endif

/* The error when no device can be found. */
#ifndef DDPM_KERNELS_CUDA_FAILED_CUH
#define DDPM_KERNELS_CUDA_FAILED_CUH

#include "kernels/cuda/cuda.cuh"

/* Raise DDPM_ERROR_UNSUPPORTED for what cudaGetDeviceCount() returned: an error, because there is
 * no driver or no GPU. */
ddpm_status ddpm_cuda_no_device(cudaError_t error);

#endif

/* Which kernel serves a convolution: one of our own or a cuDNN plan. They are measured when a call
 * is planned, once per shape, and the choice is stored on disk (plan_cache.h), together with the
 * plan if cuDNN compiled it.
 *
 *     DDPM_CUDA_CONV=auto     as above. If choices cannot be stored, as `cudnn`: a choice that the
 *                             next run does not know would break bit-exact resuming
 *     DDPM_CUDA_CONV=cudnn    not measured: cuDNN's own guess wherever it has a plan
 *     DDPM_CUDA_CONV=own      only our own kernels */
#ifndef DDPM_KERNELS_CUDA_CHOOSE_CUH
#define DDPM_KERNELS_CUDA_CHOOSE_CUH

#include "kernels/cuda/cuda.cuh"

struct ddpm_cudnn;
struct ddpm_cudnn_plan;
struct ddpm_cuda_choices;

/* Open cuDNN and the cache for a device whose streams exist. `threads`: of the device's options.
 * Never fails; there may be fewer choices. */
void ddpm_cuda_choices_open(struct ddpm_cuda_device *device,
                            const struct cudaDeviceProp *properties, int threads);
void ddpm_cuda_choices_close(struct ddpm_cuda_device *device);

/* device->compute has changed to another stream: move cuDNN's kernels there too. */
ddpm_status ddpm_cuda_choices_follow(struct ddpm_cuda_device *device);

/* The row that serves this call: a cuDNN row, or `own`, the first row of the table that supports
 * it. Measures if that has not been done. */
const struct ddpm_kernel *ddpm_cuda_choose(struct ddpm_cuda_device *device,
                                           const struct ddpm_call *call,
                                           const struct ddpm_kernel *own);

/* Choose for all convolutions among these calls at once: threads make their plans. */
void ddpm_cuda_choose_all(struct ddpm_cuda_device *device, const struct ddpm_call *calls,
                          size_t count);

/* cuda.cu: the first of our own rows that supports the call, or NULL; does this operation have
 * choices? */
const struct ddpm_kernel *ddpm_cuda_own_row(const struct ddpm_call *call);
bool ddpm_cuda_is_convolution(enum ddpm_op op);

/* For the rows of conv_cudnn.cu: the plan chosen for a call, NULL if there is none; the library. */
const struct ddpm_cudnn_plan *ddpm_cuda_plan_of(const struct ddpm_call *call);
struct ddpm_cudnn *ddpm_cuda_cudnn_of(const struct ddpm_call *call);

#endif

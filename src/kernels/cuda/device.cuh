/* The device functions of the backend's table; contracts are in kernels/backend.h. */
#ifndef DDPM_KERNELS_CUDA_DEVICE_CUH
#define DDPM_KERNELS_CUDA_DEVICE_CUH

#include "kernels/cuda/cuda.cuh"

#define DDPM_MIB(bytes) ((double)(bytes) / (1024.0 * 1024.0))

static inline struct ddpm_cuda_device *ddpm_cuda_own(struct ddpm_device *device)
{
    return (struct ddpm_cuda_device *)device;
}

ddpm_status ddpm_cuda_open(const struct ddpm_device_options *options, struct ddpm_device **out);
void ddpm_cuda_close(struct ddpm_device *device);

ddpm_status ddpm_cuda_allocate(struct ddpm_device *device, size_t bytes, const char *what,
                               void **out);
void ddpm_cuda_release(struct ddpm_device *device, void *memory);
size_t ddpm_cuda_available(struct ddpm_device *device);

ddpm_status ddpm_cuda_upload(struct ddpm_device *device, void *to, const void *from, size_t bytes);
ddpm_status ddpm_cuda_download(struct ddpm_device *device, void *to, const void *from,
                               size_t bytes);
ddpm_status ddpm_cuda_download_begin(struct ddpm_device *device, void *to, const void *from, size_t bytes,
                                     uint64_t *ticket);
ddpm_status ddpm_cuda_download_end(struct ddpm_device *device, uint64_t ticket);
ddpm_status ddpm_cuda_snapshot_begin(struct ddpm_device *device, void *const to[],
                                     void *const from[], int count, size_t bytes);
ddpm_status ddpm_cuda_snapshot_end(struct ddpm_device *device);
ddpm_status ddpm_cuda_copy(struct ddpm_device *device, void *to, const void *from, size_t bytes);
ddpm_status ddpm_cuda_zero(struct ddpm_device *device, void *to, size_t bytes);
ddpm_status ddpm_cuda_synchronize(struct ddpm_device *device);

/* An error while a recording runs; `what` must not be recorded. */
ddpm_status ddpm_cuda_refuse_recording(const struct ddpm_cuda_device *device, const char *what);
ddpm_status ddpm_cuda_record_begin(struct ddpm_device *device);
ddpm_status ddpm_cuda_record_end(struct ddpm_device *device, void **recording);
ddpm_status ddpm_cuda_replay(struct ddpm_device *device, void *recording);
void ddpm_cuda_release_recording(struct ddpm_device *device, void *recording);

void ddpm_cuda_queue(struct ddpm_device *device, void **queue, int *index);

ddpm_status ddpm_cuda_allocate_host(struct ddpm_device *device, size_t bytes, void **out);
void ddpm_cuda_release_host(struct ddpm_device *device, void *memory);

/* conv_wgmma.cu: does DDPM_CUDA_WGMMA ask for it, and can this device do it? */
bool ddpm_cuda_wants_wgmma(const struct cudaDeviceProp *properties);

/* aside.cu */
ddpm_status ddpm_cuda_aside_open(struct ddpm_cuda_device *device);
void ddpm_cuda_aside_close(struct ddpm_cuda_device *device);
ddpm_status ddpm_cuda_aside_begin(struct ddpm_device *device);
ddpm_status ddpm_cuda_aside_end(struct ddpm_device *device);
ddpm_status ddpm_cuda_aside_join(struct ddpm_device *device, int behind);

#endif

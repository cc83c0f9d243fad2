/* Calls that run alongside the others, in a stream of their own. Nobody waits for gradients of
 * weights before the end of the step, so they multiply while norms and depthwise convolutions wait
 * for memory. The stream of all other calls has the higher priority. Captured streams become
 * branches of the graph. DDPM_CUDA_ASIDE=off puts everything in one stream, to measure the gain. */
#include <stdlib.h>

#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/device.cuh"

ddpm_status ddpm_cuda_aside_open(struct ddpm_cuda_device *device)
{
    int least = 0, greatest = 0;
    DDPM_CUDA_TRY(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    DDPM_CUDA_TRY(cudaStreamCreateWithPriority(&device->compute, cudaStreamNonBlocking, greatest));
    const char *wanted = getenv("DDPM_CUDA_ASIDE");
    if (wanted && !strcmp(wanted, "off"))
        return DDPM_OK;
    DDPM_CUDA_TRY(cudaStreamCreateWithPriority(&device->aside, cudaStreamNonBlocking, least));
    DDPM_CUDA_TRY(cudaEventCreateWithFlags(&device->forked, cudaEventDisableTiming));
    for (int i = 0; i < 2; ++i)
        DDPM_CUDA_TRY(cudaEventCreateWithFlags(&device->asides[i], cudaEventDisableTiming));
    return DDPM_OK;
}

void ddpm_cuda_aside_close(struct ddpm_cuda_device *device)
{
    if (device->aside)
        cudaStreamSynchronize(device->aside);
    if (device->forked)
        cudaEventDestroy(device->forked);
    for (int i = 0; i < 2; ++i)
        if (device->asides[i])
            cudaEventDestroy(device->asides[i]);
    if (device->aside)
        cudaStreamDestroy(device->aside);
}

/* All calls go into device->compute, including cuDNN's. */
static ddpm_status change_places(struct ddpm_cuda_device *device)
{
    cudaStream_t other = device->aside;
    device->aside = device->compute;
    device->compute = other;
    return ddpm_cuda_choices_follow(device);
}

ddpm_status ddpm_cuda_aside_begin(struct ddpm_device *base)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    if (!device->aside)
        return DDPM_OK;
    DDPM_CUDA_TRY(cudaSetDevice(device->index));
    DDPM_CUDA_TRY(cudaEventRecord(device->forked, device->compute));
    DDPM_CUDA_TRY(cudaStreamWaitEvent(device->aside, device->forked, 0));
    return change_places(device);
}

ddpm_status ddpm_cuda_aside_end(struct ddpm_device *base)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    if (!device->aside)
        return DDPM_OK;
    cudaError_t error = cudaEventRecord(device->asides[device->aside_count++ % 2], device->compute);
    DDPM_TRY(change_places(device));
    return ddpm_cuda_check(error, "a call alongside the others");
}

ddpm_status ddpm_cuda_aside_join(struct ddpm_device *base, int behind)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    if (!device->aside || device->aside_count <= (unsigned)behind)
        return DDPM_OK;
    DDPM_CUDA_TRY(cudaSetDevice(device->index));
    cudaEvent_t event = device->asides[(device->aside_count - 1 - (unsigned)behind) % 2];
    DDPM_CUDA_TRY(cudaStreamWaitEvent(device->compute, event, 0));
    if (behind == 0)
        device->aside_count = 0; /* a recording must not wait for work queued before it */
    return DDPM_OK;
}

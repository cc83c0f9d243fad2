/* The CUDA device's memory and all copies; device.cu describes the streams. */
#include "kernels/cuda/device.cuh"

/* Give up the staging memory, after waiting until all of it has been read. */
static void drop_staging(struct ddpm_cuda_device *device)
{
    cudaEventSynchronize(device->taken);
    cudaFree(device->staging);
    device->staging = NULL;
    device->staging_bytes = 0;
}

cudaError_t ddpm_cuda_malloc(struct ddpm_cuda_device *device, void **out, size_t bytes)
{
    cudaError_t error = cudaMalloc(out, bytes);
    if (error != cudaErrorMemoryAllocation || !device->staging)
        return error;
    (void)cudaGetLastError();
    drop_staging(device);
    return cudaMalloc(out, bytes);
}

ddpm_status ddpm_cuda_allocate(struct ddpm_device *base, size_t bytes, const char *what, void **out)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    *out = NULL;
    DDPM_CUDA_TRY(cudaSetDevice(device->index));
    void *memory = NULL;
    cudaError_t error = ddpm_cuda_malloc(device, &memory, bytes ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return ddpm_raise(DDPM_ERROR_MEMORY,
                          "%s: needs %.0f MiB of device memory, %.0f MiB are free; use a smaller "
                          "batch or less memory (--batch-size, --memory low)",
                          what, DDPM_MIB(bytes), DDPM_MIB(ddpm_cuda_available(base)));
    }
    DDPM_CUDA_TRY(error);
    ddpm_status status = ddpm_cuda_zero(base, memory, bytes);
    if (status != DDPM_OK) {
        cudaFree(memory);
        return status;
    }
    *out = memory;
    return DDPM_OK;
}

void ddpm_cuda_release(struct ddpm_device *device, void *memory)
{
    if (!memory)
        return;
    cudaSetDevice(ddpm_cuda_own(device)->index);
    cudaStreamSynchronize(ddpm_cuda_own(device)->compute);
    cudaFree(memory);
}

size_t ddpm_cuda_available(struct ddpm_device *device)
{
    size_t available = 0, total = 0;
    if (cudaSetDevice(ddpm_cuda_own(device)->index) != cudaSuccess ||
        cudaMemGetInfo(&available, &total) != cudaSuccess)
        return 0;
    return available + ddpm_cuda_own(device)->staging_bytes;
}

static ddpm_status upload_slot(struct ddpm_cuda_device *device, unsigned slot, void *to,
                               const void *from, size_t bytes)
{
    unsigned char *place = device->ring + slot * DDPM_CUDA_SLOT_BYTES;
    DDPM_CUDA_TRY_ON(device, cudaStreamWaitEvent(device->copy, device->consumed[slot], 0));
    DDPM_CUDA_TRY_ON(device,
                     cudaMemcpyAsync(place, from, bytes, cudaMemcpyHostToDevice, device->copy));
    DDPM_CUDA_TRY_ON(device, cudaEventRecord(device->arrived[slot], device->copy));
    DDPM_CUDA_TRY_ON(device, cudaStreamWaitEvent(device->compute, device->arrived[slot], 0));
    DDPM_CUDA_TRY_ON(device,
                     cudaMemcpyAsync(to, place, bytes, cudaMemcpyDeviceToDevice, device->compute));
    DDPM_CUDA_TRY_ON(device, cudaEventRecord(device->consumed[slot], device->compute));
    return DDPM_OK;
}

ddpm_status ddpm_cuda_upload(struct ddpm_device *base, void *to, const void *from, size_t bytes)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    DDPM_TRY(ddpm_cuda_refuse_recording(device, "upload"));
    DDPM_CUDA_TRY_ON(device, cudaSetDevice(device->index));
    unsigned slot = 0;
    for (size_t done = 0; done < bytes; done += DDPM_CUDA_SLOT_BYTES) {
        size_t part = bytes - done < DDPM_CUDA_SLOT_BYTES ? bytes - done : DDPM_CUDA_SLOT_BYTES;
        slot = device->next_slot++ % DDPM_CUDA_SLOTS;
        DDPM_TRY(upload_slot(device, slot, (unsigned char *)to + done,
                             (const unsigned char *)from + done, part));
    }
    if (bytes)
        DDPM_CUDA_TRY_ON(device, cudaEventSynchronize(device->arrived[slot]));
    return DDPM_OK;
}

ddpm_status ddpm_cuda_download(struct ddpm_device *base, void *to, const void *from, size_t bytes)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    DDPM_TRY(ddpm_cuda_refuse_recording(device, "download"));
    DDPM_CUDA_TRY_ON(device, cudaSetDevice(device->index));
    DDPM_CUDA_TRY_ON(device,
                     cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, device->compute));
    return ddpm_cuda_synchronize(base);
}

ddpm_status ddpm_cuda_download_begin(struct ddpm_device *base, void *to, const void *from,
                                     size_t bytes, uint64_t *ticket)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    DDPM_TRY(ddpm_cuda_refuse_recording(device, "download"));
    cudaEvent_t event = device->downloaded[device->downloads_begun % DDPM_LATE_DOWNLOADS];
    DDPM_CUDA_TRY_ON(device, cudaSetDevice(device->index));
    DDPM_CUDA_TRY_ON(device,
                     cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, device->compute));
    DDPM_CUDA_TRY_ON(device, cudaEventRecord(event, device->compute));
    *ticket = device->downloads_begun++;
    return DDPM_OK;
}

ddpm_status ddpm_cuda_download_end(struct ddpm_device *base, uint64_t ticket)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    if (ticket >= device->downloads_begun)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "the end of a download that was not begun");
    cudaEvent_t event = device->downloaded[ticket % DDPM_LATE_DOWNLOADS];
    DDPM_CUDA_TRY(cudaSetDevice(device->index));
    return ddpm_cuda_check_on(device, cudaEventSynchronize(event), "the kernels before");
}

/* Staging memory of at least `bytes` bytes: that of the previous snapshot, or new memory. */
static ddpm_status reserve_staging(struct ddpm_cuda_device *device, size_t bytes)
{
    void *memory = NULL;
    if (device->staging && device->staging_bytes >= bytes)
        return DDPM_OK;
    if (device->staging)
        drop_staging(device);
    size_t available = ddpm_cuda_available(&device->base);
    if (available < bytes || available - bytes < DDPM_CUDA_SPARE_BYTES)
        return ddpm_raise(DDPM_ERROR_MEMORY,
                          "a copy on the device: needs %.0f MiB and %.0f MiB to spare, %.0f MiB "
                          "are free",
                          DDPM_MIB(bytes), DDPM_MIB(DDPM_CUDA_SPARE_BYTES), DDPM_MIB(available));
    DDPM_CUDA_TRY(cudaMalloc(&memory, bytes));
    device->staging = (unsigned char *)memory;
    device->staging_bytes = bytes;
    return DDPM_OK;
}

ddpm_status ddpm_cuda_snapshot_begin(struct ddpm_device *base, void *const to[], void *const from[],
                                     int count, size_t bytes)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    DDPM_TRY(ddpm_cuda_refuse_recording(device, "snapshot"));
    DDPM_CUDA_TRY_ON(device, cudaSetDevice(device->index));
    DDPM_TRY(reserve_staging(device, (size_t)count * bytes));
    DDPM_CUDA_TRY_ON(device, cudaStreamWaitEvent(device->compute, device->taken, 0));
    for (int i = 0; i < count; ++i)
        DDPM_CUDA_TRY_ON(device, cudaMemcpyAsync(device->staging + (size_t)i * bytes, from[i],
                                                 bytes, cudaMemcpyDeviceToDevice, device->compute));
    DDPM_CUDA_TRY_ON(device, cudaEventRecord(device->staged, device->compute));
    DDPM_CUDA_TRY_ON(device, cudaStreamWaitEvent(device->snapshot, device->staged, 0));
    for (int i = 0; i < count; ++i)
        DDPM_CUDA_TRY_ON(device, cudaMemcpyAsync(to[i], device->staging + (size_t)i * bytes, bytes,
                                                 cudaMemcpyDeviceToHost, device->snapshot));
    DDPM_CUDA_TRY_ON(device, cudaEventRecord(device->taken, device->snapshot));
    return DDPM_OK;
}

/* Changes nothing in the device: another thread is using it. */
ddpm_status ddpm_cuda_snapshot_end(struct ddpm_device *base)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    DDPM_CUDA_TRY(cudaSetDevice(device->index));
    return ddpm_cuda_check(cudaEventSynchronize(device->taken), "a copy to the host");
}

ddpm_status ddpm_cuda_copy(struct ddpm_device *base, void *to, const void *from, size_t bytes)
{
    DDPM_CUDA_TRY_ON(ddpm_cuda_own(base), cudaSetDevice(ddpm_cuda_own(base)->index));
    DDPM_CUDA_TRY_ON(ddpm_cuda_own(base), cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice,
                                                          ddpm_cuda_own(base)->compute));
    return DDPM_OK;
}

ddpm_status ddpm_cuda_zero(struct ddpm_device *base, void *to, size_t bytes)
{
    DDPM_CUDA_TRY_ON(ddpm_cuda_own(base), cudaSetDevice(ddpm_cuda_own(base)->index));
    DDPM_CUDA_TRY_ON(ddpm_cuda_own(base),
                     cudaMemsetAsync(to, 0, bytes, ddpm_cuda_own(base)->compute));
    return DDPM_OK;
}

ddpm_status ddpm_cuda_allocate_host(struct ddpm_device *base, size_t bytes, void **out)
{
    *out = NULL;
    DDPM_CUDA_TRY(cudaSetDevice(ddpm_cuda_own(base)->index));
    return ddpm_cuda_check(cudaMallocHost(out, bytes ? bytes : 1), "pinned host memory");
}

void ddpm_cuda_release_host(struct ddpm_device *base, void *memory)
{
    if (!memory)
        return;
    cudaSetDevice(ddpm_cuda_own(base)->index);
    cudaFreeHost(memory);
}

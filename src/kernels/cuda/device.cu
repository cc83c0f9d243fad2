/* The CUDA device: opening, memory, copies, streams, and recording through CUDA graphs.
 *
 * Three streams. `compute` runs kernels and everything ordered with them. Uploads run on `copy`
 * into a slot of a ring in device memory, and from there to their place on `compute`: so the host
 * waits only until its own bytes have left, never for kernels, and pictures travel while the
 * previous step still computes. Snapshots go the other way: on `compute` into staging memory, which
 * takes milliseconds, and from there to the host on `snapshot`, while `compute` continues and
 * uploads have `copy` to themselves. */
#include "kernels/cuda/choose.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/failed.cuh"

#include <stdio.h>
#include <stdlib.h>

#define MIB(bytes) ((double)(bytes) / (1024.0 * 1024.0))

static struct ddpm_cuda_device *own(struct ddpm_device *device)
{
    return (struct ddpm_cuda_device *)device;
}

ddpm_status ddpm_cuda_check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return DDPM_OK;
    (void)cudaGetLastError(); /* a failed call must not fail the next launch's check */
    ddpm_status status = error == cudaErrorMemoryAllocation ? DDPM_ERROR_MEMORY : DDPM_ERROR_DEVICE;
    return ddpm_raise(status, "CUDA: %s (%s) in %s", cudaGetErrorString(error),
                      cudaGetErrorName(error), what);
}

static ddpm_status choose_device(int wanted, int *out)
{
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
        return ddpm_cuda_no_device(error);
    if (count == 0)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "no CUDA device on this machine");
    const int index = wanted < 0 ? (-1 - wanted) % count : wanted;
    *out = index;
    if (index >= count)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got CUDA device %d, want 0 to %d", index,
                          count - 1);
    DDPM_CUDA_TRY(cudaSetDevice(index));
    return DDPM_OK;
}

static ddpm_status describe(struct ddpm_cuda_device *device, struct cudaDeviceProp *all)
{
    DDPM_CUDA_TRY(cudaGetDeviceProperties(all, device->index));
    const struct cudaDeviceProp &properties = *all;
    if (properties.major < 8)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "CUDA device %d (%s) has compute capability %d.%d, want 8.0 or later",
                          device->index, properties.name, properties.major, properties.minor);
    device->multiprocessors = properties.multiProcessorCount;
    device->wgmma = ddpm_cuda_wants_wgmma(all);
    snprintf(device->base.description, sizeof device->base.description, "CUDA, %.100s, %.0f MiB",
             properties.name, MIB(properties.totalGlobalMem));
    return DDPM_OK;
}

static ddpm_status make_streams(struct ddpm_cuda_device *device)
{
    DDPM_TRY(ddpm_cuda_aside_open(device));
    DDPM_CUDA_TRY(cudaStreamCreateWithFlags(&device->copy, cudaStreamNonBlocking));
    DDPM_CUDA_TRY(cudaStreamCreateWithFlags(&device->snapshot, cudaStreamNonBlocking));
    for (int slot = 0; slot < DDPM_CUDA_SLOTS; ++slot) {
        DDPM_CUDA_TRY(cudaEventCreateWithFlags(&device->arrived[slot], cudaEventDisableTiming));
        DDPM_CUDA_TRY(cudaEventCreateWithFlags(&device->consumed[slot], cudaEventDisableTiming));
    }
    for (int i = 0; i < DDPM_LATE_DOWNLOADS; ++i)
        DDPM_CUDA_TRY(cudaEventCreateWithFlags(&device->downloaded[i], cudaEventDisableTiming));
    DDPM_CUDA_TRY(cudaEventCreateWithFlags(&device->staged, cudaEventDisableTiming));
    DDPM_CUDA_TRY(cudaEventCreateWithFlags(&device->taken, cudaEventDisableTiming));
    void *ring = NULL;
    DDPM_TRY(ddpm_cuda_allocate(&device->base, DDPM_CUDA_SLOTS * DDPM_CUDA_SLOT_BYTES,
                                "the ring of uploads", &ring));
    device->ring = (unsigned char *)ring;
    /* Zeroed on `compute`, written by `copy`, which does not wait for that. */
    return ddpm_cuda_synchronize(&device->base);
}

static bool is_plain(void)
{
    const char *graph = getenv("DDPM_CUDA_GRAPH");
    if (graph && *graph && strcmp(graph, "off") != 0 && strcmp(graph, "on") != 0)
        ddpm_log(DDPM_LOG_WARNING, "DDPM_CUDA_GRAPH: got \"%s\", want on or off", graph);
    return graph && !strcmp(graph, "off");
}

ddpm_status ddpm_cuda_open(const struct ddpm_device_options *options, struct ddpm_device **out)
{
    *out = NULL;
    int index = 0;
    DDPM_TRY(choose_device(options ? options->index : 0, &index));
    struct ddpm_cuda_device *device = (struct ddpm_cuda_device *)calloc(1, sizeof *device);
    if (!device)
        return ddpm_raise_memory(sizeof *device, "the CUDA device");
    device->index = index;
    device->base.threads = 1;
    device->base.preferred = DDPM_BF16;
    device->base.direct = options && options->direct;
    device->base.plain = is_plain();
    struct cudaDeviceProp properties;
    ddpm_status status = describe(device, &properties);
    if (status == DDPM_OK)
        status = make_streams(device);
    if (status == DDPM_OK)
        ddpm_cuda_choices_open(device, &properties);
    if (status != DDPM_OK) {
        ddpm_cuda_close(&device->base);
        return status;
    }
    *out = &device->base;
    return DDPM_OK;
}

void ddpm_cuda_close(struct ddpm_device *base)
{
    struct ddpm_cuda_device *device = own(base);
    if (!device)
        return;
    cudaSetDevice(device->index);
    if (device->compute)
        cudaStreamSynchronize(device->compute);
    if (device->snapshot)
        cudaStreamSynchronize(device->snapshot);
    ddpm_cuda_choices_close(device);
    for (int slot = 0; slot < DDPM_CUDA_SLOTS; ++slot) {
        if (device->arrived[slot])
            cudaEventDestroy(device->arrived[slot]);
        if (device->consumed[slot])
            cudaEventDestroy(device->consumed[slot]);
    }
    for (int i = 0; i < DDPM_LATE_DOWNLOADS; ++i)
        if (device->downloaded[i])
            cudaEventDestroy(device->downloaded[i]);
    if (device->staged)
        cudaEventDestroy(device->staged);
    if (device->taken)
        cudaEventDestroy(device->taken);
    ddpm_cuda_aside_close(device);
    if (device->ring)
        cudaFree(device->ring);
    if (device->staging)
        cudaFree(device->staging);
    if (device->copy)
        cudaStreamDestroy(device->copy);
    if (device->snapshot)
        cudaStreamDestroy(device->snapshot);
    if (device->compute)
        cudaStreamDestroy(device->compute);
    free(device);
}

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
    struct ddpm_cuda_device *device = own(base);
    *out = NULL;
    DDPM_CUDA_TRY(cudaSetDevice(device->index));
    void *memory = NULL;
    cudaError_t error = ddpm_cuda_malloc(device, &memory, bytes ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return ddpm_raise(DDPM_ERROR_MEMORY,
                          "%s: needs %.0f MiB of device memory, %.0f MiB are free; "
                          "take a smaller batch or less memory (--batch-size, --memory low)",
                          what, MIB(bytes), MIB(ddpm_cuda_available(base)));
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
    cudaSetDevice(own(device)->index);
    cudaStreamSynchronize(own(device)->compute);
    cudaFree(memory);
}

size_t ddpm_cuda_available(struct ddpm_device *device)
{
    size_t available = 0, total = 0;
    if (cudaSetDevice(own(device)->index) != cudaSuccess ||
        cudaMemGetInfo(&available, &total) != cudaSuccess)
        return 0;
    return available + own(device)->staging_bytes;
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

static ddpm_status refuse_recording(const struct ddpm_cuda_device *device, const char *what)
{
    if (!device->recording)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "%s while recording: do it before or after", what);
}

ddpm_status ddpm_cuda_upload(struct ddpm_device *base, void *to, const void *from, size_t bytes)
{
    struct ddpm_cuda_device *device = own(base);
    DDPM_TRY(refuse_recording(device, "upload"));
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
    struct ddpm_cuda_device *device = own(base);
    DDPM_TRY(refuse_recording(device, "download"));
    DDPM_CUDA_TRY_ON(device, cudaSetDevice(device->index));
    DDPM_CUDA_TRY_ON(device,
                     cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, device->compute));
    return ddpm_cuda_synchronize(base);
}

ddpm_status ddpm_cuda_download_begin(struct ddpm_device *base, void *to, const void *from,
                                     size_t bytes, uint64_t *ticket)
{
    struct ddpm_cuda_device *device = own(base);
    DDPM_TRY(refuse_recording(device, "download"));
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
    struct ddpm_cuda_device *device = own(base);
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
                          MIB(bytes), MIB(DDPM_CUDA_SPARE_BYTES), MIB(available));
    DDPM_CUDA_TRY(cudaMalloc(&memory, bytes));
    device->staging = (unsigned char *)memory;
    device->staging_bytes = bytes;
    return DDPM_OK;
}

ddpm_status ddpm_cuda_snapshot_begin(struct ddpm_device *base, void *const to[], void *const from[],
                                     int count, size_t bytes)
{
    struct ddpm_cuda_device *device = own(base);
    DDPM_TRY(refuse_recording(device, "snapshot"));
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
    struct ddpm_cuda_device *device = own(base);
    DDPM_CUDA_TRY(cudaSetDevice(device->index));
    return ddpm_cuda_check(cudaEventSynchronize(device->taken), "a copy to the host");
}

ddpm_status ddpm_cuda_copy(struct ddpm_device *base, void *to, const void *from, size_t bytes)
{
    DDPM_CUDA_TRY_ON(own(base), cudaSetDevice(own(base)->index));
    DDPM_CUDA_TRY_ON(
        own(base), cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, own(base)->compute));
    return DDPM_OK;
}

ddpm_status ddpm_cuda_zero(struct ddpm_device *base, void *to, size_t bytes)
{
    DDPM_CUDA_TRY_ON(own(base), cudaSetDevice(own(base)->index));
    DDPM_CUDA_TRY_ON(own(base), cudaMemsetAsync(to, 0, bytes, own(base)->compute));
    return DDPM_OK;
}

ddpm_status ddpm_cuda_synchronize(struct ddpm_device *base)
{
    DDPM_CUDA_TRY(cudaSetDevice(own(base)->index));
    return ddpm_cuda_check_kernels(own(base), cudaStreamSynchronize(own(base)->compute));
}

ddpm_status ddpm_cuda_record_begin(struct ddpm_device *base)
{
    struct ddpm_cuda_device *device = own(base);
    DDPM_TRY(refuse_recording(device, "record"));
    DDPM_CUDA_TRY_ON(device, cudaSetDevice(device->index));
    DDPM_CUDA_TRY_ON(device,
                     cudaStreamBeginCapture(device->compute, cudaStreamCaptureModeThreadLocal));
    device->recording = true;
    device->aside_count = 0;
    return DDPM_OK;
}

ddpm_status ddpm_cuda_record_end(struct ddpm_device *base, void **recording)
{
    struct ddpm_cuda_device *device = own(base);
    *recording = NULL;
    if (!device->recording)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "the end of a recording that was not begun");
    device->recording = false;
    device->aside_count = 0;
    cudaGraph_t graph = NULL;
    DDPM_CUDA_TRY(cudaStreamEndCapture(device->compute, &graph));
    cudaGraphExec_t executable = NULL;
    cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    DDPM_CUDA_TRY(error);
    *recording = executable;
    return DDPM_OK;
}

ddpm_status ddpm_cuda_replay(struct ddpm_device *base, void *recording)
{
    DDPM_CUDA_TRY_ON(own(base), cudaSetDevice(own(base)->index));
    own(base)->replayed = true;
    DDPM_CUDA_TRY_ON(own(base), cudaGraphLaunch((cudaGraphExec_t)recording, own(base)->compute));
    return DDPM_OK;
}

void ddpm_cuda_release_recording(struct ddpm_device *base, void *recording)
{
    if (!recording)
        return;
    cudaSetDevice(own(base)->index);
    cudaStreamSynchronize(own(base)->compute);
    cudaGraphExecDestroy((cudaGraphExec_t)recording);
}

void ddpm_cuda_queue(struct ddpm_device *base, void **queue, int *index)
{
    *queue = own(base)->compute;
    *index = own(base)->index;
}

ddpm_status ddpm_cuda_allocate_host(struct ddpm_device *base, size_t bytes, void **out)
{
    *out = NULL;
    DDPM_CUDA_TRY(cudaSetDevice(own(base)->index));
    return ddpm_cuda_check(cudaMallocHost(out, bytes ? bytes : 1), "pinned host memory");
}

void ddpm_cuda_release_host(struct ddpm_device *base, void *memory)
{
    if (!memory)
        return;
    cudaSetDevice(own(base)->index);
    cudaFreeHost(memory);
}

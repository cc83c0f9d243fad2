/* The CUDA device: opening, streams, and recording through CUDA graphs. Memory and copies are in
 * memory.cu.
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
             properties.name, DDPM_MIB(properties.totalGlobalMem));
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
        ddpm_cuda_choices_open(device, &properties, options ? options->threads : 0);
    if (status != DDPM_OK) {
        ddpm_cuda_close(&device->base);
        return status;
    }
    *out = &device->base;
    return DDPM_OK;
}

void ddpm_cuda_close(struct ddpm_device *base)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
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

ddpm_status ddpm_cuda_synchronize(struct ddpm_device *base)
{
    DDPM_CUDA_TRY(cudaSetDevice(ddpm_cuda_own(base)->index));
    return ddpm_cuda_check_kernels(ddpm_cuda_own(base),
                                   cudaStreamSynchronize(ddpm_cuda_own(base)->compute));
}

ddpm_status ddpm_cuda_refuse_recording(const struct ddpm_cuda_device *device, const char *what)
{
    if (!device->recording)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "%s while recording: do it before or after", what);
}

ddpm_status ddpm_cuda_record_begin(struct ddpm_device *base)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
    DDPM_TRY(ddpm_cuda_refuse_recording(device, "record"));
    DDPM_CUDA_TRY_ON(device, cudaSetDevice(device->index));
    DDPM_CUDA_TRY_ON(device,
                     cudaStreamBeginCapture(device->compute, cudaStreamCaptureModeThreadLocal));
    device->recording = true;
    device->aside_count = 0;
    return DDPM_OK;
}

ddpm_status ddpm_cuda_record_end(struct ddpm_device *base, void **recording)
{
    struct ddpm_cuda_device *device = ddpm_cuda_own(base);
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
    DDPM_CUDA_TRY_ON(ddpm_cuda_own(base), cudaSetDevice(ddpm_cuda_own(base)->index));
    ddpm_cuda_own(base)->replayed = true;
    DDPM_CUDA_TRY_ON(ddpm_cuda_own(base),
                     cudaGraphLaunch((cudaGraphExec_t)recording, ddpm_cuda_own(base)->compute));
    return DDPM_OK;
}

void ddpm_cuda_release_recording(struct ddpm_device *base, void *recording)
{
    if (!recording)
        return;
    cudaSetDevice(ddpm_cuda_own(base)->index);
    cudaStreamSynchronize(ddpm_cuda_own(base)->compute);
    cudaGraphExecDestroy((cudaGraphExec_t)recording);
}

void ddpm_cuda_queue(struct ddpm_device *base, void **queue, int *index)
{
    *queue = ddpm_cuda_own(base)->compute;
    *index = ddpm_cuda_own(base)->index;
}

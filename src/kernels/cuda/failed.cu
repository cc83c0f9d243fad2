/* Errors that say what failed: finding a device, or which kernel.
 *
 * If a kernel reads memory that it must not read, for example, the next call reports it, and so
 * does every call after that. So the last launches are remembered, and forgotten once the stream
 * has been waited for without an error. With CUDA_LAUNCH_BLOCKING=1 a launch reports its own
 * kernel. */
#include "kernels/cuda/failed.cuh"

#include <stdio.h>
#include <stdlib.h>

#define EXACTLY "CUDA_LAUNCH_BLOCKING=1 DDPM_CUDA_GRAPH=off say which"

bool ddpm_cuda_lost(cudaError_t error)
{
    switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
        return true;
    default:
        return false;
    }
}

ddpm_status ddpm_cuda_no_device(cudaError_t error)
{
    int driver = 0;
    (void)cudaGetLastError();
    /* CUDA reports a missing driver as one of version 0, which is too old. */
    if (error == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess &&
        driver == 0)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "no CUDA device: the plug-in is installed, but NVIDIA's driver "
                          "(libcuda.so.1) is not");
    return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "no CUDA device: %s", cudaGetErrorString(error));
}

void ddpm_cuda_note(const struct ddpm_call *call)
{
    struct ddpm_cuda_device *device = ddpm_cuda_device_of(call);
    struct ddpm_cuda_launch *launch =
        &device->launches[device->launch_count++ % DDPM_CUDA_LAUNCHES];
    launch->op = call->op;
    snprintf(launch->label, sizeof launch->label, "%s", call->label ? call->label : "?");
}

static bool is_blocking(void)
{
    const char *blocking = getenv("CUDA_LAUNCH_BLOCKING");
    return blocking && !strcmp(blocking, "1");
}

/* "conv2d of downs.0.1, group_norm of downs.0.2", newest first. */
static void list_launches(const struct ddpm_cuda_device *device, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < device->launch_count && i < DDPM_CUDA_LAUNCHES && used < bytes; ++i) {
        const struct ddpm_cuda_launch *launch =
            &device->launches[(device->launch_count - 1 - i) % DDPM_CUDA_LAUNCHES];
        used += (size_t)snprintf(text + used, bytes - used, "%s%s of %s", i ? ", " : "",
                                 ddpm_op_info[launch->op].name, launch->label);
    }
}

static ddpm_status blame(const struct ddpm_cuda_device *device, cudaError_t error)
{
    char launches[DDPM_CUDA_LAUNCHES * 128];
    const char *text = cudaGetErrorString(error), *name = cudaGetErrorName(error);
    if (device->replayed)
        return ddpm_raise(DDPM_ERROR_DEVICE,
                          "CUDA: %s (%s) in a kernel of a recorded step; " EXACTLY, text, name);
    list_launches(device, launches, sizeof launches);
    if (device->launch_count == 0)
        return ddpm_raise(DDPM_ERROR_DEVICE, "CUDA: %s (%s), but not in one of our kernels",
                          text, name);
    if (device->launch_count == 1)
        return ddpm_raise(DDPM_ERROR_DEVICE, "CUDA: %s (%s) in the kernel of %s", text, name,
                          launches);
    return ddpm_raise(DDPM_ERROR_DEVICE,
                      "CUDA: %s (%s) in one of the last %u kernels, the newest %s; " EXACTLY, text,
                      name, device->launch_count, launches);
}

ddpm_status ddpm_cuda_launch_failed(const struct ddpm_call *call, cudaError_t error)
{
    struct ddpm_cuda_device *device = ddpm_cuda_device_of(call);
    const char *label = call->label ? call->label : "?", *op = ddpm_op_info[call->op].name;
    (void)cudaGetLastError();
    if (!ddpm_cuda_lost(error))
        return ddpm_raise(DDPM_ERROR_DEVICE, "%s: the kernel of %s did not start: %s", label, op,
                          cudaGetErrorString(error));
    if (is_blocking())
        return ddpm_raise(DDPM_ERROR_DEVICE, "CUDA: %s (%s) in the kernel of %s of %s",
                          cudaGetErrorString(error), cudaGetErrorName(error), op, label);
    return blame(device, error);
}

ddpm_status ddpm_cuda_check_on(struct ddpm_cuda_device *device, cudaError_t error, const char *what)
{
    if (!ddpm_cuda_lost(error))
        return ddpm_cuda_check(error, what);
    (void)cudaGetLastError();
    return blame(device, error);
}

ddpm_status ddpm_cuda_check_kernels(struct ddpm_cuda_device *device, cudaError_t error)
{
    if (error == cudaSuccess) {
        device->launch_count = 0;
        device->replayed = false;
    }
    return ddpm_cuda_check_on(device, error, "the kernels before");
}

/* What every file of the CUDA backend shares: the device, checked calls, checked launches.
 *
 * The files are written in C style. nvcc compiles them as C++, because kernels need that; templates
 * are only used for element types and tile sizes. Kernels are static __global__ functions beside
 * the run() of their row; the rows are declared in rows.cuh and listed in cuda.cu.
 *
 * Nothing here adds floats with atomics: every reduction keeps one partial result per block in
 * scratch memory and sums them in a fixed order, so a step gives the same bits every time. */
#ifndef DDPM_KERNELS_CUDA_CUDA_CUH
#define DDPM_KERNELS_CUDA_CUDA_CUH

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

extern "C" {
#include "kernels/backend.h"
}

typedef __nv_bfloat16 bf16;

/* Uploads pass through a ring of slots on the device, so that a copy never waits for kernels. */
#define DDPM_CUDA_SLOTS 16
#define DDPM_CUDA_SLOT_BYTES ((size_t)4 << 20)

/* What a snapshot leaves free on the device: CUDA allocates memory itself, for kernels and graphs
 * that it loads later, and cannot make us give up ours. */
#define DDPM_CUDA_SPARE_BYTES ((size_t)256 << 20)

struct ddpm_cuda_choices;

/* A kernel launched in the compute stream. */
struct ddpm_cuda_launch {
    char label[64]; /* the layer */
    enum ddpm_op op;
};
#define DDPM_CUDA_LAUNCHES 4 /* that are remembered */

struct ddpm_cuda_device {
    struct ddpm_device base;
    int index;
    int multiprocessors;
    bool recording;
    bool wgmma; /* convolutions may use conv_wgmma.cu, conv_weight_wgmma.cu */
    cudaStream_t compute, copy, snapshot;
    unsigned char *ring;
    cudaEvent_t arrived[DDPM_CUDA_SLOTS], consumed[DDPM_CUDA_SLOTS];
    unsigned next_slot;
    cudaEvent_t downloaded[DDPM_LATE_DOWNLOADS];
    uint64_t downloads_begun;
    unsigned char *staging; /* of snapshots; NULL: none yet, or given to an allocation */
    size_t staging_bytes;
    cudaEvent_t staged, taken; /* staging holds the snapshot; it has left */
    cudaStream_t aside;        /* swapped with `compute` while calls go aside */
    cudaEvent_t forked, asides[2];
    unsigned aside_count; /* pairs of aside_begin and aside_end */
    struct ddpm_cuda_choices *choices; /* of convolution kernels, see choose.cuh */
    struct ddpm_cuda_launch launches[DDPM_CUDA_LAUNCHES];
    unsigned launch_count; /* since `compute` was last waited for */
    bool replayed;         /* since then */
};

/* DDPM_OK, or DDPM_ERROR_DEVICE (DDPM_ERROR_MEMORY) with `what` and CUDA's text. */
ddpm_status ddpm_cuda_check(cudaError_t error, const char *what);

/* failed.cu notes what is about to be launched. CUDA may report a failed kernel only in a later
 * call; the note then tells which kernel it was. After that ddpm_cuda_lost() is true: nothing on
 * the device works any more. */
void ddpm_cuda_note(const struct ddpm_call *call);
bool ddpm_cuda_lost(cudaError_t error);
ddpm_status ddpm_cuda_launch_failed(const struct ddpm_call *call, cudaError_t error);
ddpm_status ddpm_cuda_check_on(struct ddpm_cuda_device *device, cudaError_t error,
                               const char *what);
/* The same, after waiting for `compute`. */
ddpm_status ddpm_cuda_check_kernels(struct ddpm_cuda_device *device, cudaError_t error);

#define DDPM_CUDA_TRY_ON(device, expression)                                                       \
    DDPM_TRY(ddpm_cuda_check_on(device, (expression), #expression))

/* cudaMalloc on this device, which gives up the staging memory of snapshots if it must. */
cudaError_t ddpm_cuda_malloc(struct ddpm_cuda_device *device, void **out, size_t bytes);

#define DDPM_CUDA_TRY(expression) DDPM_TRY(ddpm_cuda_check((expression), #expression))

static inline struct ddpm_cuda_device *ddpm_cuda_device_of(const struct ddpm_call *call)
{
    return (struct ddpm_cuda_device *)call->device;
}

static inline int64_t ddpm_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Launch a kernel in the compute stream. If CUDA refuses, the error says which layer it was. */
template <typename... Parameters, typename... Arguments>
ddpm_status ddpm_cuda_launch(const struct ddpm_call *call, void (*kernel)(Parameters...), dim3 grid,
                             dim3 block, size_t shared_bytes, Arguments... arguments)
{
    struct ddpm_cuda_device *device = ddpm_cuda_device_of(call);
    cudaError_t error = cudaSetDevice(device->index);
    if (error == cudaSuccess && shared_bytes > (48u << 10))
        error = cudaFuncSetAttribute(
            (const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
    if (error == cudaSuccess) {
        ddpm_cuda_note(call);
        cudaLaunchConfig_t config = {};
        config.gridDim = grid;
        config.blockDim = block;
        config.dynamicSmemBytes = shared_bytes;
        config.stream = device->compute;
        error = cudaLaunchKernelEx(&config, kernel, (Parameters)arguments...);
    }
    if (error == cudaSuccess)
        return DDPM_OK;
    return ddpm_cuda_launch_failed(call, error);
}

#endif

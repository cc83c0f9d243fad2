/* A small stand-in for CUDA, so that the kernels' logic can be tested without a GPU.
 *
 * A C++ compiler compiles the .cu files against this header. The threads of a block are fibers that
 * run one after another, in an order that changes at every barrier, so a missing barrier shows.
 * Shuffles and tensor-core instructions wait for their whole warp; cp.async copies as late as
 * allowed. Streams run immediately, except copies to the host and streams of the lowest priority,
 * which run as late as allowed; a captured stream is a list of closures. Nothing here says anything
 * about speed, about races between blocks, or about what a real device rounds differently.
 * DDPM_EMULATED_MEMORY sets the bytes of device memory, instead of 8 GiB; it is read at every
 * allocation. DDPM_EMULATED_CAPABILITY is the major number of the device's compute capability: 8.
 */
#ifndef DDPM_EMULATOR_CUDA_RUNTIME_H
#define DDPM_EMULATOR_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <functional>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

using std::max;
using std::min;

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

struct __attribute__((aligned(8))) float2 {
    float x, y;
};
struct __attribute__((aligned(16))) float4 {
    float x, y, z, w;
};
struct __attribute__((aligned(8))) uint2 {
    unsigned x, y;
};
struct __attribute__((aligned(16))) uint4 {
    unsigned x, y, z, w;
};

static inline float2 make_float2(float x, float y)
{
    return {x, y};
}

static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

static inline float __fmul_rn(float x, float y)
{
    return x * y;
}

static inline unsigned __float_as_uint(float value)
{
    unsigned word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static inline float __uint_as_float(unsigned word)
{
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* ---- inside a kernel ---- */

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

/* What a lane contributes to an instruction of its warp. */
struct emulator_collective {
    enum kind { SHUFFLE_XOR, SHUFFLE_DOWN, LDMATRIX, LDMATRIX_TRANSPOSED, MMA } kind;
    const void *in[2]; /* value; or the address of a matrix row; or fragments a and b */
    void *out;
    int parameter; /* of a shuffle: lanes; its value has 8 bytes */
};

void emulator_wait_block(void);
void emulator_wait_warp(struct emulator_collective *lane);
unsigned char *emulator_shared(void);
void emulator_copy_async(void *to, const void *from, bool here);
void emulator_copy_commit(void);
void emulator_copy_wait(int pending);
void emulator_defer(std::function<void()> work); /* of this thread, until it asks for it */
void emulator_run_deferred(void);

static inline void __syncthreads(void)
{
    emulator_wait_block();
}

template <class T>
static inline T emulator_shuffle(enum emulator_collective::kind kind, T value, int lanes)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    uint64_t in = 0, out = 0;
    memcpy(&in, &value, sizeof value);
    struct emulator_collective lane = {kind, {&in, NULL}, &out, lanes};
    emulator_wait_warp(&lane);
    memcpy(&value, &out, sizeof value);
    return value;
}

template <class T> static inline T __shfl_xor_sync(unsigned, T value, int lanes)
{
    return emulator_shuffle(emulator_collective::SHUFFLE_XOR, value, lanes);
}

template <class T> static inline T __shfl_down_sync(unsigned, T value, int lanes)
{
    return emulator_shuffle(emulator_collective::SHUFFLE_DOWN, value, lanes);
}

/* ---- the runtime's functions ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorECCUncorrectable = 214,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchTimeout = 702,
    cudaErrorAssert = 710,
    cudaErrorHardwareStackError = 714,
    cudaErrorIllegalInstruction = 715,
    cudaErrorMisalignedAddress = 716,
    cudaErrorInvalidAddressSpace = 717,
    cudaErrorInvalidPc = 718,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureInvalidated = 901
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum { cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2 };

typedef struct emulator_stream *cudaStream_t;
typedef struct emulator_event *cudaEvent_t;
typedef struct emulator_graph *cudaGraph_t;
typedef struct emulator_graph *cudaGraphExec_t;

struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t totalGlobalMem;
};

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
};

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int index);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int index);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaMalloc(void **out, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMallocHost(void **out, size_t bytes);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority);
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value);

cudaError_t emulator_launch(const struct cudaLaunchConfig_t *config, std::function<void()> kernel);

template <typename... Parameters, typename... Arguments>
static inline cudaError_t cudaLaunchKernelEx(const struct cudaLaunchConfig_t *config,
                                             void (*kernel)(Parameters...), Arguments... arguments)
{
    return emulator_launch(config, [=] { kernel(arguments...); });
}

#endif

/* The emulated runtime: memory is host memory, streams run at once, a capture is a list. Copies to
 * the host wait until something is waited for, or more is put into their stream: what they read may
 * have been overwritten by then, as on a device whose streams were not ordered. */
#include "block.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <memory>
#include <mutex>
#include <vector>

struct emulator_stream {
    bool lazy; /* all its work is late, not only copies to the host */
    bool captured; /* it has been told to wait for the stream that is being captured */
    int number;
    int kernels; /* that it has been told to wait for, of all that have run */
    size_t begun; /* pieces of late work so far */
    std::vector<std::function<cudaError_t()>> late;
};

struct emulator_event {
    double seconds;
    emulator_stream *stream; /* that it was recorded in last */
    size_t begun;            /* by then */
    int kernels;             /* that had run by then */
};

struct emulator_graph {
    std::vector<std::function<cudaError_t()>> work;
};

static std::vector<emulator_stream *> streams;
static emulator_stream *captured;
static emulator_graph *capture;

/* Guards `late` and `used`: threads other than the device's wait for copies to the host. */
static std::mutex lock;

/* Run the stream's work up to piece `until`; pieces that belong to the capture are recorded there
 * instead. False if a piece waits for another process: it stays the first. */
static bool try_late_until(emulator_stream *stream, size_t until)
{
    std::lock_guard<std::mutex> guard(lock);
    size_t done = stream->begun - stream->late.size(), count = until > done ? until - done : 0;
    size_t i = 0;
    for (; i < count; ++i)
        if (stream->captured)
            capture->work.push_back(stream->late[i]);
        else if (stream->late[i]() == cudaErrorNotReady)
            break;
    stream->late.erase(stream->late.begin(), stream->late.begin() + (ptrdiff_t)i);
    return i == count;
}

static void run_late_until(emulator_stream *stream, size_t until)
{
    const struct timespec pause = {0, 100000};
    while (!try_late_until(stream, until))
        nanosleep(&pause, NULL);
}

/* For tests: the kernel that fails, counted from here (1: the next; 0: none), and captures that end
 * in an error. A kernel that failed is reported by every wait and every launch, until a test sets
 * emulator_lost to 0. */
#define EXPORT extern "C" __attribute__((visibility("default")))
EXPORT int emulator_fails_in, emulator_lost, emulator_refuses_capture;
int emulator_fails_in, emulator_lost, emulator_refuses_capture;

/* For the stand-in for NCCL: kernels run so far; the streams' numbers, in the order in which they
 * were made; and work for a stream, which is tried whenever something waits for it, until it
 * returns 0. */
EXPORT int emulator_kernels;
int emulator_kernels;
EXPORT int emulator_stream_number(void *stream);
EXPORT int emulator_stream_waited_for(void *stream); /* kernels */
EXPORT void emulator_add_work(void *stream, int (*work)(void *argument), void *argument);

static cudaError_t lost(void)
{
    return emulator_lost ? cudaErrorIllegalAddress : cudaSuccess;
}

static void run_late(emulator_stream *stream)
{
    run_late_until(stream, stream->begun);
}

static void add_late(emulator_stream *stream, std::function<cudaError_t()> work)
{
    std::lock_guard<std::mutex> guard(lock);
    stream->late.push_back(work);
    ++stream->begun;
}

/* Now, or later if the stream is lazy or being captured. */
static cudaError_t submit(cudaStream_t stream, std::function<cudaError_t()> work)
{
    if (stream && stream->lazy) {
        add_late(stream, work);
        return cudaSuccess;
    }
    if (!stream || stream != captured) {
        if (!stream || try_late_until(stream, stream->begun))
            return work();
        add_late(stream, work);
        return cudaSuccess;
    }
    capture->work.push_back(work);
    return cudaSuccess;
}

void emulator_add_work(void *stream, int (*work)(void *argument), void *argument)
{
    add_late((emulator_stream *)stream,
             [=] { return work(argument) ? cudaErrorNotReady : cudaSuccess; });
}

/* For the stand-in for cuDNN: work for a stream, as often as it is recorded and replayed. */
EXPORT void emulator_submit(void *stream, void (*work)(void *argument),
                            void (*release)(void *argument), void *argument)
{
    const std::shared_ptr<void> held(argument, release);
    (void)submit((cudaStream_t)stream, [=] {
        work(held.get());
        return cudaSuccess;
    });
}

int emulator_stream_waited_for(void *stream)
{
    return ((emulator_stream *)stream)->kernels;
}

int emulator_stream_number(void *stream)
{
    return ((emulator_stream *)stream)->number;
}

cudaError_t emulator_launch(const struct cudaLaunchConfig_t *config, std::function<void()> kernel)
{
    struct cudaLaunchConfig_t copy = *config;
    const char *blocking = getenv("CUDA_LAUNCH_BLOCKING");
    if (emulator_lost)
        return lost();
    cudaError_t error = submit(config->stream, [copy, kernel] {
        if (emulator_fails_in > 0 && --emulator_fails_in == 0)
            emulator_lost = 1;
        if (emulator_lost)
            return cudaSuccess;
        ++emulator_kernels;
        return emulator_run_grid(&copy, kernel) ? cudaSuccess : cudaErrorInvalidValue;
    });
    return blocking && !strcmp(blocking, "1") && emulator_lost ? lost() : error;
}

/* DDPM_EMULATED_DEVICES: this many, all alike; "none": no driver is installed. */
static int device_count()
{
    const char *count = getenv("DDPM_EMULATED_DEVICES");
    return count ? atoi(count) : 1;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    const char *devices = getenv("DDPM_EMULATED_DEVICES");
    *count = device_count();
    return devices && !strcmp(devices, "none") ? cudaErrorInsufficientDriver : cudaSuccess;
}

cudaError_t cudaSetDevice(int index)
{
    return index >= 0 && index < device_count() ? cudaSuccess : cudaErrorInvalidValue;
}

/* DDPM_EMULATED_OPENED: a file that gets a line with the device's number. */
static void note_opened(int index)
{
    const char *path = getenv("DDPM_EMULATED_OPENED");
    FILE *file = path ? fopen(path, "a") : nullptr;
    if (!file)
        return;
    fprintf(file, "%d\n", index);
    fclose(file);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int index)
{
    note_opened(index);
    *properties = {};
    snprintf(properties->name, sizeof properties->name, "emulated device");
    const char *capability = getenv("DDPM_EMULATED_CAPABILITY");
    properties->major = capability ? atoi(capability) : 8;
    properties->multiProcessorCount = 3;
    properties->totalGlobalMem = (size_t)8 << 30;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess ? "no error" : "error of the emulated device";
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}

static size_t used;

static size_t memory_of_device(void)
{
    const char *bytes = getenv("DDPM_EMULATED_MEMORY");
    return bytes ? (size_t)strtoull(bytes, NULL, 10) : (size_t)8 << 30;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    std::lock_guard<std::mutex> guard(lock);
    bytes = (bytes + 255) / 256 * 256;
    if (bytes > memory_of_device() || used > memory_of_device() - bytes)
        return cudaErrorMemoryAllocation;
    *out = aligned_alloc(256, bytes);
    if (!*out)
        return cudaErrorMemoryAllocation;
    memset(*out, 0xff, bytes);
    used += malloc_usable_size(*out);
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
    std::lock_guard<std::mutex> guard(lock);
    if (memory)
        used -= malloc_usable_size(memory);
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    bytes = (bytes + 255) / 256 * 256;
    *out = aligned_alloc(256, bytes);
    if (!*out)
        return cudaErrorMemoryAllocation;
    memset(*out, 0xff, bytes);
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *memory)
{
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    std::lock_guard<std::mutex> guard(lock);
    *total = memory_of_device();
    *available = used < *total ? *total - used : 0;
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const auto work = [=] {
        memcpy(to, from, bytes);
        return cudaSuccess;
    };
    if (emulator_lost)
        return lost();
    if (kind != cudaMemcpyDeviceToHost || !stream || stream == captured)
        return submit(stream, work);
    add_late(stream, work);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    return submit(stream, [=] {
        memset(to, value, bytes);
        return cudaSuccess;
    });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    static int made;
    *out = new emulator_stream();
    (*out)->number = made++;
    streams.push_back(*out);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -1;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int priority)
{
    cudaError_t error = cudaStreamCreateWithFlags(out, flags);
    (*out)->lazy = priority == 0;
    return error;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    if (captured && stream == captured)
        return cudaErrorInvalidValue;
    run_late(stream);
    return lost();
}

cudaError_t cudaStreamQuery(cudaStream_t)
{
    return lost();
}

/* A stream that waits for a captured one is captured too. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    stream->kernels = event->kernels;
    if (captured && event->stream == captured && stream->lazy)
        stream->captured = true;
    if (captured && stream == captured && event->stream->lazy && !event->stream->captured)
        return cudaErrorInvalidValue; /* what was before the capture cannot be waited for */
    return cudaEventSynchronize(event);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
    if (captured)
        return cudaErrorInvalidValue;
    captured = stream;
    capture = new emulator_graph();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    if (stream != captured)
        return cudaErrorInvalidValue;
    bool joined = true; /* all work of the branches has been waited for */
    for (emulator_stream *other : streams) {
        if (other->captured && !other->late.empty())
            joined = false, other->late.clear();
        other->captured = false;
    }
    captured = NULL;
    *out = joined ? capture : NULL;
    if (!joined) {
        delete capture;
        capture = NULL;
        return cudaErrorInvalidValue;
    }
    capture = NULL;
    if (!emulator_refuses_capture)
        return cudaSuccess;
    delete *out;
    *out = NULL;
    return cudaErrorStreamCaptureInvalidated;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new emulator_event();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    struct timespec time;
    event->stream = stream;
    event->begun = stream->begun;
    event->kernels = emulator_kernels;
    clock_gettime(CLOCK_MONOTONIC, &time);
    event->seconds = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end)
{
    *milliseconds = (float)(1e3 * (end->seconds - begin->seconds));
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 0;
    return cudaSuccess;
}

/* Runs more than what was queued when the event was recorded, but a real device may be that fast.
 */
cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->stream)
        run_late_until(event->stream, event->stream->lazy ? event->begun : event->stream->begun);
    return lost();
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    if (event->stream && !try_late_until(event->stream, event->begun))
        return cudaErrorNotReady;
    return lost();
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned)
{
    *out = new emulator_graph(*graph);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    run_late(stream);
    for (const std::function<cudaError_t()> &work : graph->work) {
        cudaError_t error = work();
        if (error != cudaSuccess)
            return error;
    }
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int)
{
    return cudaSuccess;
}

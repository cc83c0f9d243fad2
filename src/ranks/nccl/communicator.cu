/* Joins ranks through NCCL, and sums gradients in device memory.
 *
 * The communicator is non-blocking: we must be able to give up on a rank that never arrives. All
 * collectives are in one stream, in the same order on every rank: two communicators or streams
 * could deadlock.
 *
 * Sums are not captured into CUDA graphs. A captured collective ties the graph to the communicator,
 * and an abort must not interrupt a replay. The kernels before and after a sum are graphs of their
 * own (training/team_device.c). */
#include "ranks/nccl/communicator.cuh"

#include <stdio.h>
#include <string.h>

#include "core/clock.h"

struct ddpm_nccl_communicator ddpm_nccl_own;
static struct ddpm_nccl_communicator &own = ddpm_nccl_own;

ddpm_status ddpm_nccl_check_cuda(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return DDPM_OK;
    (void)cudaGetLastError(); /* or the next launch would report it again */
    return own.raise(DDPM_ERROR_DEVICE, "CUDA: %s (%s) in %s", cudaGetErrorString(error),
                     cudaGetErrorName(error), what);
}

/* NCCL's last error adds details, such as the address that did not answer. */
static ddpm_status check(ncclResult_t result, const char *what)
{
    if (result == ncclSuccess)
        return DDPM_OK;
    const char *detail = own.library.ncclGetLastError ? own.library.ncclGetLastError(own.comm) : "";
    const size_t length = detail ? strcspn(detail, "\n") : 0;
    return own.raise(DDPM_ERROR_IO, "NCCL: %s: %s%s%.*s", what,
                     own.library.ncclGetErrorString(result), length ? ": " : "", (int)length,
                     length ? detail : "");
}

ddpm_status ddpm_nccl_settle(ncclResult_t result, const char *what)
{
    const double end = ddpm_now() + own.timeout;
    while (result == ncclInProgress) {
        if (ddpm_now() > end)
            return own.raise(DDPM_ERROR_IO,
                             "NCCL: %s: no answer for %g seconds (rank-timeout) from other ranks",
                             what, own.timeout);
        ddpm_sleep(1e-4);
        const ncclResult_t asked = own.library.ncclCommGetAsyncError(own.comm, &result);
        if (asked != ncclSuccess)
            result = asked;
    }
    return check(result, what);
}

ddpm_status ddpm_nccl_look(void)
{
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = own.library.ncclCommGetAsyncError(own.comm, &result);
    return check(asked != ncclSuccess       ? asked
                 : result == ncclInProgress ? ncclSuccess
                                            : result,
                 "another rank or the network has failed");
}

ddpm_status ddpm_nccl_query(cudaEvent_t event, const char *what, bool *done)
{
    *done = false;
    DDPM_NCCL_TRY(ddpm_nccl_look());
    DDPM_NCCL_TRY(ddpm_nccl_check_cuda(cudaSetDevice(own.index), what));
    const cudaError_t error = cudaEventQuery(event);
    if (error == cudaErrorNotReady) {
        (void)cudaGetLastError();
        return DDPM_OK;
    }
    *done = error == cudaSuccess;
    return ddpm_nccl_check_cuda(error, what);
}

static ddpm_status load(void)
{
    if (own.loaded)
        return DDPM_OK;
    DDPM_NCCL_TRY(ddpm_nccl_load_library(&own.library, own.raise));
    own.loaded = true;
    return DDPM_OK;
}

static ddpm_status make_id(unsigned char id[DDPM_NCCL_ID_BYTES])
{
    ncclUniqueId made;
    memset(&made, 0, sizeof made);
    DDPM_NCCL_TRY(check(own.library.ncclGetUniqueId(&made), "making an id"));
    memcpy(id, &made, sizeof made);
    return DDPM_OK;
}

static ddpm_status choose_device(int wanted)
{
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
        (void)cudaGetLastError();
        return own.raise(DDPM_ERROR_UNSUPPORTED,
                         "option ranks: got nccl, but there is no CUDA device: %s",
                         error != cudaSuccess ? cudaGetErrorString(error) : "none found");
    }
    if (wanted >= count)
        return own.raise(DDPM_ERROR_ARGUMENT, "got CUDA device %d, want 0 to %d", wanted,
                         count - 1);
    own.index = wanted < 0 ? (-1 - wanted) % count : wanted;
    return ddpm_nccl_check_cuda(cudaSetDevice(own.index), "choosing a device");
}

static ddpm_status make_stream(void)
{
    int least = 0, greatest = 0;
    const char *what = "a stream for NCCL";
    /* The priority of the kernels: other ranks wait for what this one sends. */
    DDPM_NCCL_TRY(ddpm_nccl_check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest), what));
    DDPM_NCCL_TRY(ddpm_nccl_check_cuda(
        cudaStreamCreateWithPriority(&own.stream, cudaStreamNonBlocking, greatest), what));
    cudaEvent_t *const events[] = {&own.ready, &own.summed, &own.moved};
    for (cudaEvent_t *event : events)
        DDPM_NCCL_TRY(
            ddpm_nccl_check_cuda(cudaEventCreateWithFlags(event, cudaEventDisableTiming), what));
    return DDPM_OK;
}

static ddpm_status join(const unsigned char id[DDPM_NCCL_ID_BYTES], int index, int rank, int count,
                        double timeout)
{
    ncclUniqueId unique;
    ncclConfig_t config = {};
    DDPM_NCCL_TRY(choose_device(index));
    DDPM_NCCL_TRY(make_stream());
    memcpy(&unique, id, sizeof unique);
    config.size = sizeof config;
    config.magic = DDPM_NCCL_CONFIG_MAGIC;
    config.version = DDPM_NCCL_CONFIG_VERSION;
    config.blocking = 0;
    own.rank = rank;
    own.count = count;
    own.timeout = timeout;
    const ncclResult_t result =
        own.library.ncclCommInitRankConfig(&own.comm, count, unique, rank, &config);
    return check(result == ncclInProgress ? ncclSuccess : result, "joining the ranks");
}

static ddpm_status join_test(bool *done)
{
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = own.library.ncclCommGetAsyncError(own.comm, &result);
    *done = false;
    if (asked == ncclSuccess && result == ncclInProgress)
        return DDPM_OK;
    if (asked == ncclSuccess)
        *done = result == ncclSuccess;
    return check(asked != ncclSuccess ? asked : result,
                 result == ncclInvalidUsage ? "joining the ranks (each needs its own GPU)"
                                            : "joining the ranks");
}

static int device(void)
{
    return own.comm ? own.index : -1;
}

static const char *description(void)
{
    return own.library.description;
}

ddpm_status ddpm_nccl_follow(void *queue, const char *what)
{
    DDPM_NCCL_TRY(ddpm_nccl_check_cuda(cudaSetDevice(own.index), what));
    DDPM_NCCL_TRY(ddpm_nccl_check_cuda(cudaEventRecord(own.ready, (cudaStream_t)queue), what));
    return ddpm_nccl_check_cuda(cudaStreamWaitEvent(own.stream, own.ready, 0), what);
}

static ddpm_status sum(void *queue, float *values, size_t count)
{
    const char *what = "a sum of all ranks";
    DDPM_NCCL_TRY(ddpm_nccl_follow(queue, what));
    DDPM_NCCL_TRY(ddpm_nccl_settle(own.library.ncclAllReduce(values, values, count, ncclFloat32,
                                                             ncclSum, own.comm, own.stream),
                                   what));
    return ddpm_nccl_check_cuda(cudaEventRecord(own.summed, own.stream), what);
}

static ddpm_status sums_test(bool *done)
{
    return ddpm_nccl_query(own.summed, "the sums of all ranks", done);
}

static ddpm_status sums_join(void *queue)
{
    const char *what = "the sums of all ranks";
    DDPM_NCCL_TRY(ddpm_nccl_check_cuda(cudaSetDevice(own.index), what));
    return ddpm_nccl_check_cuda(cudaStreamWaitEvent((cudaStream_t)queue, own.summed, 0), what);
}

static void release(void)
{
    ddpm_nccl_release_stage();
    cudaEvent_t *const events[] = {&own.ready, &own.summed, &own.moved};
    for (cudaEvent_t *event : events) {
        if (*event)
            cudaEventDestroy(*event);
        *event = NULL;
    }
    if (own.stream)
        cudaStreamDestroy(own.stream);
    own.stream = NULL;
}

/* A communicator that has failed can only be aborted. */
static void leave(void)
{
    if (!own.comm)
        return;
    cudaSetDevice(own.index);
    if (ddpm_nccl_settle(own.library.ncclCommFinalize(own.comm), "parting") == DDPM_OK)
        (void)own.library.ncclCommDestroy(own.comm);
    else
        (void)own.library.ncclCommAbort(own.comm);
    own.comm = NULL;
    release();
}

/* Keep the stream and the events: queued work still waits for them. */
static void end_now(void)
{
    if (own.comm)
        (void)own.library.ncclCommAbort(own.comm);
    own.comm = NULL;
}

static struct ddpm_nccl make_table(void)
{
    struct ddpm_nccl table = {};
    table.load = load;
    table.make_id = make_id;
    table.join = join;
    table.join_test = join_test;
    table.device = device;
    table.description = description;
    table.begin = ddpm_nccl_begin;
    table.test = ddpm_nccl_test;
    table.sum = sum;
    table.sum_bf16 = ddpm_nccl_sum_bf16;
    table.sums_test = sums_test;
    table.sums_join = sums_join;
    table.leave = leave;
    table.abort = end_now;
    return table;
}

extern "C" DDPM_API const struct ddpm_nccl *ddpm_nccl(unsigned abi, ddpm_transport_raise *raise)
{
    static const struct ddpm_nccl table = make_table();
    if (abi != DDPM_NCCL_ABI || !raise)
        return NULL;
    own.raise = raise;
    return &table;
}

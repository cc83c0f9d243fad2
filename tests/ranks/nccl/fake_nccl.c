/* A stand-in for NCCL on the emulated device, for several processes on one machine. It has the part
 * of the interface that src/ranks/nccl uses.
 *
 * A communicator is a shared file with counters and one slot per rank. An operation takes one or
 * more rounds: every rank writes its slot, waits until all have written, and reads. It is queued in
 * the emulated stream, which runs it as late as possible. While ranks are missing it reports "not
 * ready". Like NCCL on a device it waits for them forever, until it is aborted.
 *
 * FAKE_NCCL_LOG=FILE    FILE.RANK gets a line per operation: its name, elements, stream, how many
 *                       kernels the device has run so far, and how many of them it waits for
 * FAKE_NCCL_FAULT=…     what fails, on rank FAKE_NCCL_RANK (0) only:
 *     id                making an id
 *     init              joining
 *     duplicate         joining, as if two ranks used the same GPU
 *     async:N           the communicator, after N operations have started
 *     call:N            the start of operation N
 *     pairs:N           the start of group N of sends and receives
 *     dies:N            the process is killed at the start of operation N */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fake_nccl_watch.h"
#include "ranks/nccl/library.h"

enum { MAX_RANKS = 8, MAX_GROUP = 2 * MAX_RANKS };
static const size_t slot_bytes = (size_t)8 << 20; /* what src/ranks/nccl sends at once */

/* The start of the shared file; the slots follow. */
struct shared {
    atomic_int joined;
    atomic_uint wrote[MAX_RANKS], read[MAX_RANKS]; /* rounds */
};

enum what { SUM, GATHER, BROADCAST, PAIRS };

struct part { /* a send or receive of a group */
    bool receives;
    void *data;
    size_t bytes;
    int peer;
};

struct operation {
    struct ncclComm *comm;
    enum what what;
    const void *send;
    void *receive;
    size_t bytes, done; /* of one rank */
    int root;
    struct part parts[MAX_GROUP];
    int part_count;
    bool written; /* this round's slot */
};

struct ncclComm {
    struct shared *shared;
    unsigned char *slots;
    int rank, count;
    unsigned round;
    int begun, pairs_begun;
    atomic_bool aborted;
    ncclResult_t failed;
    char path[DDPM_NCCL_ID_BYTES];
};

#define EXPORT __attribute__((visibility("default")))
#define DECLARE(name, parameters) EXPORT ncclResult_t name parameters;
DDPM_NCCL_FUNCTIONS(DECLARE)
#undef DECLARE
EXPORT const char *ncclGetErrorString(ncclResult_t result);
EXPORT const char *ncclGetLastError(ncclComm_t comm);

static int own_rank = -1;
static struct operation *group; /* the open one */
static bool group_open;
static void *group_stream;

static int fault(const char *name)
{
    return fake_nccl_fault(own_rank, name);
}

const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclInvalidUsage  ? "invalid usage"
           : result == ncclRemoteError ? "remote process exited or there was a network error"
                                       : "unhandled system error";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    (void)comm;
    return "a fault of the stand-in\nand more";
}

ncclResult_t ncclGetVersion(int *version)
{
    const char *old = getenv("FAKE_NCCL_VERSION");
    *version = old ? atoi(old) : 22703;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    struct timespec now;
    own_rank = 0;
    if (fault("id") >= 0)
        return ncclSystemError;
    clock_gettime(CLOCK_MONOTONIC, &now);
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "/tmp/fake-nccl-%ld-%ld", (long)getpid(),
             now.tv_nsec);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int count, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    const size_t bytes = sizeof(struct shared) + (size_t)count * slot_bytes;
    struct ncclComm *made = calloc(1, sizeof *made);
    own_rank = rank;
    *comm = made;
    if (!made || count > MAX_RANKS || config->magic != DDPM_NCCL_CONFIG_MAGIC || config->blocking)
        return ncclInvalidUsage;
    made->rank = rank;
    made->count = count;
    made->failed = fault("init") >= 0        ? ncclSystemError
                   : fault("duplicate") >= 0 ? ncclInvalidUsage
                                             : ncclSuccess;
    if (made->failed != ncclSuccess)
        return ncclInProgress; /* ncclCommGetAsyncError() returns the failure */
    const int file = open(id.internal, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
        return ncclSystemError;
    made->shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (made->shared == MAP_FAILED)
        return ncclSystemError;
    made->slots = (unsigned char *)(made->shared + 1);
    memcpy(made->path, id.internal, sizeof made->path);
    atomic_fetch_add(&made->shared->joined, 1);
    fake_nccl_note(made->rank, "join", (size_t)count, NULL);
    return ncclInProgress;
}

static void forget_file(struct ncclComm *comm)
{
    if (comm->path[0])
        unlink(comm->path);
    comm->path[0] = '\0';
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *result)
{
    const int after = fault("async");
    *result = comm->failed;
    if (after > 0 && comm->begun >= after)
        *result = ncclRemoteError;
    else if (comm->failed == ncclSuccess && atomic_load(&comm->shared->joined) < comm->count)
        *result = ncclInProgress;
    else if (comm->rank == 0)
        forget_file(comm); /* all have opened it */
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    fake_nccl_note(comm->rank, "finalize", 0, NULL);
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    fake_nccl_note(comm->rank, "destroy", 0, NULL);
    return ncclSuccess;
}

/* Keep the communicator: queued work still reads it. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    fake_nccl_note(comm->rank, "abort", 0, NULL);
    if (comm->rank == 0)
        forget_file(comm);
    atomic_store(&comm->aborted, true);
    return ncclSuccess;
}

/* ---- operations ---- */

static unsigned char *slot_of(const struct ncclComm *comm, int rank)
{
    return comm->slots + (size_t)rank * slot_bytes;
}

static bool all_reached(const struct ncclComm *comm, const atomic_uint *rounds, unsigned round)
{
    for (int rank = 0; rank < comm->count; ++rank)
        if (atomic_load(&rounds[rank]) < round)
            return false;
    return true;
}

/* A slot of PAIRS holds a piece for each peer, all of the same length. */
static size_t pair_bytes(const struct ncclComm *comm)
{
    return slot_bytes / (size_t)comm->count;
}

/* The data of a part that this round moves. */
static unsigned char *data_of(const struct operation *op, int part)
{
    return (unsigned char *)op->parts[part].data + op->done;
}

static void write_slot(const struct operation *op, size_t bytes)
{
    unsigned char *slot = slot_of(op->comm, op->comm->rank);
    if (op->what != PAIRS)
        memcpy(slot, (const unsigned char *)op->send + op->done, bytes);
    for (int i = 0; i < op->part_count; ++i)
        if (!op->parts[i].receives)
            memcpy(slot + (size_t)op->parts[i].peer * pair_bytes(op->comm), data_of(op, i), bytes);
}

static void add_slots(const struct operation *op, size_t bytes)
{
    float *sum = (float *)((unsigned char *)op->receive + op->done);
    for (size_t i = 0; i < bytes / sizeof(float); ++i) {
        float value = 0;
        for (int rank = 0; rank < op->comm->count; ++rank)
            value += ((const float *)slot_of(op->comm, rank))[i];
        sum[i] = value;
    }
}

static void read_slots(const struct operation *op, size_t bytes)
{
    const struct ncclComm *comm = op->comm;
    unsigned char *to = (unsigned char *)op->receive + op->done;
    switch (op->what) {
    case SUM:
        add_slots(op, bytes);
        break;
    case GATHER:
        for (int rank = 0; rank < comm->count; ++rank)
            memcpy(to + (size_t)rank * op->bytes, slot_of(comm, rank), bytes);
        break;
    case BROADCAST:
        memcpy(to, slot_of(comm, op->root), bytes);
        break;
    case PAIRS:
        for (int i = 0; i < op->part_count; ++i)
            if (op->parts[i].receives)
                memcpy(data_of(op, i),
                       slot_of(comm, op->parts[i].peer) + (size_t)comm->rank * pair_bytes(comm),
                       bytes);
        break;
    }
}

/* Do as much as possible. Returns 0 when everything is done. */
static int run(void *argument)
{
    struct operation *op = argument;
    struct ncclComm *comm = op->comm;
    struct shared *shared = comm->shared;
    const size_t most = op->what == PAIRS ? pair_bytes(comm) : slot_bytes;
    while (!atomic_load(&comm->aborted)) {
        const size_t left = op->bytes - op->done, bytes = left < most ? left : most;
        if (!op->written) {
            if (!all_reached(comm, shared->read, comm->round))
                return 1; /* others are still reading */
            write_slot(op, bytes);
            atomic_store(&shared->wrote[comm->rank], comm->round + 1);
            op->written = true;
        }
        if (!all_reached(comm, shared->wrote, comm->round + 1))
            return 1;
        read_slots(op, bytes);
        atomic_store(&shared->read[comm->rank], ++comm->round);
        op->written = false;
        op->done += bytes;
        if (op->done >= op->bytes)
            break;
    }
    free(op);
    return 0;
}

static ncclResult_t add(struct operation *made, const char *name, size_t count, void *stream)
{
    struct ncclComm *comm = made->comm;
    void (*add_work)(void *stream, int (*work)(void *argument), void *argument);
    struct operation *op = malloc(sizeof *op);
    if (!op)
        return ncclSystemError;
    *op = *made;
    fake_nccl_note(comm->rank, name, count, stream);
    ++comm->begun;
    comm->pairs_begun += op->what == PAIRS;
    if (fault("dies") == comm->begun)
        raise(SIGKILL);
    if (fault("call") == comm->begun ||
        (op->what == PAIRS && fault("pairs") == comm->pairs_begun)) {
        free(op);
        return ncclSystemError;
    }
    fake_nccl_find("emulator_add_work", &add_work);
    add_work(stream, run, op);
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, void *stream)
{
    struct operation op = {comm, SUM, send, receive, count * sizeof(float), 0, 0, {{0}}, 0, false};
    if (type != ncclFloat32 || operation != ncclSum)
        return ncclInvalidUsage;
    return add(&op, "allreduce", count, stream);
}

ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclComm_t comm, void *stream)
{
    struct operation op = {comm, GATHER, send, receive, count, 0, 0, {{0}}, 0, false};
    return type == ncclUint8 ? add(&op, "allgather", count, stream) : ncclInvalidUsage;
}

ncclResult_t ncclBroadcast(const void *send, void *receive, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, void *stream)
{
    struct operation op = {comm, BROADCAST, send, receive, count, 0, root, {{0}}, 0, false};
    return type == ncclUint8 ? add(&op, "broadcast", count, stream) : ncclInvalidUsage;
}

static ncclResult_t add_part(struct part part, ncclDataType_t type, ncclComm_t comm, void *stream)
{
    if (!group_open || type != ncclUint8 || (group && part.bytes != group->bytes))
        return ncclInvalidUsage;
    if (!group)
        group = calloc(1, sizeof *group);
    if (!group || group->part_count == MAX_GROUP)
        return ncclSystemError;
    group->comm = comm;
    group->bytes = part.bytes;
    group->parts[group->part_count++] = part;
    group_stream = stream;
    return ncclSuccess;
}

ncclResult_t ncclSend(const void *send, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, void *stream)
{
    void *data;
    memcpy(&data, &send, sizeof data);
    return add_part((struct part){false, data, count, peer}, type, comm, stream);
}

ncclResult_t ncclRecv(void *receive, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      void *stream)
{
    return add_part((struct part){true, receive, count, peer}, type, comm, stream);
}

ncclResult_t ncclGroupStart(void)
{
    group_open = true;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    ncclResult_t result = ncclSuccess;
    group_open = false;
    if (group) {
        group->what = PAIRS;
        result = add(group, "pairs", (size_t)group->part_count, group_stream);
    }
    free(group);
    group = NULL;
    return result;
}

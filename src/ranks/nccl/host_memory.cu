/* Collectives in host memory for ranks without MPI. Piece by piece, data goes from pinned memory to
 * the device, from there to the other ranks' devices, and back to the host. They carry control
 * messages and what ranks exchange at the start. Gradients only come this way if they are summed in
 * a fixed order (ranks/shares.c). */
#include "ranks/nccl/communicator.cuh"

#include <string.h>

static struct ddpm_nccl_communicator &own = ddpm_nccl_own;

/* How many pieces this rank sends and receives: one, one per rank, or none. */
static int pieces_out(const struct ddpm_collective_call *call)
{
    switch (call->what) {
    case DDPM_COLLECTIVE_EXCHANGE:
        return own.count;
    case DDPM_COLLECTIVE_COLLECT:
        return own.rank == call->root ? 0 : 1;
    case DDPM_COLLECTIVE_SPREAD:
        return own.rank == call->root ? own.count : 0;
    default:
        return 1;
    }
}

static int pieces_in(const struct ddpm_collective_call *call)
{
    switch (call->what) {
    case DDPM_COLLECTIVE_GATHER:
    case DDPM_COLLECTIVE_EXCHANGE:
        return own.count;
    case DDPM_COLLECTIVE_COLLECT:
        return own.rank == call->root ? own.count : 0;
    case DDPM_COLLECTIVE_SPREAD:
        return own.rank == call->root ? 0 : 1;
    default:
        return 1;
    }
}

static ddpm_status allocate_stage(void)
{
    struct ddpm_nccl_transfer *t = &own.transfer;
    const char *what = "memory to send from";
    void **const host[] = {(void **)&t->host_out, (void **)&t->host_in};
    void **const device[] = {(void **)&t->device_out, (void **)&t->device_in};
    if (t->device_in)
        return DDPM_OK;
    for (int i = 0; i < 2; ++i) {
        DDPM_NCCL_TRY(ddpm_nccl_check_cuda(cudaMallocHost(host[i], DDPM_NCCL_STAGE), what));
        DDPM_NCCL_TRY(ddpm_nccl_check_cuda(cudaMalloc(device[i], DDPM_NCCL_STAGE), what));
    }
    return DDPM_OK;
}

void ddpm_nccl_release_stage(void)
{
    struct ddpm_nccl_transfer *t = &own.transfer;
    cudaFreeHost(t->host_out);
    cudaFreeHost(t->host_in);
    cudaFree(t->device_out);
    cudaFree(t->device_in);
    memset(t, 0, sizeof *t);
}

/* This rank's first piece in host memory. */
static const unsigned char *source(const struct ddpm_nccl_transfer *t)
{
    if (t->call.send)
        return (const unsigned char *)t->call.send;
    return (const unsigned char *)t->call.receive +
           (t->call.what == DDPM_COLLECTIVE_GATHER ? (size_t)own.rank * t->bytes : 0);
}

static void pack(const struct ddpm_nccl_transfer *t)
{
    for (int i = 0; i < pieces_out(&t->call); ++i)
        memcpy(t->host_out + (size_t)i * t->piece, source(t) + (size_t)i * t->bytes + t->done,
               t->piece);
}

static void unpack(const struct ddpm_nccl_transfer *t)
{
    unsigned char *to = (unsigned char *)t->call.receive + t->done;
    for (int i = 0; i < pieces_in(&t->call); ++i)
        if (t->call.what != DDPM_COLLECTIVE_COLLECT || i != own.rank)
            memcpy(to + (size_t)i * t->bytes, t->host_in + (size_t)i * t->piece, t->piece);
}

/* Pieces between pairs of ranks. If there is a root, every other rank only communicates with it. */
static ncclResult_t send_pieces(const struct ddpm_nccl_transfer *t)
{
    const struct ddpm_nccl_library *library = &own.library;
    const int out = pieces_out(&t->call), in = pieces_in(&t->call), root = t->call.root;
    const bool rooted = t->call.what != DDPM_COLLECTIVE_EXCHANGE;
    ncclResult_t result = library->ncclGroupStart();
    for (int rank = 0; rank < own.count && result == ncclSuccess; ++rank) {
        const size_t place = (size_t)rank * t->piece;
        if (rooted && (rank == own.rank || (own.rank != root && rank != root)))
            continue;
        if (out)
            result = library->ncclSend(t->device_out + (out > 1 ? place : 0), t->piece, ncclUint8,
                                       rank, own.comm, own.stream);
        if (in && result == ncclSuccess)
            result = library->ncclRecv(t->device_in + (in > 1 ? place : 0), t->piece, ncclUint8,
                                       rank, own.comm, own.stream);
    }
    const ncclResult_t ended = library->ncclGroupEnd();
    return result == ncclSuccess ? ended : result;
}

static ncclResult_t send(const struct ddpm_nccl_transfer *t)
{
    const struct ddpm_nccl_library *library = &own.library;
    switch (t->call.what) {
    case DDPM_COLLECTIVE_SUM:
        return library->ncclAllReduce(t->device_out, t->device_in, t->piece / sizeof(float),
                                      ncclFloat32, ncclSum, own.comm, own.stream);
    case DDPM_COLLECTIVE_GATHER:
        return library->ncclAllGather(t->device_out, t->device_in, t->piece, ncclUint8, own.comm,
                                      own.stream);
    case DDPM_COLLECTIVE_BROADCAST:
        return library->ncclBroadcast(t->device_out, t->device_in, t->piece, ncclUint8,
                                      t->call.root, own.comm, own.stream);
    default:
        return send_pieces(t);
    }
}

static ddpm_status begin_piece(void)
{
    struct ddpm_nccl_transfer *t = &own.transfer;
    const char *what = "a message to other ranks";
    const size_t most = DDPM_NCCL_STAGE / (size_t)own.count / sizeof(float) * sizeof(float);
    const size_t left = t->bytes - t->done;
    t->piece = left < most ? left : most;
    const size_t out = (size_t)pieces_out(&t->call) * t->piece;
    const size_t in = (size_t)pieces_in(&t->call) * t->piece;
    pack(t);
    if (out)
        DDPM_NCCL_TRY(ddpm_nccl_check_cuda(
            cudaMemcpyAsync(t->device_out, t->host_out, out, cudaMemcpyHostToDevice, own.stream),
            what));
    DDPM_NCCL_TRY(ddpm_nccl_settle(send(t), what));
    if (in)
        DDPM_NCCL_TRY(ddpm_nccl_check_cuda(
            cudaMemcpyAsync(t->host_in, t->device_in, in, cudaMemcpyDeviceToHost, own.stream),
            what));
    return ddpm_nccl_check_cuda(cudaEventRecord(own.moved, own.stream), what);
}

ddpm_status ddpm_nccl_begin(const struct ddpm_collective_call *call)
{
    struct ddpm_nccl_transfer *t = &own.transfer;
    if (t->active)
        return own.raise(DDPM_ERROR_ARGUMENT, "NCCL: more than one collective at once");
    DDPM_NCCL_TRY(ddpm_nccl_check_cuda(cudaSetDevice(own.index), "a message to other ranks"));
    DDPM_NCCL_TRY(allocate_stage());
    t->call = *call;
    t->bytes = call->count * (call->what == DDPM_COLLECTIVE_SUM ? sizeof(float) : 1);
    t->done = t->piece = 0;
    t->active = true;
    return t->bytes ? begin_piece() : DDPM_OK;
}

ddpm_status ddpm_nccl_test(bool *done)
{
    struct ddpm_nccl_transfer *t = &own.transfer;
    bool moved = t->bytes == 0;
    *done = false;
    if (!moved)
        DDPM_NCCL_TRY(ddpm_nccl_query(own.moved, "a message to other ranks", &moved));
    if (!moved)
        return DDPM_OK;
    unpack(t);
    t->done += t->piece;
    *done = t->done >= t->bytes;
    t->active = !*done;
    return *done ? DDPM_OK : begin_piece();
}

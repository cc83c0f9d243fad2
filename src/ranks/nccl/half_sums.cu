/* Sums of gradients that travel as bf16: what ranks/sums.c does in host memory, with the same bits.
 *
 * Each rank rounds its gradients, gets one piece of everyone's, sums it in fp32 in the order of
 * ranks, and rounds the sum; the sums are gathered and widened. NCCL has a sum in bf16, but it
 * rounds at every rank that it passes.
 *
 * Everything is in the communicator's stream, so one sum is over before the next one begins, and
 * all of them use the same room. */
#include "ranks/nccl/communicator.cuh"

#include <cuda_bf16.h>

#define SUM_THREADS 256

typedef __nv_bfloat16 bf16;

/* What a thread reads or writes in one go. */
enum { VECTOR = DDPM_NCCL_VECTOR };
struct alignas(16) floats {
    float x[VECTOR];
};
struct alignas(16) halves {
    bf16 x[VECTOR];
};

static struct ddpm_nccl_communicator &own = ddpm_nccl_own;

/* The thread's first element. */
static __device__ inline size_t own_place()
{
    return ((size_t)blockIdx.x * SUM_THREADS + threadIdx.x) * VECTOR;
}

static __device__ inline struct halves round_vector(const struct floats *wide)
{
    struct halves rounded;
    for (int i = 0; i < VECTOR; ++i)
        rounded.x[i] = __float2bfloat16_rn(wide->x[i]);
    return rounded;
}

static __device__ inline struct floats load_wide(const bf16 *from)
{
    const struct halves vector = *(const struct halves *)from;
    struct floats wide;
    for (int i = 0; i < VECTOR; ++i)
        wide.x[i] = __bfloat162float(vector.x[i]);
    return wide;
}

/* `padded` elements, a multiple of the vector; those from `count` on become 0. */
static __global__ void __launch_bounds__(SUM_THREADS)
    round_all(const float *values, size_t count, bf16 *out, size_t padded)
{
    const size_t at = own_place();
    struct floats vector;
    if (at >= padded)
        return;
    if (at + VECTOR <= count)
        vector = *(const struct floats *)(values + at);
    else
        for (int i = 0; i < VECTOR; ++i)
            vector.x[i] = at + i < count ? values[at + i] : 0.0f;
    *(struct halves *)(out + at) = round_vector(&vector);
}

/* Sum [ranks, piece] over the ranks. */
static __global__ void __launch_bounds__(SUM_THREADS)
    add_pieces(const bf16 *from, int ranks, size_t piece, bf16 *sum)
{
    const size_t at = own_place();
    if (at >= piece)
        return;
    struct floats added = load_wide(from + at);
    for (int rank = 1; rank < ranks; ++rank) {
        const struct floats next = load_wide(from + (size_t)rank * piece + at);
        for (int i = 0; i < VECTOR; ++i)
            added.x[i] += next.x[i];
    }
    *(struct halves *)(sum + at) = round_vector(&added);
}

static __global__ void __launch_bounds__(SUM_THREADS)
    widen_all(const bf16 *from, float *values, size_t count)
{
    const size_t at = own_place();
    if (at >= count)
        return;
    const struct floats vector = load_wide(from + at);
    if (at + VECTOR <= count)
        *(struct floats *)(values + at) = vector;
    else
        for (int i = 0; at + i < count; ++i)
            values[at + i] = vector.x[i];
}

/* One thread per vector of `count` elements. */
template <typename... Parameters, typename... Arguments>
static ddpm_status launch(const char *what, void (*kernel)(Parameters...), size_t count,
                          Arguments... arguments)
{
    cudaLaunchConfig_t config = {};
    const size_t each = (size_t)SUM_THREADS * VECTOR;
    config.gridDim = dim3((unsigned)((count + each - 1) / each));
    config.blockDim = dim3(SUM_THREADS);
    config.stream = own.stream;
    return ddpm_nccl_check_cuda(cudaLaunchKernelEx(&config, kernel, (Parameters)arguments...),
                                what);
}

/* Piece p of rank r becomes piece r of rank p. */
static ncclResult_t exchange(const bf16 *to, bf16 *from, size_t piece)
{
    const struct ddpm_nccl_library *library = &own.library;
    ncclResult_t result = library->ncclGroupStart();
    for (int rank = 0; rank < own.count && result == ncclSuccess; ++rank) {
        const size_t place = (size_t)rank * piece, bytes = piece * sizeof *to;
        result = library->ncclSend(to + place, bytes, ncclUint8, rank, own.comm, own.stream);
        if (result == ncclSuccess)
            result = library->ncclRecv(from + place, bytes, ncclUint8, rank, own.comm, own.stream);
    }
    const ncclResult_t ended = library->ncclGroupEnd();
    return result == ncclSuccess ? ended : result;
}

ddpm_status ddpm_nccl_sum_bf16(void *queue, float *values, size_t count, void *room)
{
    const char *what = "a sum of all ranks as bf16";
    const size_t piece = ddpm_nccl_piece(count, own.count), all = piece * (size_t)own.count;
    bf16 *to = (bf16 *)room, *from = to + all, *sum = to + (size_t)own.rank * piece;
    DDPM_NCCL_TRY(ddpm_nccl_follow(queue, what));
    DDPM_NCCL_TRY(launch(what, round_all, all, values, count, to, all));
    DDPM_NCCL_TRY(ddpm_nccl_settle(exchange(to, from, piece), what));
    DDPM_NCCL_TRY(launch(what, add_pieces, piece, from, own.count, piece, sum));
    DDPM_NCCL_TRY(ddpm_nccl_settle(
        own.library.ncclAllGather(sum, to, piece * sizeof *to, ncclUint8, own.comm, own.stream),
        what));
    DDPM_NCCL_TRY(launch(what, widen_all, count, to, values, count));
    return ddpm_nccl_check_cuda(cudaEventRecord(own.summed, own.stream), what);
}

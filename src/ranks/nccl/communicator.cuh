/* The communicator of this process, shared by the files that use it. */
#ifndef DDPM_RANKS_NCCL_COMMUNICATOR_CUH
#define DDPM_RANKS_NCCL_COMMUNICATOR_CUH

#include <cuda_runtime.h>

extern "C" {
#include "ranks/nccl/library.h"
}

/* Bytes of each staging buffer, in host and in device memory. */
#define DDPM_NCCL_STAGE ((size_t)8 << 20)

/* A collective in host memory passes through the device a piece at a time. */
struct ddpm_nccl_transfer {
    struct ddpm_collective_call call;
    size_t bytes, done, piece; /* of one rank: in all, moved, under way */
    bool active;
    unsigned char *host_out, *host_in, *device_out, *device_in;
};

struct ddpm_nccl_communicator {
    ddpm_transport_raise *raise;
    struct ddpm_nccl_library library;
    bool loaded;
    ncclComm_t comm; /* NULL: not joined, or left */
    int index;       /* of the CUDA device */
    int rank, count;
    double timeout;
    cudaStream_t stream;
    cudaEvent_t ready, summed, moved; /* in another stream; in ours */
    struct ddpm_nccl_transfer transfer;
};

extern struct ddpm_nccl_communicator ddpm_nccl_own;

#define DDPM_NCCL_TRY(expression)                                                                  \
    do {                                                                                           \
        const ddpm_status try_status_ = (expression);                                              \
        if (try_status_ != DDPM_OK)                                                                \
            return try_status_;                                                                    \
    } while (0)

/* DDPM_OK, or what failed, in CUDA's and NCCL's words. `settle` waits while NCCL says that a call
 * is in progress, which it does while it connects ranks for the first time. */
ddpm_status ddpm_nccl_check_cuda(cudaError_t error, const char *what);
ddpm_status ddpm_nccl_settle(ncclResult_t result, const char *what);

/* Has anything gone wrong since? */
ddpm_status ddpm_nccl_look(void);

/* *done: the work before `event` is. Fails where that will never be. */
ddpm_status ddpm_nccl_query(cudaEvent_t event, const char *what, bool *done);

/* What comes next in our stream waits for the work that is queued in `queue`. */
ddpm_status ddpm_nccl_follow(void *queue, const char *what);

/* half_sums.cu */
ddpm_status ddpm_nccl_sum_bf16(void *queue, float *values, size_t count, void *room);

/* host_memory.cu */
ddpm_status ddpm_nccl_begin(const struct ddpm_collective_call *call);
ddpm_status ddpm_nccl_test(bool *done);
void ddpm_nccl_release_stage(void);

#endif

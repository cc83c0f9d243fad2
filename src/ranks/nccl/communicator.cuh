/* The communicator of this process, and what the files of this folder share. */
#ifndef DDPM_RANKS_NCCL_COMMUNICATOR_CUH
#define DDPM_RANKS_NCCL_COMMUNICATOR_CUH

#include <cuda_runtime.h>

extern "C" {
#include "ranks/nccl/library.h"
}

/* Bytes of each staging buffer, in host and in device memory. */
#define DDPM_NCCL_STAGE ((size_t)8 << 20)

/* A collective in host memory. It goes through the device piece by piece. */
struct ddpm_nccl_transfer {
    struct ddpm_collective_call call;
    size_t bytes, done, piece; /* of one rank: in total, moved so far, in flight */
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
    cudaEvent_t ready, summed, moved; /* the first in the caller's stream, the others in ours */
    struct ddpm_nccl_transfer transfer;
};

extern struct ddpm_nccl_communicator ddpm_nccl_own;

#define DDPM_NCCL_TRY(expression)                                                                  \
    do {                                                                                           \
        const ddpm_status try_status_ = (expression);                                              \
        if (try_status_ != DDPM_OK)                                                                \
            return try_status_;                                                                    \
    } while (0)

/* Turn a result of CUDA or NCCL into a status, with their error text. `settle` waits while NCCL
 * reports that a call is in progress, as it does when it first connects ranks. */
ddpm_status ddpm_nccl_check_cuda(cudaError_t error, const char *what);
ddpm_status ddpm_nccl_settle(ncclResult_t result, const char *what);

/* The error that NCCL has noticed since the last look, if any. */
ddpm_status ddpm_nccl_look(void);

/* *done: is the work before `event` done? Fails if it never will be. */
ddpm_status ddpm_nccl_query(cudaEvent_t event, const char *what, bool *done);

/* Make later work in our stream wait for the work that is already in `queue`. */
ddpm_status ddpm_nccl_follow(void *queue, const char *what);

/* half_sums.cu */
ddpm_status ddpm_nccl_sum_bf16(void *queue, float *values, size_t count, void *room);

/* host_memory.cu */
ddpm_status ddpm_nccl_begin(const struct ddpm_collective_call *call);
ddpm_status ddpm_nccl_test(bool *done);
void ddpm_nccl_release_stage(void);

#endif

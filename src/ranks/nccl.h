/* What the CUDA plug-in offers for NCCL: one communicator per process. It sums gradients in device
 * memory. Without MPI it also moves host memory between ranks.
 *
 * The callers (nccl.c, device_sums.c) use no headers of CUDA or NCCL. Everything runs in order on
 * the communicator's own stream. No function waits for other ranks: operations are started and then
 * tested. One thread calls all of them. */
#ifndef DDPM_RANKS_NCCL_H
#define DDPM_RANKS_NCCL_H

#include "ranks/transport.h"

/* Increment it whenever struct ddpm_nccl changes. */
#define DDPM_NCCL_ABI 2u

/* The size of an id; how many elements of a bf16 sum a GPU thread handles. */
enum { DDPM_NCCL_ID_BYTES = 128, DDPM_NCCL_VECTOR = 8 };

/* How many elements of a bf16 sum each of `ranks` adds up, rounded up to whole vectors. */
static inline size_t ddpm_nccl_piece(size_t count, int ranks)
{
    const size_t vectors = (count + DDPM_NCCL_VECTOR - 1) / DDPM_NCCL_VECTOR, all = (size_t)ranks;
    return (vectors + all - 1) / all * DDPM_NCCL_VECTOR;
}

struct ddpm_nccl {
    /* Load NCCL's library: libnccl.so.2, or the file in DDPM_NCCL. DDPM_ERROR_UNSUPPORTED if there
     * is none. */
    ddpm_status (*load)(void);
    /* The id that all ranks need to join; one of them makes it. */
    ddpm_status (*make_id)(unsigned char id[DDPM_NCCL_ID_BYTES]);

    /* Start to join on CUDA device `index`; -1 - k: the k-th, wrapping around if there are fewer.
     * Once per process. `timeout`: seconds that one call of NCCL may take. */
    ddpm_status (*join)(const unsigned char id[DDPM_NCCL_ID_BYTES], int index, int rank, int count,
                        double timeout);
    ddpm_status (*join_test)(bool *done);
    /* The device, or -1 before join(). "NCCL 2.27.3", which lives as long as the process. */
    int (*device)(void);
    const char *(*description)(void);

    /* A collective in host memory, as in transport.h. One at a time. */
    ddpm_status (*begin)(const struct ddpm_collective_call *call);
    ddpm_status (*test)(bool *done);

    /* Start summing `count` floats of all ranks, in place in device memory. The sum waits for the
     * work that is already in `queue` (a cudaStream_t of this device); later work does not wait for
     * the sum. */
    ddpm_status (*sum)(void *queue, float *values, size_t count);
    /* The same, but the ranks exchange bf16, rounded as by ddpm_ranks_sum_begin(). `room` is
     * device memory for 2 * ranks * ddpm_nccl_piece() bf16 elements, borrowed until the sum has
     * arrived; all sums may share it. Both pointers are aligned to 16 bytes. */
    ddpm_status (*sum_bf16)(void *queue, float *values, size_t count, void *room);
    /* Have all sums arrived? */
    ddpm_status (*sums_test)(bool *done);
    /* Make later work in `queue` wait for all sums. */
    ddpm_status (*sums_join)(void *queue);

    /* Leave the others in good order; or at once, which makes the results of operations in flight
     * undefined. */
    void (*leave)(void);
    void (*abort)(void);
};

/* The plug-in exports `ddpm_nccl`, of this type; it returns NULL if `abi` is not the one it was
 * built for. */
typedef const struct ddpm_nccl *ddpm_nccl_entry(unsigned abi, ddpm_transport_raise *raise);

#endif

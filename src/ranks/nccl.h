/* NCCL as the CUDA plug-in offers it: one communicator per process, which adds up gradients in
 * device memory, and which also moves host memory between ranks where there is no MPI.
 *
 * The host side (nccl.c, device_sums.c) knows neither CUDA nor NCCL. Everything runs in order on
 * the communicator's own stream. No function waits for other ranks: what takes them is begun, then
 * tested. All are called by one thread. */
#ifndef DDPM_RANKS_NCCL_H
#define DDPM_RANKS_NCCL_H

#include "ranks/transport.h"

/* Increment it whenever struct ddpm_nccl changes. */
#define DDPM_NCCL_ABI 2u

/* Bytes of an address. Sums as bf16 handle this many elements at once. */
enum { DDPM_NCCL_ID_BYTES = 128, DDPM_NCCL_VECTOR = 8 };

/* The elements of a bf16 sum that each of `ranks` adds up: whole vectors. */
static inline size_t ddpm_nccl_piece(size_t count, int ranks)
{
    const size_t vectors = (count + DDPM_NCCL_VECTOR - 1) / DDPM_NCCL_VECTOR, all = (size_t)ranks;
    return (vectors + all - 1) / all * DDPM_NCCL_VECTOR;
}

struct ddpm_nccl {
    /* Load NCCL's library, libnccl.so.2 or what DDPM_NCCL names. DDPM_ERROR_UNSUPPORTED without. */
    ddpm_status (*load)(void);
    /* What all ranks of a communicator share; one of them makes it. */
    ddpm_status (*make_id)(unsigned char id[DDPM_NCCL_ID_BYTES]);

    /* Join on the CUDA device `index`; -1 - k: the k-th, counted round and round. Once in a
     * process. `timeout`: the seconds that NCCL may take for one call. */
    ddpm_status (*join)(const unsigned char id[DDPM_NCCL_ID_BYTES], int index, int rank, int count,
                        double timeout);
    ddpm_status (*join_test)(bool *done);
    /* The device joined on, -1 before; "NCCL 2.27.3", which lives as long as the process. */
    int (*device)(void);
    const char *(*description)(void);

    /* A collective in host memory, as transport.h says; one at a time. */
    ddpm_status (*begin)(const struct ddpm_collective_call *call);
    ddpm_status (*test)(bool *done);

    /* Add up `count` floats of all ranks in device memory, in place, once the work queued in
     * `queue` (a cudaStream_t of this device) is done; work queued later does not wait. */
    ddpm_status (*sum)(void *queue, float *values, size_t count);
    /* The same with bf16 between the ranks, rounded as ddpm_ranks_sum_bf16_begin() says. `room` has
     * 2 * ranks * ddpm_nccl_piece() bf16 elements of device memory, and is used until the sum has
     * arrived; all sums may use the same. Both pointers are multiples of 16 bytes. */
    ddpm_status (*sum_bf16)(void *queue, float *values, size_t count, void *room);
    /* Have all sums arrived? */
    ddpm_status (*sums_test)(bool *done);
    /* Work that is queued in `queue` from now on waits for all sums. */
    ddpm_status (*sums_join)(void *queue);

    /* Part in good order, or at once: what is under way ends with undefined results. */
    void (*leave)(void);
    void (*abort)(void);
};

/* The plug-in exports `ddpm_nccl`, of this type; NULL when `abi` is not the one that it was built
 * for. */
typedef const struct ddpm_nccl *ddpm_nccl_entry(unsigned abi, ddpm_transport_raise *raise);

#endif

/* Several processes that train together, each a rank: 0 to count - 1, on one machine or many.
 *
 * A process is alone unless it has been joined with others (ddpm_ranks_join). NULL stands for that
 * everywhere, and costs nothing: sums, gathers and broadcasts of one rank leave everything as it
 * is.
 *
 * Every rank makes the same calls in the same order, from one thread. A call waits at most
 * `timeout` seconds for the others, then fails with DDPM_ERROR_IO and names the ranks that did not
 * come. After such a failure nothing more is exchanged (ddpm_ranks_lost), and closing ends all of
 * them. */
#ifndef DDPM_RANKS_RANKS_H
#define DDPM_RANKS_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "tensor/tensor.h"

struct ddpm_ranks;

/* A stretch of an array of floats. */
struct ddpm_stretch {
    int64_t first, count;
};

/* Values of option `ranks`. */
enum ddpm_ranks_choice {
    DDPM_RANKS_AUTO, /* MPI if mpirun or srun has started several processes */
    DDPM_RANKS_OFF,
    DDPM_RANKS_MPI,
    DDPM_RANKS_NCCL, /* gradients over NCCL, all else over MPI if it started the processes */
};

/* Join the processes that were started together with this one; once per process. *out is NULL if it
 * is alone. DDPM_ERROR_UNSUPPORTED if the plug-in for this is missing; DDPM_ERROR_ARGUMENT for a
 * choice that does not fit how the process was started. */
ddpm_status ddpm_ranks_join(enum ddpm_ranks_choice choice, double timeout, struct ddpm_ranks **out);

/* The CUDA device on which NCCL joins without MPI. Call it before joining; the default is the
 * device whose index is this process's place on its machine. */
void ddpm_ranks_take_device(int index);

/* Part in good order. If the ranks have lost each other, end them all with `exit_code`; this then
 * does not return. NULL does nothing. */
void ddpm_ranks_close(struct ddpm_ranks **ranks, int exit_code);

/* 0 and 1 for NULL. */
int ddpm_ranks_index(const struct ddpm_ranks *ranks);
int ddpm_ranks_count(const struct ddpm_ranks *ranks);

/* The transport, "Open MPI v4.1.4"; the number of machines. */
const char *ddpm_ranks_transport(const struct ddpm_ranks *ranks);
int ddpm_ranks_hosts(const struct ddpm_ranks *ranks);

/* The machine of a rank; if `ranks` is NULL, that of this process. */
const char *ddpm_ranks_host(const struct ddpm_ranks *ranks, int rank);

/* How many ranks are on this machine, and how many share its processors, including this one; 1 for
 * NULL. */
int ddpm_ranks_here(const struct ddpm_ranks *ranks);
int ddpm_ranks_sharing(const struct ddpm_ranks *ranks);

/* Position among the ranks of this machine; 0 for NULL. */
int ddpm_ranks_place(const struct ddpm_ranks *ranks);

/* How many seconds to wait for a rank, from now on. */
void ddpm_ranks_set_timeout(struct ddpm_ranks *ranks, double timeout);

/* Have they lost each other? */
bool ddpm_ranks_lost(const struct ddpm_ranks *ranks);

/* Should this rank report a failure that all ranks know of? */
bool ddpm_ranks_speaks(const struct ddpm_ranks *ranks);

/* Make room for sums of up to `most` floats, which travel as `wire`: DDPM_F32 or DDPM_BF16. Call it
 * before the first sum, or again between sums; the room belongs to the ranks. Its size in bytes
 * does not grow with `most` beyond a few MB.
 *
 * Over DDPM_BF16, which halves the bytes, each rank's values are rounded to nearest even and summed
 * in fp32 in the order of ranks; then the sum is rounded once more, unless only one rank needs it.
 * DDPM_ERROR_UNSUPPORTED for DDPM_BF16 if only NCCL joins the ranks. */
ddpm_status ddpm_ranks_prepare_sums(struct ddpm_ranks *ranks, enum ddpm_dtype wire, size_t most);
size_t ddpm_ranks_sums_bytes(const struct ddpm_ranks *ranks, enum ddpm_dtype wire, size_t most);

/* Start adding up `count` floats of all ranks, in place; the same bits on every rank. Do not touch
 * them before ddpm_ranks_wait(). Any number of sums may be begun; a few are in flight at a time. */
ddpm_status ddpm_ranks_sum_begin(struct ddpm_ranks *ranks, float *values, size_t count);

/* The same if only rank `root` needs the sum, which halves the bytes. The other ranks' values stay
 * as they are. DDPM_ERROR_UNSUPPORTED if only NCCL joins the ranks. */
ddpm_status ddpm_ranks_sum_at_begin(struct ddpm_ranks *ranks, int root, float *values,
                                    size_t count);

/* Make progress on what is in flight, without waiting. Cheap enough to call between kernels. */
ddpm_status ddpm_ranks_go_on(struct ddpm_ranks *ranks);

/* Wait for all sums that have been begun. */
ddpm_status ddpm_ranks_wait(struct ddpm_ranks *ranks);

/* `all` holds `bytes` bytes of every rank, in order; this rank's own are already in place. */
ddpm_status ddpm_ranks_gather(struct ddpm_ranks *ranks, void *all, size_t bytes);

/* Copy the bytes of rank `root` to everyone. */
ddpm_status ddpm_ranks_broadcast(struct ddpm_ranks *ranks, int root, void *values, size_t bytes);

/* Rank `root` gets `bytes` bytes from everyone, in the order of ranks: from `own` of the others
 * into `all`, where its own are already in place. And the reverse: from `all` into everyone else's
 * `own`. */
ddpm_status ddpm_ranks_collect(struct ddpm_ranks *ranks, int root, const void *own, void *all,
                               size_t bytes);
ddpm_status ddpm_ranks_spread(struct ddpm_ranks *ranks, int root, const void *all, void *own,
                              size_t bytes);

/* gather, collect and spread of floats with parts of any length: rank r's part is stretch parts[r]
 * of `all`, which has fewer than 2^31 floats. `parts` is the same on every rank. See parts.c.
 * DDPM_ERROR_UNSUPPORTED if only NCCL joins the ranks. */
ddpm_status ddpm_ranks_gather_parts(struct ddpm_ranks *ranks, float *all,
                                    const struct ddpm_stretch *parts);
ddpm_status ddpm_ranks_collect_parts(struct ddpm_ranks *ranks, int root, const float *own,
                                     float *all, const struct ddpm_stretch *parts);
ddpm_status ddpm_ranks_spread_parts(struct ddpm_ranks *ranks, int root, const float *all,
                                    float *own, const struct ddpm_stretch *parts);

/* Gradients in device memory, which the devices add up themselves over NCCL (option ranks nccl);
 * device_sums.c. Sums are begun in the order of calls and wait for the work that is queued in
 * `queue` (of ddpm_backend's queue()). Work queued after ddpm_ranks_wait_on_device() sees them.
 * That call also blocks the host: nothing that depends on a sum may be queued before the sum is
 * certain to arrive, or a failure would leave the work half done. */
bool ddpm_ranks_sums_on_device(const struct ddpm_ranks *ranks);
ddpm_status ddpm_ranks_join_devices(struct ddpm_ranks *ranks, int index);
ddpm_status ddpm_ranks_sum_on_device(struct ddpm_ranks *ranks, void *queue, float *values,
                                     size_t count);
ddpm_status ddpm_ranks_wait_on_device(struct ddpm_ranks *ranks, void *queue);

/* The same with bf16 values between the ranks; gives the same bits as ddpm_ranks_sum_begin().
 * `room` is device memory, of ddpm_ranks_room_bf16_on_device() bytes for the largest sum, which all
 * sums may use: they run one after another. `values` and `room` are aligned to 16 bytes. */
ddpm_status ddpm_ranks_sum_bf16_on_device(struct ddpm_ranks *ranks, void *queue, float *values,
                                          size_t count, void *room);
size_t ddpm_ranks_room_bf16_on_device(const struct ddpm_ranks *ranks, size_t count);

/* The sum of `own` shares of every rank, in the order of ranks and of each rank's shares, added one
 * after another: ((s0 + s1) + s2) + … Each share has `count` floats; `sum` may be one of them. See
 * shares.c. */
ddpm_status ddpm_ranks_sum_shares(struct ddpm_ranks *ranks, float *const shares[], int own,
                                  float *sum, size_t count);
size_t ddpm_ranks_shares_bytes(const struct ddpm_ranks *ranks, int own);

/* The same, but each rank only needs its own stretch of the sum, parts[index]. It is written to the
 * same place in `sum`, which must not be one of the shares. Stretches may overlap. */
ddpm_status ddpm_ranks_sum_shares_at(struct ddpm_ranks *ranks, float *const shares[], int own,
                                     float *sum, const struct ddpm_stretch *parts);

/* Agree on how it went: DDPM_OK if no rank failed, otherwise the first failure by rank, with its
 * message, on all of them. *signal, unless NULL, becomes the largest signal of all ranks. See
 * agree.c. */
ddpm_status ddpm_ranks_agree(struct ddpm_ranks *ranks, ddpm_status status, int *signal);

/* The same if everybody already knows that rank `failed` failed with `status`: distribute its
 * message. */
ddpm_status ddpm_ranks_share_failure(struct ddpm_ranks *ranks, int failed, ddpm_status status);

/* `lines` are "name: value
 * ", any number of them. DDPM_ERROR_MISMATCH, on all ranks, names the first rank and line that
 * differ from rank 0's. */
ddpm_status ddpm_ranks_compare(struct ddpm_ranks *ranks, const char *lines);

/* This rank is doing something long while the others wait: restart their time. Call it now and
 * then. */
void ddpm_ranks_still_here(struct ddpm_ranks *ranks);

#endif

/* A step shared by several processes (ranks/ranks.h).
 *
 * The pictures of a step are split into as many stretches as there are ranks; each rank draws and
 * runs its own, in `accumulate` micro-batches. Random numbers depend on a picture's position in the
 * whole step, so any number of ranks sees the same training.
 *
 * Fast reduction lets the transport add up the gradients of all ranks in any order, which starts
 * while the backward pass still runs. Exact reduction splits a step into a given number of shares
 * instead, and adds their gradients in that order: any number of ranks that divides it computes the
 * same bits, including one.
 *
 * Alone and with fast reduction, the usual case, all of this does nothing. */
#ifndef DDPM_TRAINING_TEAM_H
#define DDPM_TRAINING_TEAM_H

#include "config/config.h"
#include "graph/buckets.h"
#include "graph/recording.h"
#include "ranks/ranks.h"

struct ddpm_trainer;

struct ddpm_team {
    struct ddpm_ranks *ranks; /* borrowed; NULL: alone */
    int64_t cuts;             /* a batch becomes this many micro-batches */
    int64_t size;             /* pictures of a micro-batch */
    int64_t count, total;     /* micro-batches of a step: this rank's, and of all ranks */
    int64_t first;            /* position in the step of this rank's first picture */
    int shares;               /* exact reduction: shares of this rank; 0: fast reduction */

    float **slabs; /* gradients in host memory: a share each, or what the ranks add up */
    int slab_count;
    struct ddpm_bucket *buckets; /* fast, if tensors are in host memory, or devices add up */
    size_t bucket_count, next_bucket;
    struct ddpm_recording *stretches; /* [bucket_count + 1], of the last micro-batch on a device */
    void *device_wire;                /* over bf16 on a device: room for one sum at a time */
    char *exchange;                   /* how every rank is doing, and its losses */
    size_t stride;                    /* bytes of one rank's */

    int signal, agreed_signal; /* this rank's, and the largest of all */
    ddpm_status held;          /* a failure that the others do not know of yet */
    char held_text[1024];
};

/* Split the step of `config`. DDPM_ERROR_ARGUMENT if that is not possible. */
ddpm_status ddpm_team_plan(struct ddpm_team *team, struct ddpm_ranks *ranks,
                           const struct ddpm_training_config *config);

/* Host memory in addition to the trainer's own, and device memory. */
size_t ddpm_team_bytes(const struct ddpm_trainer *trainer);
size_t ddpm_team_device_bytes(const struct ddpm_trainer *trainer);
ddpm_status ddpm_team_allocate(struct ddpm_trainer *trainer);
void ddpm_team_release(struct ddpm_team *team);

/* Cut the gradients into buckets, for the trainer's new graph. Until then those of the last graph
 * stay, so that a rank whose graph fails can still finish a step with the others. */
ddpm_status ddpm_team_cut(struct ddpm_trainer *trainer);

/* Gradients are sent in buckets of at least this many elements. */
size_t ddpm_team_least_bucket(const struct ddpm_trainer *trainer);

/* Position in the step of the first picture of this rank's micro-batch `index`. */
static inline int64_t ddpm_team_place(const struct ddpm_team *team, int64_t index)
{
    return team->first + index * team->size;
}

/* The failure that the step must report to the others instead of computing anything. */
ddpm_status ddpm_team_raise_held(const struct ddpm_team *team);

/* Keep the failure that was just raised for the next step. */
void ddpm_team_hold(struct ddpm_team *team, ddpm_status status);

/* Run the backward pass of this rank's last micro-batch, and send gradients as they become
 * final. */
bool ddpm_team_overlaps(const struct ddpm_trainer *trainer, int64_t index);
ddpm_status ddpm_team_run_backward(struct ddpm_trainer *trainer);

/* Send the gradients that have not been sent. */
ddpm_status ddpm_team_send_rest(struct ddpm_trainer *trainer);

/* The same if devices add up gradients themselves, over NCCL (team_device.c): draw, forward and
 * backward pass of the last micro-batch, in stretches, with sums begun between them. At the end of
 * a step's passes, begin the sums that are left and wait for all. Before the first step, all ranks
 * join their devices. */
bool ddpm_team_sums_on_device(const struct ddpm_trainer *trainer);
ddpm_status ddpm_team_join_devices(struct ddpm_trainer *trainer);
ddpm_status ddpm_team_run_stretches(struct ddpm_trainer *trainer);
ddpm_status ddpm_team_finish_sums(struct ddpm_trainer *trainer);
ddpm_status ddpm_team_allocate_on_device(struct ddpm_trainer *trainer);
void ddpm_team_release_on_device(struct ddpm_trainer *trainer);
void ddpm_team_release_stretches(struct ddpm_trainer *trainer);

/* This rank's micro-batch `index` has been run: take its gradients if a share ends with it. */
ddpm_status ddpm_team_take_share(struct ddpm_trainer *trainer, int64_t index);

/* The end of a step's passes; `status` says how they went. Add up the gradients, and exchange
 * losses, failures and signals. A failure of any rank is returned by all. */
ddpm_status ddpm_team_meet(struct ddpm_trainer *trainer, ddpm_status status);

#endif

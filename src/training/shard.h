/* The optimizer's state divided among ranks (--shard optimizer): each rank keeps the moments and
 * averages of one stretch of the slab, updates the weights of that stretch, and gets the other
 * weights from the other ranks. A stretch consists of whole parameters, because Muon needs whole
 * matrices; the stretches cost about the same time, so they differ in length. Gradients are summed
 * only on the rank that updates their weights.
 *
 * Rank 0 writes checkpoints and draws, so it holds the whole first average and has buffers for all
 * the rest. Both are filled from all ranks on demand (ddpm_shard_collect). The first moments are
 * collected in the slab of the gradients, which is unused between steps. */
#ifndef DDPM_TRAINING_SHARD_H
#define DDPM_TRAINING_SHARD_H

#include "ranks/ranks.h"
#include "training/checkpoint.h"
#include "training/optimizer.h"

struct ddpm_trainer;

struct ddpm_shard_plan {
    struct ddpm_ranks *ranks;       /* borrowed; NULL: nothing is divided */
    struct ddpm_stretch *stretches; /* of the slab: [ranks] */
    struct ddpm_stretch *summed;    /* the gradients that a rank sums with exact reduction */
};

struct ddpm_shard_state {
    float *full[DDPM_MAX_STATE_SLABS]; /* on rank 0: whole slabs; those that it owns are `owned` */
    float *owned[DDPM_MAX_STATE_SLABS];
    int64_t collected; /* the step whose state the whole slabs hold; -1: none */
};

/* Divide `count` costs into `parts` runs of neighbours, none of them empty, so that the largest sum
 * of a run is as small as possible: run i ends before ends[i]. Requires parts <= count. */
void ddpm_shard_divide(const double *costs, size_t count, size_t parts, size_t *ends);

/* Divide the optimizer of the trainer's only player, before its graph is built.
 * DDPM_ERROR_UNSUPPORTED or DDPM_ERROR_ARGUMENT if it cannot be divided. Without the option, and
 * alone, this does nothing, like all functions here. */
ddpm_status ddpm_shard_plan(struct ddpm_trainer *trainer);

/* Allocate memory in addition to the optimizer's own, which must have been allocated first; and its
 * size in bytes. Release it in any case, with the plan. */
ddpm_status ddpm_shard_allocate(struct ddpm_trainer *trainer);
void ddpm_shard_release(struct ddpm_trainer *trainer);
size_t ddpm_shard_bytes(const struct ddpm_trainer *trainer);

/* Summing gradients, each on the rank that needs the sum (shard_sums.c): begin with those that are
 * final, or sum all shares. Only for a divided optimizer. */
ddpm_status ddpm_shard_begin_sum(struct ddpm_trainer *trainer, size_t first, size_t count);
ddpm_status ddpm_shard_sum_shares(struct ddpm_trainer *trainer);

/* With exact reduction, the gradients whose sum a rank needs: those of its stretch, and those that
 * the norm needs. */
struct ddpm_stretch ddpm_shard_summed(const struct ddpm_trainer *trainer, int rank);

/* The gradient's norm: write this rank's sums of squares to `out`; and compute the norm from those
 * of all ranks, which are `stride` bytes apart, after host_loss is filled. */
size_t ddpm_shard_squares_bytes(const struct ddpm_trainer *trainer);
void ddpm_shard_measure(const struct ddpm_trainer *trainer, char *out);
ddpm_status ddpm_shard_write_norm(struct ddpm_trainer *trainer, const char *squares, size_t stride);

/* Get the weights of the other ranks after an update. */
ddpm_status ddpm_shard_gather_weights(struct ddpm_trainer *trainer);

/* Send every rank its part of rank 0's moments and averages. */
ddpm_status ddpm_shard_spread(struct ddpm_trainer *trainer);

/* DDPM_ERROR_ARGUMENT unless rank 0 has the state of this step. */
ddpm_status ddpm_shard_check(const struct ddpm_trainer *trainer);

#endif

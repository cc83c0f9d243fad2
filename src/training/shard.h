/* The optimizer's state divided among ranks (--shard optimizer): each rank keeps the moments and
 * averages of a stretch of the slab, updates the weights of that stretch, and gets the others' from
 * their ranks.
 *
 * Rank 0 writes checkpoints and draws, so it keeps the whole first average, and room for the whole
 * of everything else. Both are filled from all ranks when they are wanted (ddpm_shard_collect). Its
 * room for the first moments are the gradients, which are of no use between two steps. */
#ifndef DDPM_TRAINING_SHARD_H
#define DDPM_TRAINING_SHARD_H

#include "ranks/ranks.h"
#include "training/checkpoint.h"
#include "training/optimizer.h"

struct ddpm_trainer;

struct ddpm_shard_plan {
    struct ddpm_ranks *ranks; /* borrowed; NULL: nothing is divided */
    size_t each;              /* elements of a rank; the last rank has the rest of the slab, too */
    size_t rest;
};

struct ddpm_shard_state {
    float *full[DDPM_MAX_STATE_SLABS]; /* of rank 0: whole slabs; those it owns are `owned` */
    float *owned[DDPM_MAX_STATE_SLABS];
    float *rest;       /* of the others: where rank 0's end of a slab passes through */
    int64_t collected; /* the step whose state the whole slabs hold, -1: of none */
};

/* Divide the optimizer of the trainer's only player, before its graph is built.
 * DDPM_ERROR_UNSUPPORTED or DDPM_ERROR_ARGUMENT where that cannot be. Without the option, and
 * alone, this does nothing, like everything here. */
ddpm_status ddpm_shard_plan(struct ddpm_trainer *trainer);

/* Memory beside the optimizer's own, once that is allocated; and its bytes. */
ddpm_status ddpm_shard_allocate(struct ddpm_trainer *trainer);
void ddpm_shard_release(struct ddpm_trainer *trainer);
size_t ddpm_shard_bytes(const struct ddpm_trainer *trainer);

/* Get the others' weights after an update. */
ddpm_status ddpm_shard_gather_weights(struct ddpm_trainer *trainer);

/* Give everyone its part of rank 0's moments and averages. */
ddpm_status ddpm_shard_spread(struct ddpm_trainer *trainer);

/* DDPM_ERROR_ARGUMENT unless rank 0 has the state of this step. */
ddpm_status ddpm_shard_check(const struct ddpm_trainer *trainer);

#endif

/* Weights in the kernels' own layouts, packed once per machine instead of once per rank.
 *
 * All packed weights of a step lie in memory that the ranks of a machine share (ranks/memory.h).
 * Before a step's passes, each packs its part, and waits for the others. They read until their
 * passes are done, and none packs again before that: at the end of a step, every rank gets the
 * losses of all (ddpm_team_meet), which each sends only after its passes. If a bad step is then run
 * again to diagnose it, the ranks agree on the result before anything else.
 *
 * Drawing and validation have packed weights of their own. */
#ifndef DDPM_TRAINING_PACKING_H
#define DDPM_TRAINING_PACKING_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

struct ddpm_trainer;

struct ddpm_packing {
    bool shared;
    int *part_of;    /* [nodes]: which neighbour packs the call's weights, see graph.h */
    int part, parts; /* this rank's, and how many */
};

/* Share if the ranks have memory for it. */
void ddpm_packing_plan(struct ddpm_trainer *trainer);

/* Bytes of the step's packed weights: what counts as this rank's, and what has yet to be
 * allocated. */
size_t ddpm_packing_bytes(const struct ddpm_trainer *trainer);
size_t ddpm_packing_bytes_needed(const struct ddpm_trainer *trainer);

/* For a graph that is laid out but not allocated. */
ddpm_status ddpm_packing_begin(struct ddpm_trainer *trainer);
void ddpm_packing_release(struct ddpm_trainer *trainer);

/* Before a step's passes: pack this rank's part of the weights, unless `status` is a failure, and
 * wait for the other ranks of this machine in any case. Returns the first failure. Does nothing if
 * nothing is shared. */
ddpm_status ddpm_packing_pack(struct ddpm_trainer *trainer, ddpm_status status);

#endif

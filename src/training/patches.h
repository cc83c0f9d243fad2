/* Training on patches first: the first part of a run trains on random windows of the pictures, on
 * which a step costs much less, and the rest on whole pictures. A convolutional network takes both.
 * This is patch training (Wang et al. 2023, arXiv 2304.12526) with one size of patches at a time.
 * Option `coordinates` adds the paper's coordinates.
 *
 * Weights and moments carry over. A power-function average starts again with the whole pictures, so
 * that its length is a fraction of the steps on them, and so does the decay of the learning rate
 * (optimizer.h). The graph of the step is rebuilt (ddpm_trainer_fit). */
#ifndef DDPM_TRAINING_PATCHES_H
#define DDPM_TRAINING_PATCHES_H

#include "config/config.h"
#include "core/error.h"

struct ddpm_trainer;

/* Sides in pixels. */
struct ddpm_size {
    int64_t height, width;
};

/* Turn patches off if they would be as large as the pictures: their sides are 1/patches of the
 * pictures', rounded down to a multiple that the network takes, and at least one such multiple. The
 * functions below want a configuration that was settled in this way. */
void ddpm_patches_settle(struct ddpm_config *config);

/* How many steps of the run train on patches; 0: none. */
int64_t ddpm_patch_steps(const struct ddpm_training_config *config);

/* The size of whole pictures. */
struct ddpm_size ddpm_whole_size(const struct ddpm_config *config);

/* The size of the pictures or patches that the step after the first `done` steps trains on. */
struct ddpm_size ddpm_size_after(const struct ddpm_config *config, int64_t done);

/* Steps that a power-function average covers after `done` steps. */
int64_t ddpm_steps_averaged(const struct ddpm_training_config *config, int64_t done);

/* What a step on patches costs, counted in operations, where a step on whole pictures costs 1; and
 * the mean over the steps of the run. 1 if there are no patches. */
double ddpm_trainer_patch_cost(const struct ddpm_trainer *trainer);
double ddpm_trainer_mean_cost(const struct ddpm_trainer *trainer);

/* Does the trainer's graph take pictures of this size? */
bool ddpm_trainer_fits(const struct ddpm_trainer *trainer, struct ddpm_size size);

/* After the step was laid out for whole pictures: lay out its graph again if the run begins
 * with patches. */
ddpm_status ddpm_trainer_lay_out_patches(struct ddpm_trainer *trainer);

/* Rebuild and allocate the graph of the step, for pictures of this size, unless it fits; drop
 * the batches read ahead for the last one. No step may be pending. After a failure the trainer has
 * no usable graph, but its state is complete, and it can still take part in the sums of the other
 * ranks. */
ddpm_status ddpm_trainer_fit(struct ddpm_trainer *trainer, struct ddpm_size size);

#endif

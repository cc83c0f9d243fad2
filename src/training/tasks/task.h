/* A task builds the graph of one training step from the trainer's players and the data.
 *
 * A player is a network with its optimizer. The two tasks so far, denoise and consistency, have one
 * player; a task with a critic or a teacher has more. */
#ifndef DDPM_TRAINING_TASKS_TASK_H
#define DDPM_TRAINING_TASKS_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "core/error.h"
#include "graph/graph.h"

struct ddpm_trainer;

struct ddpm_task {
    /* Build trainer->graph and everything in trainer_state.h that belongs to it. */
    ddpm_status (*build)(struct ddpm_trainer *trainer, int64_t batch, bool low_memory);
    /* Build the graph of trainer->validator: forward only, with the EMA weights, and the loss of
     * each of `batch` pictures as ddpm_trainer_validate() describes. NULL: the task has no such
     * loss. */
    ddpm_status (*build_validation)(struct ddpm_trainer *trainer, int64_t batch);
    bool pairs;  /* a picture is trained at a sigma/alpha and a cleaner one, whatever its path */
    int columns; /* of a picture's coefficients, if the host writes them */
    /* The coefficients for position `place` in the batch of a step, after `step` steps. */
    void (*draw_row)(const struct ddpm_trainer *trainer, uint32_t step, uint32_t place, float *row);
    /* The coefficients at a sigma that the caller gives; with `pairs` at a sigma/alpha. */
    void (*given_row)(const struct ddpm_trainer *trainer, uint32_t step, double sigma, float *row);
};

extern const struct ddpm_task ddpm_task_denoise, ddpm_task_consistency;

/* The task that trains a network with this configuration. */
const struct ddpm_task *ddpm_task_of(const struct ddpm_diffusion_config *diffusion);

/* A graph that reads the first player's weights; then its end: the gradients of the seeds, and the
 * update. */
ddpm_status ddpm_task_begin(struct ddpm_trainer *trainer, bool low_memory);
ddpm_status ddpm_task_end(struct ddpm_trainer *trainer, int64_t batch,
                          const struct ddpm_seed *seeds, size_t count);

/* The draw part of a task: first the start of the part, the pictures' inputs and x_0; then ε, after
 * anything else the task draws. */
void ddpm_task_begin_draw(struct ddpm_trainer *trainer, int64_t batch);
void ddpm_task_draw_noise(struct ddpm_trainer *trainer);

#endif

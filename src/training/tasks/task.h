/* A task builds the graph of one training step from the trainer's players and the data.
 *
 * A player is a network with its optimizer. Both tasks of today, denoise and consistency, have one;
 * a task with a critic or a teacher has more. */
#ifndef DDPM_TRAINING_TASKS_TASK_H
#define DDPM_TRAINING_TASKS_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "core/error.h"
#include "graph/graph.h"

struct ddpm_trainer;

struct ddpm_task {
    const char *name;
    /* Build trainer->graph and everything that trainer_state.h says of it. */
    ddpm_status (*build)(struct ddpm_trainer *trainer, int64_t batch, bool low_memory);
    /* Build the graph of trainer->validator: forward only, the EMA weights, the loss of each of
     * `batch` pictures as ddpm_trainer_validate() states it. NULL: the task has no such loss. */
    ddpm_status (*build_validation)(struct ddpm_trainer *trainer, int64_t batch);
    bool pairs;  /* a picture is trained at a sigma/alpha and a clearer one, whatever its path */
    int columns; /* of a picture's coefficients, where the host writes them */
    /* Those of place `place` in the batch of a step, of which `step` are done before. */
    void (*draw_row)(const struct ddpm_trainer *trainer, uint32_t step, uint32_t place, float *row);
    /* Those of a level that a caller gives as its sigma; with `pairs` as its sigma/alpha. */
    void (*given_row)(const struct ddpm_trainer *trainer, uint32_t step, double sigma, float *row);
};

extern const struct ddpm_task ddpm_task_denoise, ddpm_task_consistency;

/* The task of a network that is trained with this configuration. */
const struct ddpm_task *ddpm_task_of(const struct ddpm_diffusion_config *diffusion);

/* A graph that reads the first player's weights; at its end the gradients of the seeds, and the
 * update. */
ddpm_status ddpm_task_begin(struct ddpm_trainer *trainer, bool low_memory);
ddpm_status ddpm_task_end(struct ddpm_trainer *trainer, int64_t batch,
                          const struct ddpm_seed *seeds, size_t count);

/* The draw of a task: begin the part, the pictures' inputs and x_0; then, behind whatever else the
 * task draws, ε. */
void ddpm_task_begin_draw(struct ddpm_trainer *trainer, int64_t batch);
void ddpm_task_draw_noise(struct ddpm_trainer *trainer);

#endif

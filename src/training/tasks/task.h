/* A task builds the graph of one training step from the trainer's players and the data.
 *
 * A player is a network with its optimizer. Today's only task, denoise, has one; a task with a
 * critic or a teacher has more. */
#ifndef DDPM_TRAINING_TASKS_TASK_H
#define DDPM_TRAINING_TASKS_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

struct ddpm_trainer;

struct ddpm_task {
    const char *name;
    /* Build trainer->graph and everything that trainer_state.h says of it. */
    ddpm_status (*build)(struct ddpm_trainer *trainer, int64_t batch, bool low_memory);
    /* Build the graph of trainer->validator: forward only, the EMA weights, the loss of each of
     * `batch` pictures as ddpm_trainer_validate() states it. */
    ddpm_status (*build_validation)(struct ddpm_trainer *trainer, int64_t batch);
};

extern const struct ddpm_task ddpm_task_denoise;

#endif

/* An average of another length, put together afterwards from those that a run's checkpoints keep
 * (Karras et al. 2024, section 3.2 and appendix C). */
#ifndef DDPM_TRAINING_EMA_RECONSTRUCT_H
#define DDPM_TRAINING_EMA_RECONSTRUCT_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* A power-function average as it was after step t. */
struct ddpm_ema_profile {
    double t, length;
};

/* The weights with which the `count` profiles in `kept` together come nearest to `wanted`, by least
 * squares. *error receives what is left of it, as a part of it: 0 none, 1 all. */
ddpm_status ddpm_ema_solve(const struct ddpm_ema_profile *kept, size_t count,
                           const struct ddpm_ema_profile *wanted, double *weights, double *error);

struct ddpm_ema_reconstruction {
    int64_t step;       /* of the newest checkpoint that was used */
    size_t checkpoints; /* that were used */
    double error;       /* of ddpm_ema_solve() */
};

/* Make the average of relative length `length` after the step of the run's newest checkpoint, or of
 * checkpoint `step` where that is not 0, and write it to `folder` (made if it is not there) as
 * ema.safetensors, with config.json: a model that ddpm_network_open() takes.
 *
 * DDPM_ERROR_ARGUMENT where the run has no power-function averages; DDPM_ERROR_IO where there is no
 * such checkpoint, or one cannot be read. */
ddpm_status ddpm_ema_reconstruct(const char *run, double length, int64_t step, const char *folder,
                                 struct ddpm_ema_reconstruction *out);

#endif

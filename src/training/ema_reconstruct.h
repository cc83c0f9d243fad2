/* An average of a different length, made afterwards from those in a run's checkpoints (Karras et
 * al. 2024, section 3.2 and appendix C). */
#ifndef DDPM_TRAINING_EMA_RECONSTRUCT_H
#define DDPM_TRAINING_EMA_RECONSTRUCT_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* A power-function average after step t. */
struct ddpm_ema_profile {
    double t, length;
};

/* The weights with which the `count` profiles in `kept` approximate `wanted` best, by least
 * squares. *error is the relative error: 0 exact, 1 useless. */
ddpm_status ddpm_ema_solve(const struct ddpm_ema_profile *kept, size_t count,
                           const struct ddpm_ema_profile *wanted, double *weights, double *error);

struct ddpm_ema_reconstruction {
    int64_t step;       /* step of the newest checkpoint used */
    size_t checkpoints; /* how many were used */
    double error;       /* as from ddpm_ema_solve() */
};

/* Make the average of relative length `length` after step `step`, which must have a checkpoint; 0
 * means the newest one. It is written to `folder` (created if missing) as ema.safetensors and
 * config.json, a model that ddpm_network_open() takes.
 *
 * DDPM_ERROR_ARGUMENT if the run has no power-function averages; DDPM_ERROR_IO if there is no such
 * checkpoint, or one cannot be read. */
ddpm_status ddpm_ema_reconstruct(const char *run, double length, int64_t step, const char *folder,
                                 struct ddpm_ema_reconstruction *out);

#endif

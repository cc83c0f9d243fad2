/* How long a training run will still take: its steps, grids, validations and checkpoints. */
#ifndef DDPM_PROGRAM_OUTLOOK_H
#define DDPM_PROGRAM_OUTLOOK_H

#include <stdint.h>

/* Work besides steps: how many times so far, and how long all of it took. */
struct ddpm_share {
    int64_t count;
    double seconds;
};

struct ddpm_outlook {
    int64_t steps;                    /* of the whole run */
    int64_t patch_steps;              /* of these, the first ones, on patches; 0: none */
    double patch_cost;                /* of such a step, where one on whole pictures costs 1 */
    int64_t save_every, sample_every; /* as in the options; both also happen at the end */
    int64_t validate_every;           /* steps; also at the end. 0: never */
    /* Guesses, in training steps on whole pictures, used until the first one has been timed. */
    double grid_in_steps; /* 0: no grids */
    double validation_in_steps;
    struct ddpm_share grids, checkpoints, validations;
};

/* Guesses the cost of a grid in training steps. Drawing only runs forward passes, so one
 * evaluation of the network counts as a third of a training step with the same number of pictures.
 */
double ddpm_grid_in_steps(int64_t evaluations, int64_t pictures, int64_t pictures_per_step);

/* Count one more, which took `seconds`. */
void ddpm_share_add(struct ddpm_share *share, double seconds);

/* Seconds left after `step`, if a step like this one takes `each`. What is due at `step` itself
 * still counts. The cost of a checkpoint is only known after the first. */
double ddpm_outlook_left(const struct ddpm_outlook *outlook, int64_t step, double each);

#endif

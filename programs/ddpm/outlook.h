/* How long a training run still takes: its steps, the grids it draws and the checkpoints it writes.
 */
#ifndef DDPM_PROGRAM_OUTLOOK_H
#define DDPM_PROGRAM_OUTLOOK_H

#include <stdint.h>

/* What happens beside steps: how often so far, and how long all of it took. */
struct ddpm_share {
    int64_t count;
    double seconds;
};

struct ddpm_outlook {
    int64_t steps;                    /* of the whole run */
    int64_t save_every, sample_every; /* as the options; both also happen at the end */
    double grid_in_steps;   /* a grid's time as training steps, until one was drawn; 0: no grids */
    int64_t validate_every; /* steps; also at the end. 0: never */
    double validation_in_steps; /* a measurement's time as training steps, until one was made */
    struct ddpm_share grids, checkpoints, validations;
};

/* What a grid takes, guessed: an evaluation of the network counts as a third of a training step
 * for as many pictures, forwards without backwards. */
double ddpm_grid_in_steps(int64_t evaluations, int64_t pictures, int64_t pictures_per_step);

/* Count one more that took `seconds`. */
void ddpm_share_add(struct ddpm_share *share, double seconds);

/* Seconds that are left after `step`, when a step takes `each`; what is due at `step` itself counts
 * as left. How long a checkpoint takes is known after the first. */
double ddpm_outlook_left(const struct ddpm_outlook *outlook, int64_t step, double each);

#endif

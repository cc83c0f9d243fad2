/* Pairs of noise levels for Easy Consistency Tuning (Geng et al. 2024). docs/distillation.md
 * describes the method. */
#ifndef DDPM_DIFFUSION_CONSISTENCY_H
#define DDPM_DIFFUSION_CONSISTENCY_H

#include "diffusion/objective.h"

/* Two levels of one picture with the same noise. They are sigma/alpha, as on EDM's path. */
struct ddpm_consistency_pair {
    double noisy, near; /* near: the cleaner one; 0: the picture itself */
};

/* The stage of a run of `steps` steps after `done` of them. Every stage halves the gap between the
 * two levels. */
int ddpm_consistency_stage(int64_t done, int64_t steps);

/* The pair whose noisier level is sigma/alpha `noisy`, clamped to the path. */
struct ddpm_consistency_pair ddpm_consistency_pair_at(const struct ddpm_path *path, double noisy,
                                                      int stage);

/* The sigma/alpha for position `place` in the batch of a step: for three of four its logarithm is
 * normal, for the rest uniform up to the noisy end. */
double ddpm_consistency_draw(const struct ddpm_diffusion_config *model, uint64_t seed,
                             uint32_t step, uint32_t place);

/* Columns of a picture's coefficients:
 *
 *     x = NOISY_X0·x_0 + NOISY_NOISE·ε      out = network(NOISY_INPUT·x, NOISY_TIME)
 *     f = NOISY_X·x + NOISY_OUT·out
 *
 * and the same with NEAR for the cleaner level. There the target is f + CLEAN·x_0: either f alone
 * or x_0 alone. NOISY_OUT and WEIGHT are adjacent, for pseudo_huber. */
enum ddpm_consistency_column {
    DDPM_CONSISTENCY_NOISY_X0,
    DDPM_CONSISTENCY_NOISY_NOISE,
    DDPM_CONSISTENCY_NOISY_INPUT,
    DDPM_CONSISTENCY_NOISY_TIME,
    DDPM_CONSISTENCY_NOISY_X,
    DDPM_CONSISTENCY_NOISY_OUT,
    DDPM_CONSISTENCY_WEIGHT,
    DDPM_CONSISTENCY_NEAR_X0,
    DDPM_CONSISTENCY_NEAR_NOISE,
    DDPM_CONSISTENCY_NEAR_INPUT,
    DDPM_CONSISTENCY_NEAR_TIME,
    DDPM_CONSISTENCY_NEAR_X,
    DDPM_CONSISTENCY_NEAR_OUT,
    DDPM_CONSISTENCY_CLEAN,
    DDPM_CONSISTENCY_COLUMNS,
};

/* c of the pseudo-Huber distance of root mean squares: the 0.00054·√d of Song & Dhariwal 2024,
 * which is for the distance of d values, divided by √d. */
#define DDPM_CONSISTENCY_HUBER 0.00054f

/* The coefficients of a pair. */
void ddpm_consistency_row(const struct ddpm_diffusion_config *model, const struct ddpm_path *path,
                          const struct ddpm_consistency_pair *pair,
                          float row[DDPM_CONSISTENCY_COLUMNS]);

#endif

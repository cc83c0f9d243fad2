/* Noise levels by their quantile in training. */
#ifndef DDPM_DIFFUSION_QUANTILE_H
#define DDPM_DIFFUSION_QUANTILE_H

#include "diffusion/level.h"

/* The level at quantile `quantile` in (0,1) of the training levels: on a schedule the timestep
 * floor(quantile·T), elsewhere from the objective's distribution. */
struct ddpm_level ddpm_training_quantile(const struct ddpm_diffusion_config *model,
                                         const struct ddpm_path *path, double quantile);

#endif

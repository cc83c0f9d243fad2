/* Noise levels by how much of training lies below them. */
#ifndef DDPM_DIFFUSION_QUANTILE_H
#define DDPM_DIFFUSION_QUANTILE_H

#include "diffusion/level.h"

/* The level that a share `quantile` in (0,1) of the levels of training lies below: on a schedule
 * the timestep floor(quantile·T), elsewhere that of the objective's distribution. */
struct ddpm_level ddpm_training_quantile(const struct ddpm_diffusion_config *model,
                                         const struct ddpm_path *path, double quantile);

#endif

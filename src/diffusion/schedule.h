/* Noise schedules of discrete timesteps, computed in fp64. */
#ifndef DDPM_DIFFUSION_SCHEDULE_H
#define DDPM_DIFFUSION_SCHEDULE_H

#include "config/config.h"
#include "core/error.h"
#include "diffusion/level.h"

/* Fills in betas[0 … T-1]; ddpm_path_create() checks them. */
typedef void ddpm_schedule_betas(const struct ddpm_diffusion_config *config, double *betas);

/* A family of schedules: a row of config/schedules.inc. */
struct ddpm_schedule {
    const char *name; /* "linear" */
    const char *help;
    ddpm_schedule_betas *betas;
};

extern const struct ddpm_schedule ddpm_schedules[DDPM_SCHEDULE_COUNT];

#define SCHEDULE(id, name, help, betas) ddpm_schedule_betas ddpm_##betas;
#include "config/schedules.inc"
#undef SCHEDULE

/* The path of the configured objective, in fp64. A schedule's path has β_t and ᾱ_t = Π (1 - β),
 * with zero_terminal_snr rescaled so that the last ᾱ is 0 (Lin et al. 2024, algorithm 1), and then
 * with the signal-to-noise ratio ᾱ/(1 - ᾱ) divided by shift². All must lie between 0 and 1;
 * otherwise DDPM_ERROR_ARGUMENT names the table and the first bad t, and *out is empty. Free with
 * ddpm_path_clear(). */
ddpm_status ddpm_path_create(const struct ddpm_diffusion_config *config, struct ddpm_path *out);

/* The same without a cut at drawing_level: a model that was distilled from a fitted start does not
 * draw from levels above it, but its network may be run there. */
ddpm_status ddpm_path_create_whole(const struct ddpm_diffusion_config *config,
                                   struct ddpm_path *out);
void ddpm_path_clear(struct ddpm_path *path);

#endif

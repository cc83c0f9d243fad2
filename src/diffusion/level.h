/* Noise levels, the path they lie on, and how a sampler's steps are spread over it. Everything here
 * is fp64 on the host. */
#ifndef DDPM_DIFFUSION_LEVEL_H
#define DDPM_DIFFUSION_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "core/error.h"

/* A noise level: x = alpha·x_0 + sigma·ε. */
struct ddpm_level {
    double time; /* what the network is told: t = 0 … T-1, may be fractional */
    double alpha, sigma;
    double alpha_bar; /* alpha²; on a schedule its own ᾱ, whose rounding is kept */
};

/* The picture itself. The network is never asked about it, so its time says nothing. */
#define DDPM_LEVEL_CLEAN ((struct ddpm_level){.time = 0, .alpha = 1, .sigma = 0, .alpha_bar = 1})

/* sigma/alpha: the noise beside a picture of scale 1. Infinite where alpha is 0. */
double ddpm_level_ratio(const struct ddpm_level *level);

/* ln(alpha/sigma), half the logarithm of the signal-to-noise ratio. */
double ddpm_level_lambda(const struct ddpm_level *level);

/* The path of a discrete schedule: its levels by t = 0 … T-1, between them linear in
 * ln(sigma/alpha). The arrays are borrowed. */
struct ddpm_path {
    int64_t timesteps;                /* T, at least 1 */
    const double *alpha_bars, *betas; /* [T] */
};

/* The level at t, which is clamped to [0, T-1]. At a whole t it is the schedule's own. */
struct ddpm_level ddpm_path_level(const struct ddpm_path *path, double t);

/* The t whose sigma/alpha is `ratio`: the inverse of ddpm_path_level(), in [0, T-1]. */
double ddpm_path_time(const struct ddpm_path *path, double ratio);

/* The level whose sigma/alpha is `ratio`. Without a path (NULL) alpha is 1 and time is sigma;
 * with one, the ratio is clamped to the path. */
struct ddpm_level ddpm_path_level_at(const struct ddpm_path *path, double ratio);

/* How steps are spread over a path. docs/samplers.md defines each. */
struct ddpm_spacing {
    const char *name; /* "trailing" */
    const char *help;
    /* t of step 0 … steps-1: falling, in [0, T-1] */
    double (*time)(const struct ddpm_path *path, int64_t steps, int64_t step);
};

extern const struct ddpm_spacing ddpm_spacings[]; /* by enum ddpm_spacing_kind */
extern const size_t ddpm_spacing_count;

/* The spacing of this name, or DDPM_ERROR_ARGUMENT naming the nearest. */
ddpm_status ddpm_spacing_find(const char *name, const struct ddpm_spacing **out);

/* More steps than anyone wants: twice that many turns still have a number each. */
#define DDPM_LARGEST_STEPS 1000000

/* The levels of a chain of `steps` steps: levels[0 … steps-1] on the path, noise falling, and
 * levels[steps] the clean picture. `whole` takes whole timesteps only, each at most once.
 * DDPM_ERROR_ARGUMENT unless there are 1 to DDPM_LARGEST_STEPS steps, and with `whole` no more than
 * timesteps. */
ddpm_status ddpm_levels_space(const struct ddpm_path *path, const struct ddpm_spacing *spacing,
                              int64_t steps, bool whole, struct ddpm_level *levels);

#endif

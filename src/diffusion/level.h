/* Noise levels, the path they lie on, and how a sampler's steps are spread over it. Everything is
 * fp64 on the host. */
#ifndef DDPM_DIFFUSION_LEVEL_H
#define DDPM_DIFFUSION_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "core/error.h"

/* A noise level: x = alpha·x_0 + sigma·ε. */
struct ddpm_level {
    double time; /* the network's time input; on a schedule t = 0 … T-1, may be fractional */
    double alpha, sigma;
    double alpha_bar; /* alpha²; on a schedule its own ᾱ, with its rounding */
};

/* The picture itself. The network never sees this level, so its time is meaningless. */
#define DDPM_LEVEL_CLEAN ((struct ddpm_level){.time = 0, .alpha = 1, .sigma = 0, .alpha_bar = 1})

/* sigma/alpha: the noise relative to a picture of scale 1. Infinite if alpha is 0. */
double ddpm_level_ratio(const struct ddpm_level *level);

/* ln(alpha/sigma), half the logarithm of the signal-to-noise ratio. */
double ddpm_level_lambda(const struct ddpm_level *level);

/* A path of levels from clean to noisy, with coordinate t:
 *
 *     schedule   t = 0 … T-1 are the discrete timesteps; between them ln(sigma/alpha) is linear
 *     flow       alpha = 1 - s, sigma = s, time T·s, with s = S·u/(1 + (S-1)·u) and u = t/T
 *     edm        alpha = 1, time ln(sigma)/4; t is even in sigma^(1/7) from S·min to S·max
 *
 * The last two are continuous, t = 0 … T; S is the shift. See docs/samplers.md. The arrays are
 * borrowed. */
enum ddpm_path_kind { DDPM_PATH_SCHEDULE, DDPM_PATH_FLOW, DDPM_PATH_EDM };
struct ddpm_path {
    enum ddpm_path_kind kind;
    int64_t timesteps;                  /* T, at least 1 */
    const double *alpha_bars, *betas;   /* [T]; for a schedule only */
    double shift, sigma_min, sigma_max; /* for edm; flow has a shift */
    double end; /* t of the noisy end, if ddpm_path_cut() has moved it; 0: the path's own */
};

/* The ends of the levels that the network sees. Noisy end: T-1 on a schedule, T on a continuous
 * path. Clean end: 0, but T/1000 for flow, where 0 is the picture itself. */
double ddpm_path_begin(const struct ddpm_path *path);
double ddpm_path_end(const struct ddpm_path *path);

/* Cut off the levels above sigma/alpha `ratio`. Does nothing if the path ends below it. */
void ddpm_path_cut(struct ddpm_path *path, double ratio);

/* The level at t, which is clamped to the path. At a whole t of a schedule it is that of the
 * timestep. */
struct ddpm_level ddpm_path_level(const struct ddpm_path *path, double t);

/* The t at which sigma/alpha is `ratio`: the inverse of ddpm_path_level(), clamped to the path. */
double ddpm_path_time(const struct ddpm_path *path, double ratio);

/* The level of a continuous path with this sigma, clamped only to where its formula is valid. */
struct ddpm_level ddpm_path_level_of_sigma(const struct ddpm_path *path, double sigma);

/* The level at which sigma/alpha is `ratio`. Without a path (NULL), alpha is 1 and time is sigma;
 * with one, the ratio is clamped to the path. */
struct ddpm_level ddpm_path_level_at(const struct ddpm_path *path, double ratio);

/* How steps are spread over a path. docs/samplers.md defines each spacing. */
struct ddpm_spacing {
    const char *name; /* "trailing" */
    const char *help;
    /* t of steps 0 … steps-1: falling, from ddpm_path_end() to 0 or more */
    double (*time)(const struct ddpm_path *path, int64_t steps, int64_t step);
};

extern const struct ddpm_spacing ddpm_spacings[]; /* indexed by enum ddpm_spacing_kind */
extern const size_t ddpm_spacing_count;

/* The spacing of this name, or DDPM_ERROR_ARGUMENT naming the nearest. */
ddpm_status ddpm_spacing_find(const char *name, const struct ddpm_spacing **out);

/* More steps than anyone needs; twice that many turns can still be numbered. */
#define DDPM_LARGEST_STEPS 1000000

/* The levels of a chain of `steps` steps: levels[0 … steps-1] on the path with falling noise, and
 * levels[steps], the clean picture. `whole` uses only whole timesteps, each at most once, and needs
 * a schedule. DDPM_ERROR_ARGUMENT unless there are 1 to DDPM_LARGEST_STEPS steps, and with `whole`
 * at most as many as timesteps. */
ddpm_status ddpm_levels_space(const struct ddpm_path *path, const struct ddpm_spacing *spacing,
                              int64_t steps, bool whole, struct ddpm_level *levels);

#endif

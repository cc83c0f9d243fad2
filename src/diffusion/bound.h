/* The variational bound of a discrete chain (Ho et al. 2020, equation 5), a term for each timestep:
 *
 *     -ln p(x_0) ≤ L_T + Σ_{t=1}^{T-1} KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)) - ln p(x_0 |
 * x_1)
 *
 * with x_t here the level of timestep t = 0 … T-1, of which 0 is the last that the chain leaves.
 * Terms are in nats, of one value of a picture; whoever has a network adds them up. Everything is
 * fp64 on the host. docs/evaluation.md states the formulas. */
#ifndef DDPM_DIFFUSION_BOUND_H
#define DDPM_DIFFUSION_BOUND_H

#include "diffusion/level.h"
#include "diffusion/variance.h"

/* What every value of a picture shares at timestep t. */
struct ddpm_bound_term {
    struct ddpm_level level; /* of x_t */
    bool decoder;            /* t = 0: the chance of the picture's 8-bit values */
    double mean;             /* the two means differ by mean·(x_0 - x̂_0) */
    /* Of the chain's ln variance; lowest is the posterior's own, and a fixed variance's. At t = 0,
     * where that is 0, it is the one of t = 1, as in the authors' code. */
    struct ddpm_variance variance;
};

/* The term of a whole timestep of a schedule. */
struct ddpm_bound_term ddpm_bound_term(const struct ddpm_path *path, int64_t t);

/* One value's share: the KL divergence of two normals, or at t = 0 -ln of the chance of x_0's bin,
 * which reaches 1/255 to both sides; those of -1 and 1 are open. x0 lies in [-1,1]. */
double ddpm_bound_nats(const struct ddpm_bound_term *term, double x0, double predicted,
                       double log_variance);

/* KL(q(x_T | x_0) ‖ N(0,1)) of one value: what the noisiest level still tells of the picture. */
double ddpm_bound_prior(const struct ddpm_path *path, double x0);

/* Timesteps first … last, one of which stands for all of them. */
struct ddpm_bound_stratum {
    int64_t first, last;
};

/* Cut 0 … T-1 into `wanted` strata, at least 2, or T where that is fewer; returns how many. 0 is
 * alone, and the later ones end where t/T is a square of an even part: terms fall with t. */
int64_t ddpm_bound_strata(int64_t timesteps, int64_t wanted, struct ddpm_bound_stratum *strata);

/* The timestep of stratum `number` for a picture: uniform, so that the term times the stratum's
 * width is right on average. */
int64_t ddpm_bound_timestep(const struct ddpm_bound_stratum *stratum, int64_t number, uint64_t seed,
                            uint32_t picture);

#endif

/* The variational bound of a discrete chain (Ho et al. 2020, equation 5), one term per timestep:
 *
 *     -ln p(x_0) ≤ L_T + Σ_{t=1}^{T-1} KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)) - ln p(x_0 |
 * x_1)
 *
 * Here x_t is at the level of timestep t = 0 … T-1; the chain leaves timestep 0 last. Terms are in
 * nats per value of a picture; the caller, who has the network, adds them up. Everything is fp64 on
 * the host. docs/evaluation.md states the formulas. */
#ifndef DDPM_DIFFUSION_BOUND_H
#define DDPM_DIFFUSION_BOUND_H

#include "diffusion/level.h"
#include "diffusion/variance.h"

/* What all values of a picture share at timestep t. */
struct ddpm_bound_term {
    struct ddpm_level level; /* of x_t */
    bool decoder;            /* t = 0: probability of the picture's 8-bit values */
    double mean;             /* the two means differ by mean·(x_0 - x̂_0) */
    /* Bounds of the ln variance of a step; lowest is the posterior's, and a fixed variance's. At t
     * = 0, where that is 0, it is the one of t = 1, as in the authors' code. */
    struct ddpm_variance variance;
};

/* The term of a whole timestep of a schedule. */
struct ddpm_bound_term ddpm_bound_term(const struct ddpm_path *path, int64_t t);

/* One value's share: the KL divergence of two normals, or at t = 0 -ln of the probability of x_0's
 * bin, which extends 1/255 to both sides; the bins of -1 and 1 are open. x0 is in [-1,1]. */
double ddpm_bound_nats(const struct ddpm_bound_term *term, double x0, double predicted,
                       double log_variance);

/* KL(q(x_T | x_0) ‖ N(0,1)) of one value: what the noisiest level still reveals of the picture. */
double ddpm_bound_prior(const struct ddpm_path *path, double x0);

/* Timesteps first … last, represented by one of them. */
struct ddpm_bound_stratum {
    int64_t first, last;
};

/* Split 0 … T-1 into `wanted` strata, at least 2 and at most T; returns how many. 0 is alone, and
 * the others end where t/T is the square of an even fraction, because terms fall with t. */
int64_t ddpm_bound_strata(int64_t timesteps, int64_t wanted, struct ddpm_bound_stratum *strata);

/* The timestep of stratum `number` for a picture: uniform, so that the term times the stratum's
 * width has the right mean. */
int64_t ddpm_bound_timestep(const struct ddpm_bound_stratum *stratum, int64_t number, uint64_t seed,
                            uint32_t picture);

#endif

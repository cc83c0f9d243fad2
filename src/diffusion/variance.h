/* A learned variance of the reverse chain's steps (Nichol & Dhariwal 2021, section 3.1). Besides ε̂
 * the network predicts, for every element, a position v between two bounds of the variance's
 * logarithm:
 *
 *     ln variance = lowest + (v+1)/2·(highest - lowest)
 *     lowest = ln β~, the posterior's variance β~ = β·(1-ᾱ')/(1-ᾱ)        highest = ln β
 *
 * -1 and 1 are the bounds; v itself is not bounded. */
#ifndef DDPM_DIFFUSION_VARIANCE_H
#define DDPM_DIFFUSION_VARIANCE_H

#include "diffusion/level.h"
#include "kernels/kernels.h"

/* The bounds of ln variance. */
struct ddpm_variance {
    double lowest, highest;
};

/* The bounds for a step over `beta` from ᾱ = `bar` to the noisy level ᾱ' = `bar_before`. */
struct ddpm_variance ddpm_variance_between(double beta, double bar, double bar_before);

/* Fill in the columns of enum ddpm_variance_column for every t of a schedule of at least 2
 * timesteps: rows[t·stride] is the first column of t. At t = 0, where β~ is 0, the lower bound is
 * that of t = 1, as in the authors' code. */
void ddpm_variance_rows(const struct ddpm_path *path, float *rows, int64_t stride);

#endif

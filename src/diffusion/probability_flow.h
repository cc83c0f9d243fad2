/* The likelihood of a picture by the probability flow (Song et al. 2021, section 4.3): an ordinary
 * differential equation carries the picture to the noisiest level, and the change of density along
 * the way is the integral of its divergence.
 *
 *     dz/dw = rate·(z - x̂_0(x))        d ln p/dw = -rate·(D - tr ∂x̂_0/∂z)
 *
 *     schedule, edm   z = x/alpha, w = ln(sigma/alpha), rate 1
 *     flow            z = x, w = sigma, rate 1/sigma
 *
 * It is solved with the classical fourth-order Runge-Kutta method, with even steps in w. Everything
 * is fp64 on the host. */
#ifndef DDPM_DIFFUSION_PROBABILITY_FLOW_H
#define DDPM_DIFFUSION_PROBABILITY_FLOW_H

#include "diffusion/level.h"

/* x̂_0 of x, both [pictures][values], all at one level; and for each picture the trace of ∂x̂_0/∂x,
 * or an estimate. */
typedef ddpm_status ddpm_flow_denoiser(void *user, const struct ddpm_level *level, const double *x,
                                       double *x0, double *traces);

struct ddpm_flow {
    const struct ddpm_path *path;
    int64_t pictures, values; /* values of a picture */
    int64_t steps;            /* each calls the denoiser DDPM_FLOW_EVALUATIONS times */
    ddpm_flow_denoiser *denoise;
    void *user;
};

#define DDPM_FLOW_EVALUATIONS 4

/* ln p(x) of each picture at the clean end of the path; x [pictures][values] becomes z at the noisy
 * end. There p is N(0, sigma²) on a continuous path and N(0,1) on a schedule, as at the start of a
 * chain. */
ddpm_status ddpm_flow_likelihood(const struct ddpm_flow *flow, double *x, double *log_density);

#endif

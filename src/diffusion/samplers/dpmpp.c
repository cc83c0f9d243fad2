/* DPM-Solver++ 2M (Lu et al. 2022, algorithm 2) and its form with noise. With λ = ln(α/σ),
 * h = λ' - λ and h_before the step before:
 *
 *     D  = x̂_0 + (x̂_0 - k_0)·h/(2·h_before)                        k_0: x̂_0 of the step before
 *     x' = σ'/σ·x + α'·(1 - e^-h)·D                                 dpmpp
 *     x' = σ'/σ·e^-h·x + α'·(1 - e^-2h)·D + σ'·√(1 - e^-2h)·z       dpmpp-sde
 *
 * The first step is first order (D = x̂_0), and so is a step into the clean picture. */
#include <math.h>

#include "diffusion/samplers/samplers.h"

static ddpm_status fill(const struct ddpm_sampler_request *request, bool noise,
                        struct ddpm_turns *turns)
{
    double before = INFINITY; /* length of the previous step; infinite makes this one first order */
    for (size_t i = 0; i < ddpm_request_steps(request); ++i) {
        const struct ddpm_level *from = &request->levels[i], *to = from + 1;
        const double h = ddpm_step_length(from, to);
        const double gain = -to->alpha * expm1(noise ? -2 * h : -h);
        const double slope = isinf(h) ? 0 : h / (2 * before);
        struct ddpm_turn *turn;
        DDPM_TRY(ddpm_turns_add(turns, i, from, &turn));
        turn->x = to->sigma / from->sigma * (noise ? exp(-h) : 1);
        turn->x0 = gain * (1 + slope);
        turn->kept[0] = -gain * slope;
        turn->noise = noise ? to->sigma * sqrt(-expm1(-2 * h)) : 0;
        turn->keep_x0 = 0;
        before = h;
    }
    return DDPM_OK;
}

ddpm_status ddpm_fill_dpmpp(const struct ddpm_sampler_request *request, struct ddpm_turns *turns)
{
    return fill(request, false, turns);
}

ddpm_status ddpm_fill_dpmpp_sde(const struct ddpm_sampler_request *request,
                                struct ddpm_turns *turns)
{
    return fill(request, true, turns);
}

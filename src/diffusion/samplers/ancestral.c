/* The reverse chain (Ho et al. 2020, algorithm 2), with the posterior's variance or a learned one
 * (Nichol & Dhariwal 2021, section 3.1). Between levels that are not adjacent on the schedule, it
 * is the chain of a shorter schedule through the same levels, with β = 1 - ᾱ/ᾱ' (section 4). */
#include <math.h>

#include "diffusion/samplers/samplers.h"

/* Use the schedule's own β for a step of one timestep: the respaced formula rounds differently. */
static double beta_between(const struct ddpm_path *path, const struct ddpm_level *from,
                           const struct ddpm_level *to)
{
    const double next = to->sigma > 0 ? to->time : -1;
    if (from->time == floor(from->time) && from->time - next == 1)
        return path->betas[(int64_t)from->time];
    return 1 - from->alpha_bar / to->alpha_bar;
}

ddpm_status ddpm_fill_ancestral(const struct ddpm_sampler_request *request,
                                struct ddpm_turns *turns)
{
    for (size_t i = 0; i < ddpm_request_steps(request); ++i) {
        const struct ddpm_level *from = &request->levels[i], *to = from + 1;
        const double beta = beta_between(request->path, from, to), alpha = 1 - beta;
        const double bar = from->alpha_bar, bar_before = to->alpha_bar;
        struct ddpm_turn *turn;
        DDPM_TRY(ddpm_turns_add(turns, i, from, &turn));
        if (request->clip || !request->predicts_noise) {
            turn->x0 = beta * sqrt(bar_before) / (1 - bar);
            turn->x = sqrt(alpha) * (1 - bar_before) / (1 - bar);
        } else { /* the article's form, with its rounding */
            turn->x = sqrt(1 / alpha);
            turn->out = -(beta / (sqrt(alpha) * sqrt(1 - bar)));
        }
        turn->noise = sqrt(beta * (1 - bar_before) / (1 - bar));
        if (request->learned_variance && turn->noise > 0) {
            turn->noise = 1;
            turn->variance = ddpm_variance_between(beta, bar, bar_before);
        }
    }
    return DDPM_OK;
}

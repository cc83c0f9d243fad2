/* What a configuration draws with: every default filled in, `auto` resolved. */
#ifndef DDPM_DIFFUSION_CHAIN_H
#define DDPM_DIFFUSION_CHAIN_H

#include "config/config.h"
#include "diffusion/objective.h"
#include "diffusion/sampler.h"

struct ddpm_chain {
    const struct ddpm_sampler_kind *kind;
    const struct ddpm_spacing *spacing;
    int64_t steps;
    double threshold; /* quantile of dynamic thresholding; 0: off */
    double eta;
    int order;
    double churn, churn_min, churn_max, churn_noise;
};

/* The chain of `config` for a model of that objective and `timesteps`. Whether the numbers fit each
 * other shows when its turns are made: ddpm_sampler_turns(). */
struct ddpm_chain ddpm_chain_resolve(const struct ddpm_sampling_config *config,
                                     enum ddpm_objective_kind objective, int64_t timesteps);

/* Fill `turns` anew for a model of `diffusion`, with its noise levels spaced over the schedule.
 * DDPM_ERROR_ARGUMENT where the chain does not fit it, or its numbers each other. Free with
 * ddpm_turns_clear(), also after a failure. */
ddpm_status ddpm_chain_turns(const struct ddpm_chain *chain,
                             const struct ddpm_diffusion_config *diffusion, bool clip,
                             struct ddpm_turns *turns);

/* "dpmpp, 20 steps, trailing", with what else is set behind: "ddim, 50 steps, trailing, eta 0.5".
 * Written to `text`, which is returned. */
#define DDPM_CHAIN_BYTES 256
const char *ddpm_chain_text(const struct ddpm_chain *chain, char text[DDPM_CHAIN_BYTES]);

#endif

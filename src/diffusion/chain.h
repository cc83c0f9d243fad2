/* What a configuration draws with: every default filled in, `auto` resolved. */
#ifndef DDPM_DIFFUSION_CHAIN_H
#define DDPM_DIFFUSION_CHAIN_H

#include "config/config.h"
#include "diffusion/objective.h"
#include "diffusion/sampler.h"

/* What a chain is given beside noise. All 0: nothing. */
struct ddpm_chain_given {
    bool from;       /* it begins from a picture … */
    double strength; /* … that is noised so far that this part of the steps is run, 0 to 1 */
    bool invert;     /* it runs backwards, from a picture to x at the first level */
    bool mask;       /* with `from`: the picture is drawn anew inside a mask only */
    int64_t resample, jump; /* with `mask`: that many steps are drawn that often; 0: see
                               ddpm_chain_give() */
};

struct ddpm_chain {
    const struct ddpm_sampler_kind *kind;
    const struct ddpm_spacing *spacing;
    int64_t steps;
    double threshold; /* quantile of dynamic thresholding; 0: off */
    double eta;
    int order;
    double churn, churn_min, churn_max, churn_noise;
    struct ddpm_chain_given given;
    bool learned_variance; /* the model's; off unless the caller says so */
};

/* The chain of `config` for a model of that objective and `timesteps`. Whether the numbers fit each
 * other shows when its turns are made: ddpm_sampler_turns(). */
struct ddpm_chain ddpm_chain_resolve(const struct ddpm_sampling_config *config,
                                     enum ddpm_objective_kind objective, int64_t timesteps);

/* The same for a model of `diffusion`: of one that ddpm distill made, auto is sampler consistency
 * with the steps that it has learned to draw in. */
struct ddpm_chain ddpm_chain_of(const struct ddpm_sampling_config *config,
                                const struct ddpm_diffusion_config *diffusion);

/* Leave out the noise that a chain would draw: what is stochastic becomes ddim, eta and churn 0. */
void ddpm_chain_quieten(struct ddpm_chain *chain);

/* Does it draw noise after the first level? */
bool ddpm_chain_draws_noise(const struct ddpm_chain *chain);

/* Let the chain begin from what `given` says. An inversion becomes ddim's, whichever sampler it
 * was. resample is 10 unless given, and jump a 25th of the steps: with 250 steps that is 10 too, as
 * in Lugmayr et al. 2022. DDPM_ERROR_ARGUMENT where a number is out of range, an option lacks the
 * one that it belongs to, or a chain that draws noise would be inverted. */
ddpm_status ddpm_chain_give(struct ddpm_chain *chain, const struct ddpm_chain_given *given);

/* Fill `turns` anew with the turns of a request for all the chain's levels, begun from what the
 * chain is given. */
ddpm_status ddpm_chain_fill(const struct ddpm_chain *chain,
                            const struct ddpm_sampler_request *request, struct ddpm_turns *turns);

/* Fill `turns` anew for a model of `diffusion`, with its noise levels spaced over the schedule.
 * DDPM_ERROR_ARGUMENT where the chain does not fit it, or its numbers each other. Free with
 * ddpm_turns_clear(), also after a failure. */
ddpm_status ddpm_chain_turns(const struct ddpm_chain *chain,
                             const struct ddpm_diffusion_config *diffusion, bool clip,
                             struct ddpm_turns *turns);

/* "dpmpp, 10 steps, karras", with what else is set behind: "ddim, 50 steps, karras, eta 0.5,
 * strength 0.4".
 * Written to `text`, which is returned. */
#define DDPM_CHAIN_BYTES 384
const char *ddpm_chain_text(const struct ddpm_chain *chain, char text[DDPM_CHAIN_BYTES]);

#endif

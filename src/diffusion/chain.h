/* The chain that a configuration draws with: all defaults filled in, `auto` resolved. */
#ifndef DDPM_DIFFUSION_CHAIN_H
#define DDPM_DIFFUSION_CHAIN_H

#include "config/config.h"
#include "diffusion/objective.h"
#include "diffusion/sampler.h"

/* What a chain starts from besides noise. All 0: only noise. */
struct ddpm_chain_given {
    bool from;       /* it starts from a picture, … */
    double strength; /* … with so much noise added that this fraction of the steps is run, 0 to 1 */
    bool invert;     /* it runs backwards, from a picture to x at the first level */
    bool mask;       /* with `from`: only the inside of a mask is drawn */
    int64_t resample,
        jump; /* with `mask`: draw this many steps this often; 0: see ddpm_chain_give() */
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
    double start; /* sigma/alpha of the fitted start (diffusion/start.h); 0: it starts from noise */
    bool learned_variance; /* the model's; off unless the caller sets it */
};

/* The chain of `config` for a model with that objective and `timesteps`. ddpm_sampler_turns()
 * checks later whether the numbers fit together. */
struct ddpm_chain ddpm_chain_resolve(const struct ddpm_sampling_config *config,
                                     enum ddpm_objective_kind objective, int64_t timesteps);

/* The same for a model of `diffusion`. For a distilled model, auto means sampler consistency with
 * the number of steps it has learned. */
struct ddpm_chain ddpm_chain_of(const struct ddpm_sampling_config *config,
                                const struct ddpm_diffusion_config *diffusion);

/* Should the chain have a fitted start, if there is one? Always for a model that has learned to
 * draw from one. `auto` leaves the ancestral sampler alone, which takes every timestep. */
bool ddpm_chain_prefers_fitted(const struct ddpm_chain *chain,
                               const struct ddpm_sampling_config *config,
                               const struct ddpm_diffusion_config *diffusion);

/* Start from the fitted level `ratio` instead of noise, or from the level that a model has learned
 * to draw from. If `config` leaves the number of steps to
 * the sampler `auto`, they become fewer. */
void ddpm_chain_start_fitted(struct ddpm_chain *chain, const struct ddpm_sampling_config *config,
                             const struct ddpm_diffusion_config *diffusion, double ratio);

/* Remove the noise that a chain would add: stochastic samplers become ddim, eta and churn 0. */
void ddpm_chain_quieten(struct ddpm_chain *chain);

/* Does it add noise after the first level? */
bool ddpm_chain_draws_noise(const struct ddpm_chain *chain);

/* Start the chain from what `given` says. An inversion always uses ddim. resample defaults to 10,
 * and jump to a 25th of the steps: with 250 steps that is 10 too, as in Lugmayr et al. 2022.
 * DDPM_ERROR_ARGUMENT if a number is out of range, an option lacks the one it depends on, or a
 * chain that adds noise would be inverted. */
ddpm_status ddpm_chain_give(struct ddpm_chain *chain, const struct ddpm_chain_given *given);

/* Fill `turns` with the turns of a request for all levels of the chain, starting from what it was
 * given. */
ddpm_status ddpm_chain_fill(const struct ddpm_chain *chain,
                            const struct ddpm_sampler_request *request, struct ddpm_turns *turns);

/* Fill `turns` for a model of `diffusion`, with noise levels spaced over its schedule.
 * DDPM_ERROR_ARGUMENT if the chain does not fit the model, or its numbers do not fit together. Free
 * with ddpm_turns_clear(), even after a failure. */
ddpm_status ddpm_chain_turns(const struct ddpm_chain *chain,
                             const struct ddpm_diffusion_config *diffusion, bool clip,
                             struct ddpm_turns *turns);

/* "dpmpp, 10 steps, karras", followed by whatever else is set: "ddim, 50 steps, karras, eta 0.5,
 * strength 0.4". Written to `text`, which is returned. */
#define DDPM_CHAIN_BYTES 384
const char *ddpm_chain_text(const struct ddpm_chain *chain, char text[DDPM_CHAIN_BYTES]);

#endif

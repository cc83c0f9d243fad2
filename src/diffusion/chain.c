/* Defaults for drawing. */
#include "diffusion/chain.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/text.h"
#include "diffusion/schedule.h"

/* What `auto` means, for each objective. */
static const struct {
    enum ddpm_sampler_choice sampler;
    enum ddpm_spacing_kind spacing; /* for other samplers too, except one that needs timesteps */
    int64_t steps, fitted_steps;    /* fitted_steps: from a fitted start */
} automatic[DDPM_OBJECTIVE_COUNT] = {
    [DDPM_OBJECTIVE_NOISE] = {DDPM_SAMPLER_DPMPP, DDPM_SPACING_KARRAS, 10, 6},
    [DDPM_OBJECTIVE_X0] = {DDPM_SAMPLER_DPMPP, DDPM_SPACING_KARRAS, 10, 6},
    [DDPM_OBJECTIVE_V] = {DDPM_SAMPLER_DPMPP, DDPM_SPACING_KARRAS, 10, 6},
    [DDPM_OBJECTIVE_FLOW] = {DDPM_SAMPLER_DPMPP, DDPM_SPACING_TRAILING, 20, 12},
    [DDPM_OBJECTIVE_EDM] = {DDPM_SAMPLER_DPMPP, DDPM_SPACING_KARRAS, 20, 12},
};

/* A short schedule needs no more steps than it has timesteps. */
static int64_t usual_steps(int64_t steps, enum ddpm_objective_kind objective, int64_t timesteps)
{
    const bool continuous = ddpm_objectives[objective].path != DDPM_PATH_SCHEDULE;
    return steps == 0 || (steps > timesteps && !continuous) ? timesteps : steps;
}

static int usual_spacing(const struct ddpm_sampling_config *config,
                         const struct ddpm_sampler_kind *kind, enum ddpm_objective_kind objective)
{
    if (config->spacing != DDPM_SPACING_AUTO)
        return config->spacing;
    return kind->discrete ? DDPM_SPACING_TRAILING : (int)automatic[objective].spacing;
}

struct ddpm_chain ddpm_chain_resolve(const struct ddpm_sampling_config *config,
                                     enum ddpm_objective_kind objective, int64_t timesteps)
{
    const bool any_sampler = config->sampler == DDPM_SAMPLER_AUTO;
    const struct ddpm_sampler_kind *kind =
        &ddpm_samplers[any_sampler ? (int)automatic[objective].sampler : config->sampler];
    struct ddpm_chain chain = {
        .kind = kind,
        .spacing = &ddpm_spacings[usual_spacing(config, kind, objective)],
        .steps = config->steps,
        .threshold = config->threshold,
        .eta = config->eta,
        .order = (int)config->order,
        .churn = config->churn,
        .churn_min = config->churn_min,
        .churn_max = config->churn_max,
        .churn_noise = config->churn_noise,
    };
    if (chain.steps == 0)
        chain.steps =
            usual_steps(any_sampler ? automatic[objective].steps : chain.kind->usual_steps,
                        objective, timesteps);
    return chain;
}

struct ddpm_chain ddpm_chain_of(const struct ddpm_sampling_config *config,
                                const struct ddpm_diffusion_config *diffusion)
{
    const enum ddpm_objective_kind objective = (enum ddpm_objective_kind)diffusion->objective;
    struct ddpm_sampling_config own = *config;
    if (diffusion->drawing_steps && own.sampler == DDPM_SAMPLER_AUTO)
        own.sampler = DDPM_SAMPLER_CONSISTENCY;
    if (own.sampler == DDPM_SAMPLER_CONSISTENCY) {
        if (own.spacing == DDPM_SPACING_AUTO)
            own.spacing = DDPM_SPACING_FEW;
        if (own.steps == 0)
            own.steps = diffusion->drawing_steps;
    }
    return ddpm_chain_resolve(&own, objective, diffusion->timesteps);
}

bool ddpm_chain_prefers_fitted(const struct ddpm_chain *chain,
                               const struct ddpm_sampling_config *config,
                               const struct ddpm_diffusion_config *diffusion)
{
    return config->start == DDPM_START_FITTED || diffusion->drawing_level > 0 ||
           (config->start == DDPM_START_AUTO && !chain->kind->discrete);
}

void ddpm_chain_start_fitted(struct ddpm_chain *chain, const struct ddpm_sampling_config *config,
                             const struct ddpm_diffusion_config *diffusion, double ratio)
{
    const enum ddpm_objective_kind objective = (enum ddpm_objective_kind)diffusion->objective;
    chain->start = diffusion->drawing_level > 0 ? diffusion->drawing_level : ratio;
    if (config->sampler == DDPM_SAMPLER_AUTO && config->steps == 0 && !chain->kind->distilled)
        chain->steps =
            usual_steps(automatic[objective].fitted_steps, objective, diffusion->timesteps);
}

/* Solvers step along x̂_0, the mean of all pictures that could have led to x. A distilled network's
 * x̂_0 is no such mean; an ordinary network's is, and is too blurred to add noise to again. */
static ddpm_status check_distilled(const struct ddpm_chain *chain,
                                   const struct ddpm_diffusion_config *diffusion)
{
    if (chain->kind->distilled && !diffusion->drawing_steps)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampler %s needs a model made by ddpm distill, and this is an ordinary "
                          "one; want another sampler, such as dpmpp",
                          chain->kind->name);
    if (!chain->kind->distilled && diffusion->drawing_steps)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got sampler %s with a model that was distilled to draw in %lld step%s; "
                          "want sampler consistency",
                          chain->kind->name, (long long)diffusion->drawing_steps,
                          diffusion->drawing_steps == 1 ? "" : "s");
    return DDPM_OK;
}

ddpm_status ddpm_chain_turns(const struct ddpm_chain *chain,
                             const struct ddpm_diffusion_config *diffusion, bool clip,
                             struct ddpm_turns *turns)
{
    const struct ddpm_objective *objective = &ddpm_objectives[diffusion->objective];
    struct ddpm_path path;
    struct ddpm_level *levels = NULL;
    if (chain->steps < 1 || chain->steps > DDPM_LARGEST_STEPS)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %lld sampling steps, want 1 to %d",
                          (long long)chain->steps, DDPM_LARGEST_STEPS);
    if (!(chain->threshold >= 0 && chain->threshold <= 1))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got threshold %g, want a quantile from 0 to 1",
                          chain->threshold);
    if (chain->kind->discrete && objective->path != DDPM_PATH_SCHEDULE)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampler %s needs the timesteps of a schedule, and a model of objective "
                          "%s has none; use sampler ddim with eta 1",
                          chain->kind->name, objective->name);
    DDPM_TRY(check_distilled(chain, diffusion));
    DDPM_TRY(ddpm_path_create(diffusion, &path));
    if (chain->start > 0)
        ddpm_path_cut(&path, chain->start);
    const size_t count = (size_t)chain->steps + 1;
    ddpm_status status =
        ddpm_new_array((void **)&levels, count, sizeof *levels, "the levels of a chain");
    if (status == DDPM_OK)
        status =
            ddpm_levels_space(&path, chain->spacing, chain->steps, chain->kind->discrete, levels);
    const struct ddpm_sampler_request request = {
        .levels = levels,
        .count = count,
        .path = &path,
        .clip = clip || chain->threshold > 0,
        .predicts_noise = objective->learns_noise,
        .learned_variance = chain->learned_variance,
        .eta = chain->eta,
        .order = chain->order,
        .churn = chain->churn,
        .churn_min = chain->churn_min,
        .churn_max = chain->churn_max,
        .churn_noise = chain->churn_noise,
    };
    if (status == DDPM_OK)
        status = ddpm_chain_fill(chain, &request, turns);
    if (status == DDPM_OK)
        turns->start = path.kind == DDPM_PATH_SCHEDULE ? 1 : levels[0].sigma;
    if (status == DDPM_OK && chain->start > 0) {
        turns->picture = levels[0].alpha;
        turns->noise = levels[0].sigma;
    }
    free(levels);
    ddpm_path_clear(&path);
    return status;
}

/* ", strength 0.4, inside a mask, every 2 steps 10 times" */
static void given_text(const struct ddpm_chain_given *given, char *text, size_t bytes)
{
    char strength[30] = "";
    if (given->invert)
        snprintf(text, bytes, ", inverted");
    if (!given->from)
        return;
    if (!given->mask || given->strength < 1)
        ddpm_print(strength, sizeof strength, ", strength %g", given->strength);
    if (!given->mask)
        snprintf(text, bytes, "%s", strength);
    else if (given->resample == 1)
        snprintf(text, bytes, "%s, inside a mask", strength);
    else if (given->jump == 1)
        snprintf(text, bytes, "%s, inside a mask, every step %lld times", strength,
                 (long long)given->resample);
    else
        snprintf(text, bytes, "%s, inside a mask, every %lld steps %lld times", strength,
                 (long long)given->jump, (long long)given->resample);
}

const char *ddpm_chain_text(const struct ddpm_chain *chain, char text[DDPM_CHAIN_BYTES])
{
    char threshold[40] = "", eta[40] = "", order[40] = "", churn[40] = "", given[100] = "",
         start[40] = "";
    if (chain->threshold != 0)
        ddpm_print(threshold, sizeof threshold, ", threshold %g", chain->threshold);
    if (chain->eta != 0)
        ddpm_print(eta, sizeof eta, ", eta %g", chain->eta);
    if (chain->order != 0)
        snprintf(order, sizeof order, ", order %d", chain->order);
    if (chain->churn != 0)
        ddpm_print(churn, sizeof churn, ", churn %g", chain->churn);
    given_text(&chain->given, given, sizeof given);
    if (chain->start != 0)
        ddpm_print(start, sizeof start, ", fitted start at %g", chain->start);
    snprintf(text, DDPM_CHAIN_BYTES, "%s, %lld step%s, %s%s%s%s%s%s%s", chain->kind->name,
             (long long)chain->steps, chain->steps == 1 ? "" : "s", chain->spacing->name, threshold,
             eta, order, churn, given, start);
    return text;
}

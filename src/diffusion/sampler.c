/* The table of samplers, and the checks that all requests must pass. */
#include "diffusion/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/nearest.h"
#include "core/memory.h"
#include "diffusion/samplers/samplers.h"

const struct ddpm_sampler_kind ddpm_samplers[] = {
#define SAMPLER(id, name_, alias_, help_, fill_, ...)                                              \
    {.name = name_, .alias = alias_, .help = help_, .fill = fill_, __VA_ARGS__},
#include "config/samplers.inc"
#undef SAMPLER
};
const size_t ddpm_samplers_count = sizeof ddpm_samplers / sizeof *ddpm_samplers;

ddpm_status ddpm_sampler_find(const char *name, const struct ddpm_sampler_kind **out)
{
    struct ddpm_nearest nearest = {.wanted = name};
    for (size_t i = 0; i < ddpm_samplers_count; ++i) {
        const struct ddpm_sampler_kind *kind = &ddpm_samplers[i];
        if (strcmp(kind->name, name) == 0 || (kind->alias && strcmp(kind->alias, name) == 0)) {
            *out = kind;
            return DDPM_OK;
        }
        ddpm_nearest_offer(&nearest, kind->name);
        if (kind->alias)
            ddpm_nearest_offer(&nearest, kind->alias);
    }
    static const char all[] =
#define SAMPLER(id, name_, ...) name_ ", "
#include "config/samplers.inc"
#undef SAMPLER
        "or auto";
    return ddpm_nearest_refuse(&nearest, "sampler", all);
}

static ddpm_status check_levels(const struct ddpm_sampler_request *request)
{
    if (request->count < 2)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %zu noise levels, want 2 or more",
                          request->count);
    for (size_t i = 0; i < request->count; ++i) {
        const struct ddpm_level *level = &request->levels[i];
        const bool last = i == request->count - 1;
        /* Written so that NaN fails. */
        if (!(level->alpha >= 0 && isfinite(level->alpha) && isfinite(level->sigma) &&
              (level->sigma > 0 || (last && level->sigma == 0 && level->alpha > 0))))
            return ddpm_raise(
                DDPM_ERROR_ARGUMENT,
                "noise level %zu of %zu: got alpha %g and sigma %g, want no negative numbers, and "
                "sigma 0 only at the end",
                i, request->count, level->alpha, level->sigma);
        if (i && !(ddpm_level_ratio(level) < ddpm_level_ratio(level - 1)))
            return ddpm_raise(
                DDPM_ERROR_ARGUMENT,
                "noise level %zu of %zu: got sigma/alpha %g after %g, want it to fall", i,
                request->count, ddpm_level_ratio(level), ddpm_level_ratio(level - 1));
    }
    return DDPM_OK;
}

static ddpm_status check_eta(const struct ddpm_sampler_kind *kind, double eta)
{
    if (!kind->takes_eta && eta != 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got eta %g, but sampler %s has none", eta,
                          kind->name);
    if (!(eta >= 0 && eta <= 1))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got eta %g, want 0 to 1", eta);
    return DDPM_OK;
}

static ddpm_status check_order(const struct ddpm_sampler_kind *kind, int order)
{
    if (order == 0)
        return DDPM_OK;
    if (kind->orders[0] == 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got order %d, but sampler %s has no choice of order", order, kind->name);
    if (order < kind->orders[0] || order > kind->orders[1])
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "sampler %s: got order %d, want %d to %d",
                          kind->name, order, kind->orders[0], kind->orders[1]);
    return DDPM_OK;
}

static ddpm_status check_churn(const struct ddpm_sampler_kind *kind,
                               const struct ddpm_sampler_request *request)
{
    if (!kind->takes_churn &&
        (request->churn != 0 || request->churn_min != 0 || request->churn_max != 0))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got churn %g, but sampler %s has none",
                          request->churn, kind->name);
    const double values[] = {request->churn, request->churn_min, request->churn_max,
                             request->churn_noise};
    for (size_t i = 0; i < sizeof values / sizeof *values; ++i)
        if (!(values[i] >= 0 && isfinite(values[i])))
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "got churn %g from %g to %g with noise %g, want no negative numbers",
                              values[0], values[1], values[2], values[3]);
    return DDPM_OK;
}

ddpm_status ddpm_sampler_check(const struct ddpm_sampler_kind *kind,
                               const struct ddpm_sampler_request *request)
{
    DDPM_TRY(check_levels(request));
    if (kind->discrete && (!request->path || request->path->kind != DDPM_PATH_SCHEDULE))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "sampler %s needs a schedule of timesteps, and this model has none",
                          kind->name);
    DDPM_TRY(check_eta(kind, request->eta));
    DDPM_TRY(check_order(kind, request->order));
    return check_churn(kind, request);
}

ddpm_status ddpm_sampler_append(const struct ddpm_sampler_kind *kind,
                                const struct ddpm_sampler_request *request, size_t step,
                                struct ddpm_turns *turns)
{
    const size_t first = turns->count;
    DDPM_TRY(kind->fill(request, turns));
    for (size_t i = first; i < turns->count; ++i)
        turns->items[i].step += step;
    return DDPM_OK;
}

ddpm_status ddpm_sampler_turns(const struct ddpm_sampler_kind *kind,
                               const struct ddpm_sampler_request *request, struct ddpm_turns *turns)
{
    ddpm_turns_empty(turns);
    DDPM_TRY(ddpm_sampler_check(kind, request));
    return ddpm_sampler_append(kind, request, 0, turns);
}

ddpm_status ddpm_sampler_invert(const struct ddpm_sampler_request *request,
                                struct ddpm_turns *turns)
{
    ddpm_turns_empty(turns);
    DDPM_TRY(check_levels(request));
    turns->picture = 1;
    return ddpm_fill_inversion(request, turns);
}

size_t ddpm_turns_evaluations(const struct ddpm_turns *turns)
{
    size_t evaluations = 0;
    for (size_t i = 0; i < turns->count; ++i)
        evaluations += turns->items[i].evaluate;
    return evaluations;
}

void ddpm_turns_empty(struct ddpm_turns *turns)
{
    turns->count = 0;
    turns->picture = turns->noise = 0;
}

void ddpm_turns_clear(struct ddpm_turns *turns)
{
    free(turns->items);
    *turns = (struct ddpm_turns){0};
}

ddpm_status ddpm_turns_add(struct ddpm_turns *turns, size_t step, const struct ddpm_level *at,
                           struct ddpm_turn **out)
{
    DDPM_TRY(ddpm_grow_array((void **)&turns->items, &turns->capacity, turns->count + 1,
                             sizeof *turns->items, "a sampler's turns"));
    *out = &turns->items[turns->count++];
    **out = (struct ddpm_turn){.evaluate = true, .at = *at, .keep_x0 = -1, .step = step};
    return DDPM_OK;
}

double ddpm_step_length(const struct ddpm_level *from, const struct ddpm_level *to)
{
    return ddpm_level_lambda(to) - ddpm_level_lambda(from);
}

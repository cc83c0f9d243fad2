/* Chains that start from a picture: only their last steps (Meng et al. 2021), backwards (Song et
 * al. 2021), or inside a mask (Lugmayr et al. 2022). docs/samplers.md describes each. */
#include <math.h>

#include "diffusion/chain.h"
#include "diffusion/samplers/samplers.h"

enum { USUAL_RESAMPLE = 10, JUMPS_OF_A_CHAIN = 25 };

bool ddpm_chain_draws_noise(const struct ddpm_chain *chain)
{
    return chain->kind->stochastic || chain->eta != 0 || chain->churn != 0;
}

static void become_ddim(struct ddpm_chain *chain)
{
    chain->kind = &ddpm_samplers[DDPM_SAMPLER_DDIM];
    chain->eta = 0;
    chain->order = 0;
    chain->churn = chain->churn_min = chain->churn_max = chain->churn_noise = 0;
}

void ddpm_chain_quieten(struct ddpm_chain *chain)
{
    if (ddpm_chain_draws_noise(chain))
        become_ddim(chain);
}

static ddpm_status check_mask(const struct ddpm_chain *chain, const struct ddpm_chain_given *given)
{
    if (given->mask && !given->from)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a mask without pictures to start from");
    if (!given->mask && (given->resample != 0 || given->jump != 0))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got resample %lld and jump %lld without a mask",
                          (long long)given->resample, (long long)given->jump);
    if (given->resample < 0 || given->jump < 0 ||
        given->resample > DDPM_LARGEST_STEPS / chain->steps)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got resample %lld and jump %lld with %lld steps, want 1 or more, and at "
                          "most %d steps in all",
                          (long long)given->resample, (long long)given->jump,
                          (long long)chain->steps, DDPM_LARGEST_STEPS);
    return DDPM_OK;
}

static ddpm_status check_inversion(const struct ddpm_chain *chain,
                                   const struct ddpm_chain_given *given)
{
    if (given->from || given->mask)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got an inversion with a %s, want one of the two",
                          given->mask ? "mask" : "strength");
    if (ddpm_chain_draws_noise(chain))
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "got sampler %s%s, which adds noise, for an inversion; want one that does not: ddim, "
            "heun, dpmpp or unipc, with eta and churn 0",
            chain->kind->name,
            chain->eta != 0     ? " with eta"
            : chain->churn != 0 ? " with churn"
                                : "");
    return DDPM_OK;
}

ddpm_status ddpm_chain_give(struct ddpm_chain *chain, const struct ddpm_chain_given *given)
{
    if (!(given->strength >= 0 && given->strength <= 1))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got strength %g, want 0 to 1", given->strength);
    if (!given->from && given->strength != 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got strength %g without pictures to start from",
                          given->strength);
    if (chain->steps < 1) /* ddpm_chain_turns() reports it */
        return DDPM_OK;
    DDPM_TRY(check_mask(chain, given));
    if (given->invert) {
        DDPM_TRY(check_inversion(chain, given));
        become_ddim(chain);
    }
    chain->given = *given;
    if (given->mask && given->resample == 0)
        chain->given.resample = USUAL_RESAMPLE;
    if (given->mask && given->jump == 0)
        chain->given.jump = (chain->steps + JUMPS_OF_A_CHAIN - 1) / JUMPS_OF_A_CHAIN;
    return DDPM_OK;
}

/* `count` levels from levels[first] on. Churn is spread over the steps of the whole chain. */
static struct ddpm_sampler_request some_levels(const struct ddpm_sampler_request *all, size_t first,
                                               size_t count)
{
    struct ddpm_sampler_request some = *all;
    some.levels += first;
    some.count = count;
    some.churn *= (double)(count - 1) / (double)(all->count - 1);
    return some;
}

/* Go back to the noisier level `to` by adding noise. */
static ddpm_status jump_back(const struct ddpm_level *from, const struct ddpm_level *to,
                             size_t step, struct ddpm_turns *turns)
{
    struct ddpm_turn *turn;
    DDPM_TRY(ddpm_turns_add(turns, step, from, &turn));
    turn->evaluate = false;
    turn->x = to->alpha / from->alpha;
    const double there = turn->x * from->sigma;
    turn->noise = sqrt((to->sigma - there) * (to->sigma + there));
    return DDPM_OK;
}

/* End every step of the turns from `first` on with a blend with the picture at the level it
 * reaches; their step s leaves levels[s - step]. */
static void blend_steps(const struct ddpm_sampler_request *request, size_t step, size_t first,
                        struct ddpm_turns *turns)
{
    for (size_t i = first; i < turns->count; ++i) {
        struct ddpm_turn *turn = &turns->items[i];
        const struct ddpm_level *reached = &request->levels[turn->step - step + 1];
        if (i + 1 < turns->count && turns->items[i + 1].step == turn->step)
            continue;
        turn->blend = true;
        turn->known = reached->alpha;
        turn->known_noise = reached->sigma;
    }
}

/* The levels from `begin` on, `jump` steps at a time, each repeated `resample` times. A sampler
 * must not use earlier steps across a jump, so each repetition is a chain of its own. */
static ddpm_status fill_inside_mask(const struct ddpm_chain *chain,
                                    const struct ddpm_sampler_request *all, size_t begin,
                                    struct ddpm_turns *turns)
{
    const size_t steps = all->count - 1, jump = (size_t)chain->given.jump;
    const int64_t times = chain->given.resample;
    size_t step = 0;
    for (size_t at = begin, next; at < steps; at = next) {
        next = times > 1 && jump < steps - at ? at + jump : steps;
        const struct ddpm_sampler_request some = some_levels(all, at, next - at + 1);
        for (int64_t time = 0; time < times; ++time) {
            if (time > 0)
                DDPM_TRY(jump_back(&all->levels[next], &all->levels[at], step, turns));
            const size_t first = turns->count;
            DDPM_TRY(ddpm_sampler_append(chain->kind, &some, step, turns));
            blend_steps(&some, step, first, turns);
            step += next - at;
        }
    }
    return DDPM_OK;
}

ddpm_status ddpm_chain_fill(const struct ddpm_chain *chain,
                            const struct ddpm_sampler_request *request, struct ddpm_turns *turns)
{
    const struct ddpm_chain_given *given = &chain->given;
    const size_t steps = request->count - 1;
    if (given->invert)
        return ddpm_sampler_invert(request, turns);
    ddpm_turns_empty(turns);
    DDPM_TRY(ddpm_sampler_check(chain->kind, request));
    const size_t run = given->from ? (size_t)llround(given->strength * (double)steps) : steps;
    const size_t begin = steps - run;
    const bool cut = given->from && request->path && request->path->end > 0;
    if (begin > 0 || cut) { /* otherwise the chain starts from noise alone */
        turns->picture = request->levels[begin].alpha;
        turns->noise = request->levels[begin].sigma;
    }
    if (given->mask)
        return fill_inside_mask(chain, request, begin, turns);
    const struct ddpm_sampler_request some = some_levels(request, begin, run + 1);
    return run > 0 ? ddpm_sampler_append(chain->kind, &some, 0, turns) : DDPM_OK;
}

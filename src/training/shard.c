/* Dividing the optimizer's state among ranks. Every stretch starts at a multiple of
 * DDPM_RULE_ELEMENTS, and all but the last have the same length, as collectives need it. The rest
 * at the end of the slab, fewer than that many elements per rank, belongs to the last rank. */
#include "training/shard.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

static bool is_divided(const struct ddpm_trainer *trainer)
{
    return trainer->shard_plan.ranks != NULL;
}

static ddpm_status refuse(const struct ddpm_trainer *trainer)
{
    if (!trainer->device->backend->host_memory)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "option shard: got optimizer on a GPU, want none there or device cpu");
    if (trainer->config.training.optimizer == DDPM_MUON)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "option shard: got optimizer with optimizer muon, whose matrices cannot "
                          "be divided; want optimizer adamw, or shard none");
    return DDPM_OK;
}

ddpm_status ddpm_shard_plan(struct ddpm_trainer *trainer)
{
    struct ddpm_optimizer *optimizer = &trainer->players[0].optimizer;
    struct ddpm_ranks *ranks = trainer->team.ranks;
    const int64_t all = optimizer->set->parameters.slab_count, count = ddpm_ranks_count(ranks);
    if (!ranks || trainer->config.run.shard != DDPM_SHARD_OPTIMIZER)
        return DDPM_OK;
    DDPM_TRY(refuse(trainer));
    const int64_t each = all / count / DDPM_RULE_ELEMENTS * DDPM_RULE_ELEMENTS;
    if (each == 0 || each * (int64_t)sizeof(float) > INT32_MAX)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "option shard: got %lld weights for %lld ranks, want from %d to 2^29 for "
                          "each",
                          (long long)all, (long long)count, DDPM_RULE_ELEMENTS);
    const int64_t rest = all - each * count;
    const bool last = ddpm_ranks_index(ranks) == count - 1;
    trainer->shard_plan =
        (struct ddpm_shard_plan){.ranks = ranks, .each = (size_t)each, .rest = (size_t)rest};
    optimizer->first = each * ddpm_ranks_index(ranks);
    optimizer->count = each + (last ? rest : 0);
    optimizer->divides_ema = ddpm_ranks_index(ranks) > 0;
    return DDPM_OK;
}

/* Slabs of rank 0 that are neither the set's nor the gradients. */
static int room_count(const struct ddpm_trainer *trainer)
{
    return ddpm_state_slabs(&trainer->config.training) - DDPM_SLAB_V;
}

static bool is_first(const struct ddpm_trainer *trainer)
{
    return ddpm_ranks_index(trainer->shard_plan.ranks) == 0;
}

size_t ddpm_shard_bytes(const struct ddpm_trainer *trainer)
{
    if (!is_divided(trainer))
        return 0;
    if (!is_first(trainer))
        return trainer->shard_plan.rest * sizeof(float);
    return (size_t)room_count(trainer) *
           ddpm_weight_set_bytes(&trainer->players[0].network->weights);
}

ddpm_status ddpm_shard_allocate(struct ddpm_trainer *trainer)
{
    struct ddpm_shard_state *state = &trainer->shard;
    const struct ddpm_weight_set *set = &trainer->players[0].network->weights;
    state->collected = -1;
    if (!is_divided(trainer))
        return DDPM_OK;
    if (!is_first(trainer))
        return ddpm_new_array((void **)&state->rest, trainer->shard_plan.rest + 1,
                              sizeof *state->rest, "the end of a slab");
    state->full[DDPM_SLAB_EMA] = set->slabs[1];
    state->full[DDPM_SLAB_M] = set->gradients;
    for (int i = DDPM_SLAB_V; i < ddpm_state_slabs(&trainer->config.training); ++i) {
        DDPM_TRY(ddpm_new_aligned((void **)&state->owned[i], ddpm_weight_set_bytes(set),
                                  "a checkpoint"));
        state->full[i] = state->owned[i];
        memset(state->full[i], 0, ddpm_weight_set_bytes(set));
    }
    return DDPM_OK;
}

void ddpm_shard_release(struct ddpm_trainer *trainer)
{
    struct ddpm_shard_state *state = &trainer->shard;
    for (int i = 0; i < DDPM_MAX_STATE_SLABS; ++i)
        ddpm_free_aligned(state->owned[i]);
    free(state->rest);
    *state = (struct ddpm_shard_state){.collected = -1};
}

ddpm_status ddpm_shard_gather_weights(struct ddpm_trainer *trainer)
{
    const struct ddpm_shard_plan *plan = &trainer->shard_plan;
    struct ddpm_weight_set *set = &trainer->players[0].network->weights;
    float *weights = set->slabs[0];
    if (!is_divided(trainer))
        return DDPM_OK;
    const int count = ddpm_ranks_count(plan->ranks);
    DDPM_TRY(ddpm_ranks_gather(plan->ranks, weights, plan->each * sizeof *weights));
    DDPM_TRY(ddpm_ranks_broadcast(plan->ranks, count - 1, weights + (size_t)count * plan->each,
                                  plan->rest * sizeof *weights));
    ddpm_weight_set_changed(set); /* only this rank's own part gets bf16 copies */
    return DDPM_OK;
}

/* This rank's part of a slab of the state. */
static float *part_of(const struct ddpm_trainer *trainer, int slab)
{
    const struct ddpm_optimizer *optimizer = &trainer->players[0].optimizer;
    switch ((enum ddpm_slab)slab) {
    case DDPM_SLAB_EMA:
        return optimizer->divides_ema ? optimizer->ema : trainer->shard.full[DDPM_SLAB_EMA];
    case DDPM_SLAB_M:
        return optimizer->m;
    case DDPM_SLAB_V:
        return optimizer->v;
    case DDPM_SLAB_SECOND_EMA:
        return optimizer->second_ema;
    case DDPM_SLAB_WEIGHTS:
    case DDPM_MAX_STATE_SLABS:
        break;
    }
    return NULL;
}

/* The end of a slab, from the last rank's part: from it to rank 0, or back. */
static ddpm_status pass_rest(struct ddpm_trainer *trainer, float *full, float *part, int root)
{
    const struct ddpm_shard_plan *plan = &trainer->shard_plan;
    const int index = ddpm_ranks_index(plan->ranks), count = ddpm_ranks_count(plan->ranks);
    float *rest = index == 0           ? full + (size_t)count * plan->each
                  : index == count - 1 ? part + plan->each
                                       : trainer->shard.rest;
    return ddpm_ranks_broadcast(plan->ranks, root, rest, plan->rest * sizeof *rest);
}

static void copy_own(float *to, const float *from, size_t count)
{
    if (to != from)
        memcpy(to, from, count * sizeof *to);
}

static ddpm_status collect_slab(struct ddpm_trainer *trainer, int slab)
{
    const struct ddpm_shard_plan *plan = &trainer->shard_plan;
    float *full = trainer->shard.full[slab], *part = part_of(trainer, slab);
    if (is_first(trainer))
        copy_own(full, part, plan->each);
    DDPM_TRY(ddpm_ranks_collect(plan->ranks, 0, part, full, plan->each * sizeof *part));
    return pass_rest(trainer, full, part, ddpm_ranks_count(plan->ranks) - 1);
}

static ddpm_status spread_slab(struct ddpm_trainer *trainer, int slab)
{
    const struct ddpm_shard_plan *plan = &trainer->shard_plan;
    float *full = trainer->shard.full[slab], *part = part_of(trainer, slab);
    DDPM_TRY(ddpm_ranks_spread(plan->ranks, 0, full, part, plan->each * sizeof *part));
    if (is_first(trainer))
        copy_own(part, full, plan->each);
    return pass_rest(trainer, full, part, 0);
}

ddpm_status ddpm_trainer_collect_state(struct ddpm_trainer *trainer)
{
    if (!is_divided(trainer) || trainer->shard.collected == trainer->step)
        return DDPM_OK;
    for (int i = DDPM_SLAB_EMA; i < ddpm_state_slabs(&trainer->config.training); ++i)
        DDPM_TRY(collect_slab(trainer, i));
    trainer->shard.collected = trainer->step;
    return DDPM_OK;
}

bool ddpm_trainer_is_divided(const struct ddpm_trainer *trainer)
{
    return is_divided(trainer);
}

ddpm_status ddpm_shard_spread(struct ddpm_trainer *trainer)
{
    if (!is_divided(trainer))
        return DDPM_OK;
    for (int i = DDPM_SLAB_EMA; i < ddpm_state_slabs(&trainer->config.training); ++i)
        DDPM_TRY(spread_slab(trainer, i));
    trainer->shard.collected = trainer->step;
    return DDPM_OK;
}

ddpm_status ddpm_shard_check(const struct ddpm_trainer *trainer)
{
    if (!is_divided(trainer) || trainer->shard.collected == trainer->step)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "got the state of step %lld among ranks, want it collected before it is "
                      "written or drawn with",
                      (long long)trainer->step);
}

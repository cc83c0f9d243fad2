/* Dividing the optimizer's state among ranks. */
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
    return DDPM_OK;
}

/* Fill every run up to `most`, leaving one item for each later run. False if items are left. */
static bool fill(const double *costs, size_t count, size_t parts, double most, size_t *ends)
{
    size_t next = 0;
    for (size_t part = 0; part < parts; ++part) {
        const size_t first = next, last = count - (parts - part - 1);
        double sum = 0;
        while (next < last && (next == first || sum + costs[next] <= most))
            sum += costs[next++];
        ends[part] = next;
    }
    return next == count;
}

void ddpm_shard_divide(const double *costs, size_t count, size_t parts, size_t *ends)
{
    double low = 0, high = 0;
    for (size_t i = 0; i < count; ++i) {
        low = costs[i] > low ? costs[i] : low;
        high += costs[i];
    }
    for (int i = 0; i < 50; ++i) {
        const double middle = (low + high) / 2;
        if (fill(costs, count, parts, middle, ends))
            high = middle;
        else
            low = middle;
    }
    (void)fill(costs, count, parts, high, ends);
}

/* The stretches of all ranks. */
static ddpm_status divide(struct ddpm_trainer *trainer, const struct ddpm_parameters *parameters)
{
    struct ddpm_shard_plan *plan = &trainer->shard_plan;
    const size_t count = parameters->count, ranks = (size_t)ddpm_ranks_count(plan->ranks);
    double *costs = NULL;
    size_t *ends = NULL;
    ddpm_status status = ddpm_new_array((void **)&costs, count, sizeof *costs, "costs");
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&ends, ranks, sizeof *ends, "a rank's weights");
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&plan->stretches, 2 * ranks, sizeof *plan->stretches,
                                "a rank's weights");
    for (size_t i = 0; i < count && status == DDPM_OK; ++i)
        costs[i] = ddpm_optimizer_cost(&trainer->config.training, &parameters->items[i]);
    if (status == DDPM_OK)
        ddpm_shard_divide(costs, count, ranks, ends);
    for (size_t rank = 0, i = 0; rank < ranks && status == DDPM_OK; i = ends[rank++]) {
        const int64_t first = parameters->items[i].offset;
        const int64_t end =
            ends[rank] < count ? parameters->items[ends[rank]].offset : parameters->slab_count;
        plan->stretches[rank] = (struct ddpm_stretch){first, end - first};
    }
    plan->summed = status == DDPM_OK ? plan->stretches + ranks : NULL;
    for (size_t rank = 0; rank < ranks && status == DDPM_OK; ++rank)
        plan->summed[rank] = ddpm_shard_summed(trainer, (int)rank);
    free(costs);
    free(ends);
    return status;
}

ddpm_status ddpm_shard_plan(struct ddpm_trainer *trainer)
{
    struct ddpm_optimizer *optimizer = &trainer->players[0].optimizer;
    struct ddpm_ranks *ranks = trainer->team.ranks;
    const struct ddpm_parameters *parameters = &optimizer->set->parameters;
    if (!ranks || trainer->config.run.shard != DDPM_SHARD_OPTIMIZER)
        return DDPM_OK;
    DDPM_TRY(refuse(trainer));
    if (parameters->count < (size_t)ddpm_ranks_count(ranks))
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "option shard: got %d ranks for a network of %zu matrices and vectors, "
                          "want at least one for each",
                          ddpm_ranks_count(ranks), parameters->count);
    if (parameters->slab_count > INT32_MAX)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "option shard: got %lld weights, want fewer than 2^31",
                          (long long)parameters->slab_count);
    trainer->shard_plan.ranks = ranks;
    DDPM_TRY(divide(trainer, parameters));
    const struct ddpm_stretch *own = &trainer->shard_plan.stretches[ddpm_ranks_index(ranks)];
    optimizer->first = own->first;
    optimizer->count = own->count;
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
    if (!is_divided(trainer) || !is_first(trainer))
        return 0;
    return (size_t)room_count(trainer) *
           ddpm_weight_set_bytes(&trainer->players[0].network->weights);
}

ddpm_status ddpm_shard_allocate(struct ddpm_trainer *trainer)
{
    struct ddpm_shard_state *state = &trainer->shard;
    const struct ddpm_weight_set *set = &trainer->players[0].network->weights;
    state->collected = -1;
    if (!is_divided(trainer) || !is_first(trainer))
        return DDPM_OK;
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
    *state = (struct ddpm_shard_state){.collected = -1};
    free(trainer->shard_plan.stretches);
    trainer->shard_plan = (struct ddpm_shard_plan){0};
}

ddpm_status ddpm_shard_gather_weights(struct ddpm_trainer *trainer)
{
    const struct ddpm_shard_plan *plan = &trainer->shard_plan;
    struct ddpm_weight_set *set = &trainer->players[0].network->weights;
    if (!is_divided(trainer))
        return DDPM_OK;
    DDPM_TRY(ddpm_ranks_gather_parts(plan->ranks, set->slabs[0], plan->stretches));
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

static void copy_own(float *to, const float *from, int64_t count)
{
    if (to != from)
        memcpy(to, from, (size_t)count * sizeof *to);
}

static ddpm_status collect_slab(struct ddpm_trainer *trainer, int slab)
{
    const struct ddpm_shard_plan *plan = &trainer->shard_plan;
    float *full = trainer->shard.full[slab], *part = part_of(trainer, slab);
    if (is_first(trainer))
        copy_own(full, part, plan->stretches[0].count);
    return ddpm_ranks_collect_parts(plan->ranks, 0, part, full, plan->stretches);
}

static ddpm_status spread_slab(struct ddpm_trainer *trainer, int slab)
{
    const struct ddpm_shard_plan *plan = &trainer->shard_plan;
    float *full = trainer->shard.full[slab], *part = part_of(trainer, slab);
    DDPM_TRY(ddpm_ranks_spread_parts(plan->ranks, 0, full, part, plan->stretches));
    if (is_first(trainer))
        copy_own(part, full, plan->stretches[0].count);
    return DDPM_OK;
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
                      "the state of step %lld is still divided among the ranks; collect it before "
                      "saving or drawing",
                      (long long)trainer->step);
}

/* Splitting a step, adding up gradients, and exchanging results with the other ranks once per
 * step. */
#include "training/team.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

/* What a rank sends in every step, before its losses. */
struct fare {
    int32_t status, signal;
};

/* A thread adds up at least this many numbers. */
enum { LEAST_PIECE = 1 << 16 };

static ddpm_status refuse_batch(int64_t batch, int64_t parts, const char *what)
{
    const int64_t below = batch / parts * parts;
    if (below == 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option batch-size: got %lld pictures for %lld %s, want at least one for "
                          "each",
                          (long long)batch, (long long)parts, what);
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option batch-size: got %lld pictures for %lld %s, want a multiple: the "
                      "nearest are %lld and %lld",
                      (long long)batch, (long long)parts, what, (long long)below,
                      (long long)(below + parts));
}

ddpm_status ddpm_team_plan(struct ddpm_team *team, struct ddpm_ranks *ranks,
                           const struct ddpm_training_config *config)
{
    const int64_t count = ddpm_ranks_count(ranks);
    const bool exact = config->reduce == DDPM_REDUCE_EXACT;
    *team = (struct ddpm_team){.ranks = ranks, .cuts = exact ? config->shares : count};
    if (exact && config->shares % count != 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option shares: got %lld for %lld ranks, want a multiple of the ranks",
                          (long long)config->shares, (long long)count);
    if (config->batch_size % team->cuts != 0)
        return refuse_batch(config->batch_size, team->cuts, exact ? "shares" : "ranks");
    team->size = config->batch_size / team->cuts;
    team->total = config->accumulate * team->cuts;
    team->count = team->total / count;
    team->first = ddpm_ranks_index(ranks) * team->count * team->size;
    team->shares = exact ? (int)(config->shares / count) : 0;
    return DDPM_OK;
}

static struct ddpm_weight_set *set_of(const struct ddpm_trainer *trainer)
{
    return &trainer->players[0].network->weights;
}

/* A rank alone adds up shares as they come, so it keeps the sum and the next share. Several ranks
 * keep all of their shares. With fast reduction a device's gradients are added up in host memory.
 */
static int slab_count(const struct ddpm_trainer *trainer)
{
    const struct ddpm_team *team = &trainer->team;
    if (team->shares > 0)
        return team->ranks ? team->shares : team->shares > 1 ? 2 : 0;
    return team->ranks && !trainer->device->backend->host_memory &&
           !ddpm_team_sums_on_device(trainer);
}

static size_t loss_bytes(const struct ddpm_team *team)
{
    return (size_t)(team->count * team->size) * sizeof(float);
}

/* The losses are followed by sums of squares, if the optimizer is divided. */
static size_t stride(const struct ddpm_trainer *trainer)
{
    return sizeof(struct fare) + loss_bytes(&trainer->team) + ddpm_shard_squares_bytes(trainer);
}

/* Do the ranks add up gradients in host memory while the backward pass runs, or right after it? */
static bool sums_fast(const struct ddpm_trainer *trainer)
{
    return trainer->team.ranks && trainer->team.shares == 0 && !ddpm_team_sums_on_device(trainer);
}

static enum ddpm_dtype wire_of(const struct ddpm_trainer *trainer)
{
    return trainer->config.run.wire == DDPM_WIRE_BF16 ? DDPM_BF16 : DDPM_F32;
}

/* What the ranks themselves need to add up gradients. */
static size_t sums_bytes(const struct ddpm_trainer *trainer)
{
    const struct ddpm_team *team = &trainer->team;
    if (team->shares > 0)
        return ddpm_ranks_shares_bytes(team->ranks, team->shares);
    return sums_fast(trainer)
               ? ddpm_ranks_sums_bytes(team->ranks, wire_of(trainer),
                                       (size_t)set_of(trainer)->parameters.slab_count)
               : 0;
}

size_t ddpm_team_bytes(const struct ddpm_trainer *trainer)
{
    const struct ddpm_team *team = &trainer->team;
    return (size_t)slab_count(trainer) * ddpm_weight_set_bytes(set_of(trainer)) +
           sums_bytes(trainer) +
           (team->ranks ? (size_t)ddpm_ranks_count(team->ranks) * stride(trainer) : 0);
}

uint64_t ddpm_trainer_bytes_sent(const struct ddpm_trainer *trainer)
{
    const struct ddpm_team *team = &trainer->team;
    const uint64_t ranks = (uint64_t)ddpm_ranks_count(team->ranks);
    const uint64_t weights = (uint64_t)set_of(trainer)->parameters.slab_count;
    const bool divided = ddpm_trainer_is_divided(trainer);
    const uint64_t each = trainer->config.run.wire == DDPM_WIRE_BF16 ? 2 : 4;
    /* To each other rank: a part of its gradients or of every share, and the sum of its own part,
     * or instead of that its updated weights. */
    const uint64_t gradients = team->shares > 0 ? (uint64_t)team->shares * 4 : each;
    return weights * (gradients + (divided ? 4 : each)) / ranks * (ranks - 1);
}

ddpm_status ddpm_team_allocate(struct ddpm_trainer *trainer)
{
    struct ddpm_team *team = &trainer->team;
    const struct ddpm_weight_set *set = set_of(trainer);
    const int slabs = slab_count(trainer);
    if (slabs > 0)
        DDPM_TRY(
            ddpm_new_array((void **)&team->slabs, (size_t)slabs, sizeof *team->slabs, "shares"));
    for (; team->slab_count < slabs; ++team->slab_count)
        DDPM_TRY(ddpm_new_aligned((void **)&team->slabs[team->slab_count],
                                  ddpm_weight_set_bytes(set), "a share of the gradient"));
    if (!team->ranks)
        return DDPM_OK;
    team->stride = stride(trainer);
    DDPM_TRY(ddpm_new_array((void **)&team->exchange, (size_t)ddpm_ranks_count(team->ranks),
                            team->stride, "losses of all ranks"));
    if (sums_fast(trainer))
        DDPM_TRY(ddpm_ranks_prepare_sums(team->ranks, wire_of(trainer),
                                         (size_t)set->parameters.slab_count));
    DDPM_TRY(ddpm_team_cut(trainer));
    return ddpm_team_sums_on_device(trainer) ? ddpm_team_allocate_on_device(trainer) : DDPM_OK;
}

void ddpm_team_release(struct ddpm_team *team)
{
    for (int i = 0; i < team->slab_count; ++i)
        ddpm_free_aligned(team->slabs[i]);
    free(team->slabs);
    free(team->buckets);
    free(team->stretches);
    free(team->exchange);
    *team = (struct ddpm_team){0};
}

void ddpm_team_hold(struct ddpm_team *team, ddpm_status status)
{
    if (team->held != DDPM_OK)
        return; /* the first one counts */
    team->held = status;
    snprintf(team->held_text, sizeof team->held_text, "%s", ddpm_error_message());
}

ddpm_status ddpm_team_raise_held(const struct ddpm_team *team)
{
    return team->held == DDPM_OK ? DDPM_OK : ddpm_raise(team->held, "%s", team->held_text);
}

struct addition {
    float *restrict to;
    const float *restrict from;
};

static void add_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct addition *addition = context;
    (void)thread;
    for (int64_t i = begin; i < end; ++i)
        addition->to[i] += addition->from[i];
}

static ddpm_status download(struct ddpm_trainer *trainer, float *to)
{
    const struct ddpm_weight_set *set = set_of(trainer);
    return trainer->device->backend->download(trainer->device, to, set->gradients,
                                              ddpm_weight_set_bytes(set));
}

static ddpm_status upload(struct ddpm_trainer *trainer, const float *from)
{
    const struct ddpm_weight_set *set = set_of(trainer);
    return trainer->device->backend->upload(trainer->device, set->gradients, from,
                                            ddpm_weight_set_bytes(set));
}

ddpm_status ddpm_team_take_share(struct ddpm_trainer *trainer, int64_t index)
{
    struct ddpm_team *team = &trainer->team;
    const struct ddpm_weight_set *set = set_of(trainer);
    const int64_t each = trainer->config.training.accumulate, share = index / each;
    if (team->shares == 0 || team->slab_count == 0 || (index + 1) % each != 0)
        return DDPM_OK;
    if (team->ranks || share == 0) {
        DDPM_TRY(download(trainer, team->slabs[share]));
    } else {
        struct addition addition = {team->slabs[0], team->slabs[1]};
        DDPM_TRY(download(trainer, team->slabs[1]));
        ddpm_parallel_for(trainer->device->threads, set->parameters.slab_count, LEAST_PIECE,
                          add_range, &addition);
    }
    if (index + 1 == team->count)
        return DDPM_OK;
    return trainer->device->backend->zero(trainer->device, set->gradients,
                                          ddpm_weight_set_bytes(set));
}

/* Add up the gradients of all ranks; those of a rank that failed are useless, but the others wait
 * for them. `good`: this rank did not fail. */
static ddpm_status reduce(struct ddpm_trainer *trainer, bool good, ddpm_status *local)
{
    struct ddpm_team *team = &trainer->team;
    const size_t count = (size_t)set_of(trainer)->parameters.slab_count;
    if (team->shares > 0 && ddpm_trainer_is_divided(trainer))
        return ddpm_shard_sum_shares(trainer);
    if (team->shares > 0) {
        DDPM_TRY(
            ddpm_ranks_sum_shares(team->ranks, team->slabs, team->shares, team->slabs[0], count));
    } else if (team->slab_count > 0) {
        if (good)
            *local = download(trainer, team->slabs[0]);
        DDPM_TRY(ddpm_ranks_sum_begin(team->ranks, team->slabs[0], count));
    } else if (ddpm_team_sums_on_device(trainer)) {
        DDPM_TRY(ddpm_team_finish_sums(trainer));
    } else {
        DDPM_TRY(ddpm_team_send_rest(trainer));
    }
    DDPM_TRY(ddpm_ranks_wait(team->ranks));
    team->next_bucket = 0;
    if (good && *local == DDPM_OK && team->slab_count > 0)
        *local = upload(trainer, team->slabs[0]);
    return DDPM_OK;
}

static char *fare_of(const struct ddpm_team *team, int rank)
{
    return team->exchange + (size_t)rank * team->stride;
}

/* The sums of squares of rank 0; those of the others are a stride apart. */
static char *squares(const struct ddpm_team *team)
{
    return team->exchange + sizeof(struct fare) + loss_bytes(team);
}

/* This rank's losses and sums of squares into its place of the exchange. */
static ddpm_status read_losses(struct ddpm_trainer *trainer)
{
    const struct ddpm_team *team = &trainer->team;
    const int index = ddpm_ranks_index(team->ranks);
    ddpm_shard_measure(trainer, squares(team) + (size_t)index * team->stride);
    return trainer->device->backend->download(
        trainer->device, fare_of(team, index) + sizeof(struct fare),
        (float *)trainer->losses->tensor.data + team->first, loss_bytes(team));
}

/* Everybody's losses in the order of the pictures, and the norm, where the update looks for them.
 */
static ddpm_status write_losses(struct ddpm_trainer *trainer)
{
    const struct ddpm_team *team = &trainer->team;
    const size_t each = (size_t)(team->count * team->size);
    for (int rank = 0; rank < ddpm_ranks_count(team->ranks); ++rank)
        memcpy(trainer->host_loss + (size_t)rank * each, fare_of(team, rank) + sizeof(struct fare),
               each * sizeof(float));
    DDPM_TRY(ddpm_shard_write_norm(trainer, squares(team), team->stride));
    return ddpm_graph_write(trainer->graph, trainer->losses, trainer->host_loss);
}

/* Tell one another; the first failure becomes everyone's. */
static ddpm_status exchange(struct ddpm_trainer *trainer, ddpm_status status)
{
    struct ddpm_team *team = &trainer->team;
    const struct fare own = {(int32_t)status, team->signal};
    memcpy(fare_of(team, ddpm_ranks_index(team->ranks)), &own, sizeof own);
    DDPM_TRY(ddpm_ranks_gather(team->ranks, team->exchange, team->stride));
    team->agreed_signal = 0;
    int failed = -1;
    for (int rank = ddpm_ranks_count(team->ranks); rank-- > 0;) {
        struct fare fare;
        memcpy(&fare, fare_of(team, rank), sizeof fare);
        if (fare.signal > team->agreed_signal)
            team->agreed_signal = fare.signal;
        if (fare.status != DDPM_OK) {
            failed = rank;
            status = (ddpm_status)fare.status;
        }
    }
    if (failed < 0)
        return DDPM_OK;
    if (failed == ddpm_ranks_index(team->ranks))
        (void)ddpm_team_raise_held(team);
    return ddpm_ranks_share_failure(team->ranks, failed, status);
}

ddpm_status ddpm_team_meet(struct ddpm_trainer *trainer, ddpm_status status)
{
    struct ddpm_team *team = &trainer->team;
    if (!team->ranks)
        return status == DDPM_OK && team->slab_count > 0 ? upload(trainer, team->slabs[0]) : status;
    if (ddpm_ranks_lost(team->ranks))
        return status == DDPM_OK ? ddpm_ranks_wait(team->ranks) : status; /* fails, too */
    if (status != DDPM_OK)
        ddpm_team_hold(team, status);
    ddpm_status local = DDPM_OK;
    DDPM_TRY(reduce(trainer, status == DDPM_OK, &local));
    if (status == DDPM_OK && local == DDPM_OK)
        local = read_losses(trainer);
    if (local != DDPM_OK)
        ddpm_team_hold(team, local);
    status = exchange(trainer, team->held);
    team->held = DDPM_OK;
    return status == DDPM_OK ? write_losses(trainer) : status;
}

ddpm_status ddpm_trainer_hold(struct ddpm_trainer *trainer, ddpm_status status)
{
    if (status == DDPM_OK || !trainer->team.ranks || ddpm_ranks_lost(trainer->team.ranks))
        return status;
    ddpm_team_hold(&trainer->team, status);
    return DDPM_OK;
}

bool ddpm_trainer_holds(const struct ddpm_trainer *trainer)
{
    return trainer->team.held != DDPM_OK;
}

ddpm_status ddpm_trainer_take_held(struct ddpm_trainer *trainer)
{
    const ddpm_status status = ddpm_team_raise_held(&trainer->team);
    trainer->team.held = DDPM_OK;
    return status;
}

void ddpm_trainer_note_signal(struct ddpm_trainer *trainer, int signal)
{
    trainer->team.signal = signal;
}

int ddpm_trainer_agreed_signal(const struct ddpm_trainer *trainer)
{
    return trainer->team.agreed_signal;
}

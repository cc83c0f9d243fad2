/* Sums of gradients among ranks that divide the optimizer's state: each rank gets the sum of its
 * own stretch. So none has all that the norm needs; each sums the squares of its part in blocks,
 * the partial sums travel with the losses, and every rank adds them up in the same order.
 *
 * With exact reduction the blocks are those of one rank (kernels/squares.h). A block belongs to the
 * rank in whose stretch it begins, which also sums the gradients from there to the block's end. */
#include <math.h>
#include <string.h>

#include "core/threads.h"
#include "kernels/squares.h"
#include "training/trainer_state.h"

static int64_t round_up(int64_t count)
{
    return (count + DDPM_SQUARES_BLOCK - 1) / DDPM_SQUARES_BLOCK * DDPM_SQUARES_BLOCK;
}

static int64_t end_of(const struct ddpm_stretch *stretch)
{
    return stretch->first + stretch->count;
}

/* The gradients whose squares a rank sums. */
static struct ddpm_stretch measured(const struct ddpm_trainer *trainer, int rank)
{
    const struct ddpm_stretch own = trainer->shard_plan.stretches[rank];
    const int64_t all = trainer->players[0].optimizer.set->parameters.slab_count;
    if (trainer->team.shares == 0)
        return own;
    const int64_t begin = round_up(own.first), next = round_up(end_of(&own));
    const int64_t end = next < all ? next : all;
    return (struct ddpm_stretch){begin, begin < end ? end - begin : 0};
}

static size_t block_count(const struct ddpm_trainer *trainer, int rank)
{
    return (size_t)(round_up(measured(trainer, rank).count) / DDPM_SQUARES_BLOCK);
}

struct ddpm_stretch ddpm_shard_summed(const struct ddpm_trainer *trainer, int rank)
{
    const struct ddpm_stretch own = trainer->shard_plan.stretches[rank];
    const struct ddpm_stretch squares = measured(trainer, rank);
    const bool further = squares.count > 0 && end_of(&squares) > end_of(&own);
    return (struct ddpm_stretch){own.first, further ? end_of(&squares) - own.first : own.count};
}

size_t ddpm_shard_squares_bytes(const struct ddpm_trainer *trainer)
{
    size_t most = 0;
    for (int rank = 0; rank < ddpm_ranks_count(trainer->shard_plan.ranks); ++rank) {
        const size_t count = trainer->shard_plan.ranks ? block_count(trainer, rank) : 0;
        most = count > most ? count : most;
    }
    return most * sizeof(double);
}

ddpm_status ddpm_shard_begin_sum(struct ddpm_trainer *trainer, size_t first, size_t count)
{
    const struct ddpm_shard_plan *plan = &trainer->shard_plan;
    float *gradients = trainer->players[0].network->weights.gradients;
    for (int rank = 0; rank < ddpm_ranks_count(plan->ranks); ++rank) {
        const struct ddpm_stretch *own = &plan->stretches[rank];
        const size_t begin = (size_t)own->first > first ? (size_t)own->first : first;
        const size_t last = first + count,
                     end = (size_t)end_of(own) < last ? (size_t)end_of(own) : last;
        if (begin < end)
            DDPM_TRY(ddpm_ranks_sum_at_begin(plan->ranks, rank, gradients + begin, end - begin));
    }
    return DDPM_OK;
}

ddpm_status ddpm_shard_sum_shares(struct ddpm_trainer *trainer)
{
    const struct ddpm_team *team = &trainer->team;
    return ddpm_ranks_sum_shares_at(team->ranks, team->slabs, team->shares,
                                    trainer->players[0].network->weights.gradients,
                                    trainer->shard_plan.summed);
}

struct squares {
    const float *x;
    char *out;
};

static void squares_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct squares *squares = context;
    const double sum = ddpm_squares(squares->x + begin, end - begin);
    (void)thread;
    memcpy(squares->out + (size_t)(begin / DDPM_SQUARES_BLOCK) * sizeof sum, &sum, sizeof sum);
}

void ddpm_shard_measure(const struct ddpm_trainer *trainer, char *out)
{
    if (!trainer->shard_plan.ranks)
        return;
    const struct ddpm_stretch own = measured(trainer, ddpm_ranks_index(trainer->shard_plan.ranks));
    const float *gradients = trainer->players[0].network->weights.gradients;
    struct squares squares = {gradients + own.first, out};
    if (own.count > 0)
        ddpm_parallel_for(trainer->device->threads, own.count, DDPM_SQUARES_BLOCK, squares_range,
                          &squares);
}

ddpm_status ddpm_shard_write_norm(struct ddpm_trainer *trainer, const char *squares, size_t stride)
{
    double sum = 0, square;
    if (!trainer->shard_plan.ranks)
        return DDPM_OK;
    for (int rank = 0; rank < ddpm_ranks_count(trainer->shard_plan.ranks); ++rank)
        for (size_t i = 0; i < block_count(trainer, rank); ++i) {
            memcpy(&square, squares + (size_t)rank * stride + i * sizeof square, sizeof square);
            sum += square;
        }
    for (int64_t i = 0; i < ddpm_tensor_count(&trainer->losses->tensor); ++i)
        if (!isfinite(trainer->host_loss[i]))
            sum = NAN; /* as op GRADIENT_NORM does */
    const float norm = (float)sqrt(sum);
    return ddpm_graph_write(trainer->graph, trainer->players[0].optimizer.norm, &norm);
}

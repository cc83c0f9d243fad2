/* Sending gradients while the backward pass still runs: in buckets, each when it is final. */
#include <stdlib.h>

#include "training/ranks.h"
#include "training/trainer_state.h"

/* Gradients are sent in about this many pieces, of at least this many numbers. */
enum { PIECES = 16, LEAST_PIECE = 1 << 16 };

static struct ddpm_weight_set *set_of(const struct ddpm_trainer *trainer)
{
    return &trainer->players[0].network->weights;
}

size_t ddpm_team_least_bucket(const struct ddpm_trainer *trainer)
{
    const size_t piece = (size_t)set_of(trainer)->parameters.slab_count / PIECES;
    return piece > LEAST_PIECE ? piece : LEAST_PIECE;
}

ddpm_status ddpm_team_cut(struct ddpm_trainer *trainer)
{
    struct ddpm_team *team = &trainer->team;
    struct ddpm_bucket *buckets;
    size_t count;
    if (!team->ranks || team->shares > 0 ||
        !(trainer->device->backend->host_memory || ddpm_team_sums_on_device(trainer)))
        return DDPM_OK;
    const ddpm_status status =
        ddpm_graph_cut_gradients(trainer->graph, trainer->parts.backward, set_of(trainer),
                                 ddpm_team_least_bucket(trainer), &buckets, &count);
    free(status == DDPM_OK ? team->buckets : buckets);
    DDPM_TRY(status);
    team->buckets = buckets;
    team->bucket_count = count; /* as before: it depends on the weights only */
    return DDPM_OK;
}

/* Send the gradients that are final after `node`. */
static ddpm_status send_final(void *user, size_t node)
{
    struct ddpm_trainer *trainer = user;
    struct ddpm_team *team = &trainer->team;
    float *gradients = set_of(trainer)->gradients;
    while (team->next_bucket < team->bucket_count &&
           team->buckets[team->next_bucket].last <= node) {
        const struct ddpm_bucket *bucket = &team->buckets[team->next_bucket++];
        DDPM_TRY(ddpm_trainer_is_divided(trainer)
                     ? ddpm_shard_begin_sum(trainer, bucket->first, bucket->count)
                     : ddpm_ranks_sum_begin(team->ranks, gradients + bucket->first, bucket->count));
    }
    return ddpm_ranks_go_on(team->ranks);
}

bool ddpm_team_overlaps(const struct ddpm_trainer *trainer, int64_t index)
{
    return trainer->team.bucket_count > 0 && index == trainer->team.count - 1;
}

ddpm_status ddpm_team_run_backward(struct ddpm_trainer *trainer)
{
    return ddpm_graph_run_watched(trainer->graph, trainer->parts.backward, send_final, trainer);
}

ddpm_status ddpm_team_send_rest(struct ddpm_trainer *trainer)
{
    return send_final(trainer, SIZE_MAX);
}

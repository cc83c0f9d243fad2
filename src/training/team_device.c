/* Gradients that the devices of all ranks add up themselves, over NCCL.
 *
 * The backward pass is cut where a piece of the gradients becomes final. Each stretch between two
 * cuts is recorded and replayed by itself (graph/recording.h), and the sums are begun between them:
 * they run in a stream of their own while the next stretch computes. They are not part of the
 * recordings, so that a failure finds the device between two replays. The update is queued once all
 * sums have arrived on this rank: a rank that is lost before that leaves the others' last good step
 * as it is. */
#include "core/memory.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

bool ddpm_team_sums_on_device(const struct ddpm_trainer *trainer)
{
    return trainer->team.shares == 0 && ddpm_ranks_sums_on_device(trainer->team.ranks);
}

ddpm_status ddpm_team_join_devices(struct ddpm_trainer *trainer)
{
    const struct ddpm_backend *backend = trainer->device->backend;
    struct ddpm_ranks *ranks = trainer->team.ranks;
    void *queue;
    int index = 0;
    ddpm_status status = DDPM_OK;
    if (!ddpm_ranks_sums_on_device(ranks))
        return DDPM_OK;
    if (backend->queue)
        backend->queue(trainer->device, &queue, &index);
    else
        status = ddpm_raise(DDPM_ERROR_ARGUMENT,
                            "option ranks: got nccl with device %s, want device cuda, or ranks mpi",
                            backend->name);
    DDPM_TRY(ddpm_ranks_agree(ranks, status, NULL));
    return ddpm_team_sums_on_device(trainer) ? ddpm_ranks_join_devices(ranks, index) : DDPM_OK;
}

static bool sends_bf16(const struct ddpm_trainer *trainer)
{
    return ddpm_team_sums_on_device(trainer) && trainer->config.run.wire == DDPM_WIRE_BF16;
}

size_t ddpm_team_device_bytes(const struct ddpm_trainer *trainer)
{
    const struct ddpm_weight_set *set = &trainer->players[0].network->weights;
    if (!sends_bf16(trainer))
        return 0;
    return ddpm_ranks_room_bf16_on_device(
        trainer->team.ranks, ddpm_graph_largest_bucket(set, ddpm_team_least_bucket(trainer)));
}

ddpm_status ddpm_team_allocate_on_device(struct ddpm_trainer *trainer)
{
    struct ddpm_team *team = &trainer->team;
    const size_t bytes = ddpm_team_device_bytes(trainer);
    if (bytes > 0)
        DDPM_TRY(trainer->device->backend->allocate(trainer->device, bytes,
                                                    "gradients on their way", &team->device_wire));
    return ddpm_new_array((void **)&team->stretches, team->bucket_count + 1,
                          sizeof *team->stretches, "gradients' buckets");
}

/* Begin the sums of all gradients that are final before node `end`. */
static ddpm_status begin_sums(struct ddpm_trainer *trainer, size_t end)
{
    struct ddpm_device *device = trainer->device;
    struct ddpm_team *team = &trainer->team;
    float *gradients = trainer->players[0].network->weights.gradients;
    void *queue;
    int index;
    device->backend->queue(device, &queue, &index);
    while (team->next_bucket < team->bucket_count && team->buckets[team->next_bucket].last < end) {
        const struct ddpm_bucket *bucket = &team->buckets[team->next_bucket++];
        float *first = gradients + bucket->first;
        DDPM_TRY(team->device_wire
                     ? ddpm_ranks_sum_bf16_on_device(team->ranks, queue, first, bucket->count,
                                                     team->device_wire)
                     : ddpm_ranks_sum_on_device(team->ranks, queue, first, bucket->count));
    }
    return DDPM_OK;
}

struct stretch {
    struct ddpm_trainer *trainer;
    size_t begin, end; /* nodes of the backward pass */
    bool first;        /* after the draw and the forward pass */
};

static ddpm_status submit(void *user)
{
    const struct stretch *stretch = user;
    struct ddpm_trainer *trainer = stretch->trainer;
    if (stretch->first) {
        DDPM_TRY(ddpm_graph_run(trainer->graph, trainer->parts.draw));
        DDPM_TRY(ddpm_graph_run(trainer->graph, trainer->parts.forward));
    }
    return ddpm_graph_run_stretch(trainer->graph, stretch->begin, stretch->end);
}

ddpm_status ddpm_team_run_stretches(struct ddpm_trainer *trainer)
{
    struct ddpm_team *team = &trainer->team;
    const struct ddpm_graph_part *part = &trainer->graph->parts[trainer->parts.backward];
    struct stretch stretch = {trainer, part->begin, part->begin, true};
    for (size_t i = 0; stretch.first || stretch.begin < part->end; ++i) {
        const bool more = team->next_bucket < team->bucket_count;
        stretch.end = more ? team->buckets[team->next_bucket].last + 1 : part->end;
        DDPM_TRY(ddpm_recording_run(&team->stretches[i], trainer->device, submit, &stretch));
        DDPM_TRY(begin_sums(trainer, stretch.end));
        stretch.begin = stretch.end;
        stretch.first = false;
    }
    return DDPM_OK;
}

ddpm_status ddpm_team_finish_sums(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->device;
    void *queue;
    int index;
    device->backend->queue(device, &queue, &index);
    DDPM_TRY(begin_sums(trainer, SIZE_MAX));
    return ddpm_ranks_wait_on_device(trainer->team.ranks, queue);
}

void ddpm_team_release_on_device(struct ddpm_trainer *trainer)
{
    struct ddpm_team *team = &trainer->team;
    if (team->device_wire)
        trainer->device->backend->release(trainer->device, team->device_wire);
    team->device_wire = NULL;
    ddpm_team_release_stretches(trainer);
}

void ddpm_team_release_stretches(struct ddpm_trainer *trainer)
{
    struct ddpm_team *team = &trainer->team;
    for (size_t i = 0; team->stretches && i <= team->bucket_count; ++i)
        ddpm_recording_release(&team->stretches[i], trainer->device);
}

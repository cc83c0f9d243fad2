/* One step: what is submitted to the device, and what is read back.
 *
 * A step has three stages (begin, one or more micro-batches, update). A device that can record
 * replays each with one submission. Values that change from step to step (pictures, counters,
 * learning rate) are inputs of the graph, so a recording stays valid.
 *
 * The results of a step (losses, norm) can be read one step late: while the host reads them, the
 * device already runs the next step's forward and backward pass. That step's update is queued only
 * if they were good, and the update of a bad step does nothing (ops.inc: GRADIENT_NORM, ADAMW). So
 * after a bad step the weights are still those from before it. */
#include <math.h>

#include "core/arguments.h"
#include "core/threads.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

/* Are the weights packed at another time: before each call, or by all ranks of this machine? */
static bool packs_elsewhere(const struct ddpm_trainer *trainer)
{
    return trainer->graph->repack || trainer->packing.shared;
}

/* No gradient needs zeros either. */
static bool begins_with_nothing(const struct ddpm_trainer *trainer)
{
    return trainer->graph->overwrites && packs_elsewhere(trainer);
}

static ddpm_status begin(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->device;
    for (int p = 0; p < trainer->player_count && !trainer->graph->overwrites; ++p) {
        struct ddpm_weight_set *set = &trainer->players[p].network->weights;
        DDPM_TRY(device->backend->zero(device, set->gradients, ddpm_weight_set_bytes(set)));
    }
    return packs_elsewhere(trainer) ? DDPM_OK : ddpm_graph_pack(trainer->graph);
}

static ddpm_status submit_stage(struct ddpm_trainer *trainer, enum ddpm_stage stage, bool draw)
{
    const struct ddpm_trainer_parts *parts = &trainer->parts;
    switch (stage) {
    case DDPM_STAGE_BEGIN:
        return begin(trainer);
    case DDPM_STAGE_MICRO:
        if (draw)
            DDPM_TRY(ddpm_graph_run(trainer->graph, parts->draw));
        DDPM_TRY(ddpm_graph_run(trainer->graph, parts->forward));
        return ddpm_graph_run(trainer->graph, parts->backward);
    case DDPM_STAGE_UPDATE:
    case DDPM_STAGE_COUNT:
        break;
    }
    for (int p = 0; p < trainer->player_count; ++p)
        DDPM_TRY(ddpm_graph_run(trainer->graph, trainer->players[p].optimizer.update));
    return DDPM_OK;
}

struct submission {
    struct ddpm_trainer *trainer;
    enum ddpm_stage stage;
    bool draw;
};

static ddpm_status submit(void *user)
{
    const struct submission *submission = user;
    return submit_stage(submission->trainer, submission->stage, submission->draw);
}

/* Given values (`draw` false) are for tests and embedding, and are never recorded. */
static ddpm_status run_stage(struct ddpm_trainer *trainer, enum ddpm_stage stage, bool draw)
{
    struct submission submission = {trainer, stage, draw};
    if (!draw)
        return submit(&submission);
    return ddpm_recording_run(&trainer->recordings[stage], trainer->device, submit, &submission);
}

/* Work shared by all micro-batches of a step, before the first. */
static ddpm_status begin_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    const int64_t done = ddpm_steps_queued(trainer);
    *result = (struct ddpm_step_result){.step = done + 1};
    for (int p = 0; p < trainer->player_count; ++p) {
        struct ddpm_optimizer *optimizer = &trainer->players[p].optimizer;
        DDPM_TRY(ddpm_optimizer_set_step(optimizer, trainer->graph, done, &result->lr));
        DDPM_TRY(ddpm_optimizer_refresh_copies(optimizer, trainer->graph));
    }
    if (!begins_with_nothing(trainer))
        DDPM_TRY(run_stage(trainer, DDPM_STAGE_BEGIN, true));
    if (!packs_elsewhere(trainer))
        ddpm_graph_packed(trainer->graph); /* the replay has packed the weights too */
    return DDPM_OK;
}

static ddpm_status run_micro_batch(struct ddpm_trainer *trainer, int64_t index, bool draw)
{
    if (!ddpm_team_overlaps(trainer, index))
        return run_stage(trainer, DDPM_STAGE_MICRO, draw);
    if (ddpm_team_sums_on_device(trainer))
        return ddpm_team_run_stretches(trainer);
    DDPM_TRY(ddpm_graph_run(trainer->graph, trainer->parts.draw));
    DDPM_TRY(ddpm_graph_run(trainer->graph, trainer->parts.forward));
    return ddpm_team_run_backward(trainer);
}

/* Queue everything in a step but its update. */
static ddpm_status queue_passes(struct ddpm_trainer *trainer, const struct ddpm_step_values *values,
                                struct ddpm_step_result *result)
{
    struct ddpm_device *device = trainer->device;
    const struct ddpm_team *team = &trainer->team;
    DDPM_TRY(begin_step(trainer, result));
    for (int64_t i = 0; i < team->count; ++i) {
        DDPM_TRY(ddpm_trainer_write_micro_batch(trainer, values, i));
        DDPM_TRY(run_micro_batch(trainer, i, values->batch != NULL));
        if (trainer->losses != trainer->loss)
            DDPM_TRY(device->backend->copy(
                device, (float *)trainer->losses->tensor.data + ddpm_team_place(team, i),
                trainer->loss->tensor.data, ddpm_tensor_bytes(&trainer->loss->tensor)));
        DDPM_TRY(ddpm_team_take_share(trainer, i));
    }
    return DDPM_OK;
}

/* Queue the update, and the download of the step's numbers. */
static ddpm_status queue_update(struct ddpm_trainer *trainer, const struct ddpm_step_result *result)
{
    struct ddpm_device *device = trainer->device;
    const struct ddpm_value *norm_value = trainer->players[0].optimizer.norm;
    const struct ddpm_tensor *losses = &trainer->losses->tensor, *norm = &norm_value->tensor;
    float *host_norm = trainer->host_loss + ddpm_tensor_count(losses);
    DDPM_TRY(run_stage(trainer, DDPM_STAGE_UPDATE, true));
    for (int p = 0; p < trainer->player_count; ++p)
        ddpm_weight_set_updated(&trainer->players[p].network->weights);
    DDPM_TRY(ddpm_shard_gather_weights(trainer));
    if (device->backend->download_begin) {
        DDPM_TRY(device->backend->download_begin(device, trainer->host_loss, losses->data,
                                                 ddpm_tensor_bytes(losses),
                                                 &trainer->pending_ticket));
        DDPM_TRY(device->backend->download_begin(
            device, host_norm, norm->data, ddpm_tensor_bytes(norm), &trainer->pending_ticket));
    } else {
        DDPM_TRY(ddpm_graph_read(trainer->graph, trainer->losses, trainer->host_loss));
        DDPM_TRY(ddpm_graph_read(trainer->graph, norm_value, host_norm));
    }
    trainer->pending_step = *result;
    trainer->pending = true;
    return DDPM_OK;
}

/* Mean loss of the pending step; the first micro-batch whose loss is not finite, or -1. */
static double mean_loss(const struct ddpm_trainer *trainer, int64_t *bad)
{
    const struct ddpm_team *team = &trainer->team;
    double loss = 0;
    *bad = -1;
    for (int64_t i = 0; i < team->total && *bad < 0; ++i) {
        double sum = 0;
        for (int64_t b = 0; b < team->size; ++b)
            sum += (double)trainer->host_loss[i * team->size + b];
        loss += sum / (double)(team->total * team->size);
        if (!isfinite(loss))
            *bad = i;
    }
    return loss;
}

/* After a bad step: put its micro-batch back in place and find the layer. */
static ddpm_status diagnose_here(struct ddpm_trainer *trainer,
                                 const struct ddpm_step_values *values, int64_t bad,
                                 const struct ddpm_step_result *result)
{
    const int64_t last = trainer->team.count - 1;
    DDPM_TRY(ddpm_trainer_write_micro_batch(trainer, values, bad >= 0 ? bad : last));
    if (values->batch)
        DDPM_TRY(ddpm_graph_run(trainer->graph, trainer->parts.draw));
    return ddpm_trainer_diagnose(trainer, bad, result->loss, result->grad_norm,
                                 values->batch ? values->batch->items : NULL);
}

/* The rank with the bad micro-batch searches. If only the gradient is known to be bad, all ranks
 * do. */
static ddpm_status diagnose(struct ddpm_trainer *trainer, const struct ddpm_step_values *values,
                            int64_t bad, const struct ddpm_step_result *result)
{
    const struct ddpm_team *team = &trainer->team;
    const int64_t index = bad - ddpm_ranks_index(team->ranks) * team->count;
    ddpm_status status = DDPM_OK;
    if (bad < 0 || (index >= 0 && index < team->count))
        status = diagnose_here(trainer, values, bad < 0 ? bad : index, result);
    return ddpm_ranks_agree(team->ranks, status, NULL);
}

/* Wait for the pending step's numbers. `values`: its inputs, or NULL if they are gone and must be
 * fetched again, which gives the same batch. */
static ddpm_status read_result(struct ddpm_trainer *trainer, const struct ddpm_step_values *values,
                               struct ddpm_step_result *result)
{
    struct ddpm_device *device = trainer->device;
    struct ddpm_batch batch;
    int64_t bad;
    trainer->pending = false;
    *result = trainer->pending_step;
    if (device->backend->download_end)
        DDPM_TRY(device->backend->download_end(device, trainer->pending_ticket));
    result->loss = mean_loss(trainer, &bad);
    result->grad_norm = (double)trainer->host_loss[ddpm_tensor_count(&trainer->losses->tensor)];
    if (bad < 0 && isfinite(result->grad_norm)) {
        ++trainer->step;
        return DDPM_OK;
    }
    if (values)
        return diagnose(trainer, values, bad, result);
    ddpm_prefetch_destroy(&trainer->prefetch);
    DDPM_TRY(ddpm_trainer_start_prefetch(trainer));
    DDPM_TRY(ddpm_prefetch_next(trainer->prefetch, &batch));
    ddpm_status status =
        diagnose(trainer, &(struct ddpm_step_values){.batch = &batch}, bad, result);
    ddpm_prefetch_destroy(&trainer->prefetch);
    return status;
}

ddpm_status ddpm_trainer_refuse_broken(const struct ddpm_trainer *trainer)
{
    if (!trainer->broken)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "this trainer could not be resumed, so its weights may be half read; want "
                      "another ddpm_trainer_resume(), or a new trainer");
}

ddpm_status ddpm_trainer_refuse_pending(const struct ddpm_trainer *trainer, const char *before)
{
    if (!trainer->pending)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "the result of step %lld has not been taken; want ddpm_trainer_flush() "
                      "before %s",
                      (long long)trainer->step + 1, before);
}

/* Queue a step on this batch. The pending step is read in between, into `before`. */
static ddpm_status queue_step(struct ddpm_trainer *trainer, const struct ddpm_step_values *values,
                              double waited, struct ddpm_step_result *before)
{
    struct ddpm_step_result result;
    *before = (struct ddpm_step_result){0};
    ddpm_status status = ddpm_packing_pack(trainer, DDPM_OK);
    if (status == DDPM_OK)
        status = queue_passes(trainer, values, &result);
    DDPM_TRY(ddpm_team_meet(trainer, status));
    result.data_wait = waited;
    if (trainer->pending)
        DDPM_TRY(read_result(trainer, NULL, before));
    return queue_update(trainer, &result);
}

/* Finish a step after gradients and losses of all ranks are combined. A failure of this rank
 * alone is held, because the others are on their way to the next step. */
static ddpm_status finish_step(struct ddpm_trainer *trainer, const struct ddpm_step_values *values,
                               struct ddpm_step_result *result)
{
    const struct ddpm_step_result begun = *result;
    ddpm_status status = queue_update(trainer, &begun);
    if (status == DDPM_OK)
        status = read_result(trainer, values, result);
    if (status != DDPM_OK && status != DDPM_ERROR_NOT_FINITE && trainer->team.ranks)
        ddpm_team_hold(&trainer->team, status);
    return status;
}

ddpm_status ddpm_trainer_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    struct ddpm_batch batch;
    double waited = 0;
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(result);
    DDPM_TRY(ddpm_trainer_refuse_broken(trainer));
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "a step that is waited for"));
    *result = (struct ddpm_step_result){0};
    const struct ddpm_step_values values = {.batch = &batch};
    ddpm_status status = ddpm_team_raise_held(&trainer->team);
    if (status == DDPM_OK)
        status = ddpm_trainer_next_batch(trainer, &batch, &waited);
    const bool taken = status == DDPM_OK;
    status = ddpm_packing_pack(trainer, status);
    if (status == DDPM_OK)
        status = queue_passes(trainer, &values, result);
    result->data_wait = waited;
    status = ddpm_team_meet(trainer, status);
    if (status == DDPM_OK)
        status = finish_step(trainer, &values, result);
    if (taken)
        ddpm_prefetch_release(trainer->prefetch);
    return status;
}

ddpm_status ddpm_trainer_step_late(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    struct ddpm_batch batch;
    double waited;
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(result);
    if (!trainer->device->backend->download_begin || trainer->team.ranks)
        return ddpm_trainer_step(trainer, result);
    DDPM_TRY(ddpm_trainer_refuse_broken(trainer));
    const struct ddpm_size size = ddpm_size_after(&trainer->config, ddpm_steps_queued(trainer));
    *result = (struct ddpm_step_result){0};
    if (!ddpm_trainer_fits(trainer, size)) /* the graph of the pending step goes */
        DDPM_TRY(ddpm_trainer_flush(trainer, result));
    const struct ddpm_step_result last = *result;
    DDPM_TRY(ddpm_trainer_next_batch(trainer, &batch, &waited));
    ddpm_status status =
        queue_step(trainer, &(struct ddpm_step_values){.batch = &batch}, waited, result);
    if (trainer->prefetch) /* released after a failure */
        ddpm_prefetch_release(trainer->prefetch);
    if (last.step > 0)
        *result = last;
    return status;
}

ddpm_status ddpm_trainer_flush(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(result);
    *result = (struct ddpm_step_result){0};
    return trainer->pending ? read_result(trainer, NULL, result) : DDPM_OK;
}

ddpm_status ddpm_trainer_run_values(struct ddpm_trainer *trainer,
                                    const struct ddpm_step_values *values,
                                    struct ddpm_step_result *result)
{
    DDPM_TRY(queue_step(trainer, values, 0, result));
    return read_result(trainer, values, result);
}

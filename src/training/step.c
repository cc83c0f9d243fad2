/* One step: what is submitted to the device, and what is read back.
 *
 * A step has three parts (begin, one or more micro-batches, update), which a device that can record
 * replays with one submission each. Values that change from step to step (pictures, counters,
 * learning rate) are inputs of the graph, so that a recording stays right.
 *
 * The numbers that a step ends in (losses, norm) can be read late, one step behind: while the host
 * looks at them, the device is at the next step's forward and backward pass. That step's update is
 * queued only when they were good, and the update of a bad step did nothing by itself (ops.inc:
 * GRADIENT_NORM, ADAMW), so the weights are still those of before the bad step. */
#include <math.h>

#include "core/random.h"
#include "core/threads.h"
#include "training/trainer_state.h"

/* Pictures of one optimizer step. */
static int64_t pictures_per_step(const struct ddpm_training_config *config)
{
    return config->batch_size * config->accumulate;
}

static ddpm_status submit_part(struct ddpm_trainer *trainer, enum ddpm_step_part part, bool draw)
{
    struct ddpm_device *device = trainer->network->device;
    switch (part) {
    case DDPM_PART_BEGIN:
        DDPM_TRY(device->backend->zero(device, trainer->gradients,
                                       ddpm_network_slab_bytes(trainer->network)));
        return trainer->graph->repack ? DDPM_OK : ddpm_graph_pack(trainer->graph);
    case DDPM_PART_MICRO:
        if (draw)
            DDPM_TRY(ddpm_graph_run(trainer->graph, DDPM_PHASE_DRAW));
        DDPM_TRY(ddpm_graph_run(trainer->graph, DDPM_PHASE_FORWARD));
        return ddpm_graph_run(trainer->graph, DDPM_PHASE_BACKWARD);
    case DDPM_PART_UPDATE:
    case DDPM_PART_COUNT:
        break;
    }
    return ddpm_graph_run(trainer->graph, DDPM_PHASE_UPDATE);
}

struct part {
    struct ddpm_trainer *trainer;
    enum ddpm_step_part part;
    bool draw;
};

static ddpm_status submit(void *user)
{
    const struct part *part = user;
    return submit_part(part->trainer, part->part, part->draw);
}

/* Given values (`draw` false) are for tests and embedding: never recorded. */
static ddpm_status run_part(struct ddpm_trainer *trainer, enum ddpm_step_part which, bool draw)
{
    struct part part = {trainer, which, draw};
    if (!draw)
        return submit(&part);
    return ddpm_recording_run(&trainer->recordings[which], trainer->network->device, submit, &part);
}

/* Steps that have been queued or done. */
static int64_t steps_queued(const struct ddpm_trainer *trainer)
{
    return trainer->step + trainer->pending;
}

/* AdamW keeps the copies up to date; weights that were loaded or set are copied here. */
static ddpm_status refresh_copies(struct ddpm_trainer *trainer)
{
    if (!trainer->copies || trainer->copied_changes == trainer->network->changes)
        return DDPM_OK;
    DDPM_TRY(ddpm_graph_run(trainer->graph, DDPM_PHASE_COPY));
    trainer->copied_changes = trainer->network->changes;
    return DDPM_OK;
}

/* What is the same for every micro-batch of a step, before the first. */
static ddpm_status begin_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    const int64_t done = steps_queued(trainer);
    const double k = (double)(done + 1);
    *result = (struct ddpm_step_result){.step = done + 1};
    result->lr = ddpm_learning_rate(config, done);
    float hyper[DDPM_HYPER_COUNT] = {
        [DDPM_HYPER_LR] = (float)result->lr,
        [DDPM_HYPER_BETA1] = (float)config->beta1,
        [DDPM_HYPER_BETA2] = (float)config->beta2,
        [DDPM_HYPER_EPS] = (float)config->eps,
        [DDPM_HYPER_WEIGHT_DECAY] = (float)config->weight_decay,
        [DDPM_HYPER_CORRECTION1] = (float)(1 - pow(config->beta1, k)),
        [DDPM_HYPER_CORRECTION2] = (float)(1 - pow(config->beta2, k)),
        [DDPM_HYPER_MAX_NORM] = (float)config->max_grad_norm,
        [DDPM_HYPER_EMA_DECAY] = (float)ddpm_ema_decay(config, done),
    };
    DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->hyper, hyper));
    DDPM_TRY(refresh_copies(trainer));
    return run_part(trainer, DDPM_PART_BEGIN, true);
}

/* Pictures in memory from which the device copies fast. */
static ddpm_status allocate_pixels(void *user, void **out, size_t bytes)
{
    struct ddpm_device *device = user;
    return device->backend->allocate_host(device, bytes, out);
}

static void release_pixels(void *user, void *buffer)
{
    struct ddpm_device *device = user;
    device->backend->release_host(device, buffer);
}

static ddpm_status start_prefetch(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->network->device;
    const struct ddpm_config *config = &trainer->network->config;
    if (trainer->prefetch)
        return DDPM_OK;
    if (!trainer->data)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "this trainer was made without a data source");
    int threads = (int)config->data.decode_threads;
    const struct ddpm_buffer_allocator pinned = {allocate_pixels, release_pixels, device};
    struct ddpm_prefetch_options options = {
        .batch_size = (int)pictures_per_step(&config->training),
        .depth = (int)config->data.prefetch,
        .threads = threads > 0 ? threads : ddpm_processor_count(),
        .seed = config->training.seed,
        .start_step = (uint64_t)trainer->step,
        .shuffle = true,
        .flip = config->data.flip,
        .allocator = device->backend->allocate_host ? &pinned : NULL,
    };
    return ddpm_prefetch_create(&trainer->prefetch, trainer->data->source, &options);
}

/* What a step works on: a batch of the data source, or values from the caller. */
struct material {
    const struct ddpm_batch *batch;
    const float *pictures, *noise;
    const int64_t *timesteps;
};

/* Put micro-batch `index` of a batch in place, for draw. */
static ddpm_status write_drawn(struct ddpm_trainer *trainer, const struct ddpm_batch *batch,
                               int64_t index)
{
    const int64_t size = trainer->network->config.training.batch_size;
    const size_t bytes = ddpm_tensor_bytes(&trainer->pictures->tensor);
    for (int64_t b = 0; b < size; ++b) {
        trainer->host_counters[2 * b] = (int32_t)(index * size + b);
        trainer->host_counters[2 * b + 1] = (int32_t)batch->step;
    }
    DDPM_TRY(
        ddpm_graph_write(trainer->graph, trainer->pictures, batch->pixels + (size_t)index * bytes));
    DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->flips, batch->flips + index * size));
    return ddpm_graph_write(trainer->graph, trainer->counters, trainer->host_counters);
}

/* One picture-shaped input of a micro-batch from NCHW. */
static ddpm_status write_planar(struct ddpm_trainer *trainer, struct ddpm_value *value,
                                const float *nchw)
{
    const struct ddpm_tensor *shape = &value->tensor;
    const int64_t area = shape->h * shape->w;
    for (int64_t b = 0; b < shape->n; ++b)
        for (int64_t p = 0; p < area; ++p)
            for (int64_t c = 0; c < shape->c; ++c)
                trainer->host_values[(b * area + p) * shape->c + c] =
                    nchw[(b * shape->c + c) * area + p];
    return ddpm_graph_write(trainer->graph, value, trainer->host_values);
}

static ddpm_status write_micro_batch(struct ddpm_trainer *trainer, const struct material *material,
                                     int64_t index)
{
    if (material->batch)
        return write_drawn(trainer, material->batch, index);
    const int64_t size = trainer->network->config.training.batch_size;
    const int64_t count = ddpm_tensor_count(&trainer->x0->tensor);
    for (int64_t b = 0; b < size; ++b)
        trainer->host_counters[b] = (int32_t)material->timesteps[index * size + b];
    DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->t, trainer->host_counters));
    DDPM_TRY(write_planar(trainer, trainer->x0, material->pictures + index * count));
    return write_planar(trainer, trainer->noise, material->noise + index * count);
}

/* Queue everything of a step but its update. */
static ddpm_status queue_passes(struct ddpm_trainer *trainer, const struct material *material,
                                struct ddpm_step_result *result)
{
    struct ddpm_device *device = trainer->network->device;
    const size_t bytes = ddpm_tensor_bytes(&trainer->loss->tensor);
    DDPM_TRY(begin_step(trainer, result));
    for (int64_t i = 0; i < trainer->network->config.training.accumulate; ++i) {
        DDPM_TRY(write_micro_batch(trainer, material, i));
        DDPM_TRY(run_part(trainer, DDPM_PART_MICRO, material->batch != NULL));
        if (trainer->losses != trainer->loss)
            DDPM_TRY(device->backend->copy(device,
                                           (char *)trainer->losses->tensor.data + (size_t)i * bytes,
                                           trainer->loss->tensor.data, bytes));
    }
    return DDPM_OK;
}

/* Queue the update, and the way back of the step's numbers. */
static ddpm_status queue_update(struct ddpm_trainer *trainer, const struct ddpm_step_result *result)
{
    struct ddpm_device *device = trainer->network->device;
    const struct ddpm_tensor *losses = &trainer->losses->tensor, *norm = &trainer->norm->tensor;
    float *host_norm = trainer->host_loss + ddpm_tensor_count(losses);
    DDPM_TRY(run_part(trainer, DDPM_PART_UPDATE, true));
    ddpm_network_weights_changed(trainer->network);
    trainer->copied_changes = trainer->network->changes;
    if (device->backend->download_begin) {
        DDPM_TRY(device->backend->download_begin(device, trainer->host_loss, losses->data,
                                                 ddpm_tensor_bytes(losses)));
        DDPM_TRY(device->backend->download_begin(device, host_norm, norm->data,
                                                 ddpm_tensor_bytes(norm)));
    } else {
        DDPM_TRY(ddpm_graph_read(trainer->graph, trainer->losses, trainer->host_loss));
        DDPM_TRY(ddpm_graph_read(trainer->graph, trainer->norm, host_norm));
    }
    trainer->pending_step = *result;
    trainer->pending = true;
    return DDPM_OK;
}

/* Mean loss of the pending step; the first micro-batch whose loss is not finite, or -1. */
static double mean_loss(const struct ddpm_trainer *trainer, int64_t *bad)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    double loss = 0;
    *bad = -1;
    for (int64_t i = 0; i < config->accumulate && *bad < 0; ++i) {
        double sum = 0;
        for (int64_t b = 0; b < config->batch_size; ++b)
            sum += (double)trainer->host_loss[i * config->batch_size + b];
        loss += sum / (double)pictures_per_step(config);
        if (!isfinite(loss))
            *bad = i;
    }
    return loss;
}

/* A step went wrong: put its micro-batch back in place and look for where. */
static ddpm_status diagnose(struct ddpm_trainer *trainer, const struct material *material,
                            int64_t bad, const struct ddpm_step_result *result)
{
    const int64_t last = trainer->network->config.training.accumulate - 1;
    DDPM_TRY(write_micro_batch(trainer, material, bad >= 0 ? bad : last));
    if (material->batch)
        DDPM_TRY(ddpm_graph_run(trainer->graph, DDPM_PHASE_DRAW));
    return ddpm_trainer_diagnose(trainer, bad, result->loss, result->grad_norm,
                                 material->batch ? material->batch->items : NULL);
}

/* Wait for the pending step's numbers. `material`: what it worked on, or NULL where that is gone
 * and is to be fetched once more: a batch is a function of its step. */
static ddpm_status read_result(struct ddpm_trainer *trainer, const struct material *material,
                               struct ddpm_step_result *result)
{
    struct ddpm_device *device = trainer->network->device;
    struct ddpm_batch batch;
    int64_t bad;
    trainer->pending = false;
    *result = trainer->pending_step;
    for (int i = 0; i < 2 && device->backend->download_end; ++i)
        DDPM_TRY(device->backend->download_end(device));
    result->loss = mean_loss(trainer, &bad);
    result->grad_norm = (double)trainer->host_loss[ddpm_tensor_count(&trainer->losses->tensor)];
    if (bad < 0 && isfinite(result->grad_norm)) {
        ++trainer->step;
        return DDPM_OK;
    }
    if (material)
        return diagnose(trainer, material, bad, result);
    ddpm_prefetch_destroy(&trainer->prefetch);
    DDPM_TRY(start_prefetch(trainer));
    DDPM_TRY(ddpm_prefetch_next(trainer->prefetch, &batch));
    ddpm_status status = diagnose(trainer, &(struct material){.batch = &batch}, bad, result);
    ddpm_prefetch_destroy(&trainer->prefetch);
    return status;
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

static ddpm_status next_batch(struct ddpm_trainer *trainer, struct ddpm_batch *batch,
                              double *waited)
{
    /* After a failed step, or steps on given values, the batches ahead are those of other steps. */
    if (trainer->next_batch != steps_queued(trainer))
        ddpm_prefetch_destroy(&trainer->prefetch);
    DDPM_TRY(start_prefetch(trainer));
    *waited = ddpm_prefetch_statistics(trainer->prefetch).seconds_waited;
    DDPM_TRY(ddpm_prefetch_next(trainer->prefetch, batch));
    trainer->next_batch = steps_queued(trainer) + 1;
    *waited = ddpm_prefetch_statistics(trainer->prefetch).seconds_waited - *waited;
    return DDPM_OK;
}

/* Queue a step on this batch. What is pending is read in between, into `before`. */
static ddpm_status queue_step(struct ddpm_trainer *trainer, const struct material *material,
                              double waited, struct ddpm_step_result *before)
{
    struct ddpm_step_result result;
    *before = (struct ddpm_step_result){0};
    DDPM_TRY(queue_passes(trainer, material, &result));
    result.data_wait = waited;
    if (trainer->pending)
        DDPM_TRY(read_result(trainer, NULL, before));
    return queue_update(trainer, &result);
}

ddpm_status ddpm_trainer_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    struct ddpm_batch batch;
    double waited;
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "a step that is waited for"));
    DDPM_TRY(next_batch(trainer, &batch, &waited));
    const struct material material = {.batch = &batch};
    ddpm_status status = queue_step(trainer, &material, waited, result);
    if (status == DDPM_OK)
        status = read_result(trainer, &material, result);
    ddpm_prefetch_release(trainer->prefetch);
    return status;
}

ddpm_status ddpm_trainer_step_late(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    struct ddpm_batch batch;
    double waited;
    if (!trainer->network->device->backend->download_begin)
        return ddpm_trainer_step(trainer, result);
    DDPM_TRY(next_batch(trainer, &batch, &waited));
    ddpm_status status = queue_step(trainer, &(struct material){.batch = &batch}, waited, result);
    if (trainer->prefetch) /* gone after a failure */
        ddpm_prefetch_release(trainer->prefetch);
    return status;
}

ddpm_status ddpm_trainer_flush(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    *result = (struct ddpm_step_result){0};
    return trainer->pending ? read_result(trainer, NULL, result) : DDPM_OK;
}

ddpm_status ddpm_trainer_step_given(struct ddpm_trainer *trainer, const float *pictures,
                                    const int64_t *timesteps, const float *noise,
                                    struct ddpm_step_result *result)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    const struct material material = {.pictures = pictures, .noise = noise, .timesteps = timesteps};
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "a step on given values"));
    for (int64_t b = 0; b < pictures_per_step(config); ++b)
        if (timesteps[b] < 0 || timesteps[b] >= trainer->tables.timesteps)
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "timestep %lld: got %lld, want 0 to %lld",
                              (long long)b, (long long)timesteps[b],
                              (long long)trainer->tables.timesteps - 1);
    DDPM_TRY(queue_step(trainer, &material, 0, result));
    return read_result(trainer, &material, result);
}

/* One step: what is submitted to the device, and what is read back.
 *
 * A step has three parts (begin, one or more micro-batches, update), which a device that can record
 * replays with one submission each. Values that change from step to step (pictures, counters,
 * learning rate) are inputs of the graph, so that a recording stays right. */
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
        return ddpm_graph_pack(trainer->graph);
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

/* Submit a part, or replay it. Given values (`draw` false) are for tests and embedding: never
 * recorded. */
static ddpm_status run_part(struct ddpm_trainer *trainer, enum ddpm_step_part part, bool draw)
{
    struct ddpm_device *device = trainer->network->device;
    const struct ddpm_backend *backend = device->backend;
    if (!backend->record_begin || !draw || !trainer->had_turn[part]) {
        trainer->had_turn[part] |= draw;
        return submit_part(trainer, part, draw);
    }
    if (!trainer->recordings[part]) {
        DDPM_TRY(backend->record_begin(device));
        ddpm_status status = submit_part(trainer, part, draw);
        void *recording = NULL;
        ddpm_status ended = backend->record_end(device, &recording);
        if (status != DDPM_OK || ended != DDPM_OK) {
            backend->release_recording(device, recording); /* half of a part */
            return status != DDPM_OK ? status : ended;
        }
        trainer->recordings[part] = recording;
    }
    return backend->replay(device, trainer->recordings[part]);
}

/* What is the same for every micro-batch of a step, before the first. */
static ddpm_status begin_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    const double k = (double)(trainer->step + 1);
    *result = (struct ddpm_step_result){.step = trainer->step + 1};
    result->lr = ddpm_learning_rate(config, trainer->step);
    float hyper[DDPM_HYPER_COUNT] = {
        [DDPM_HYPER_LR] = (float)result->lr,
        [DDPM_HYPER_BETA1] = (float)config->beta1,
        [DDPM_HYPER_BETA2] = (float)config->beta2,
        [DDPM_HYPER_EPS] = (float)config->eps,
        [DDPM_HYPER_WEIGHT_DECAY] = (float)config->weight_decay,
        [DDPM_HYPER_CORRECTION1] = (float)(1 - pow(config->beta1, k)),
        [DDPM_HYPER_CORRECTION2] = (float)(1 - pow(config->beta2, k)),
        [DDPM_HYPER_MAX_NORM] = (float)config->max_grad_norm,
        [DDPM_HYPER_EMA_DECAY] = (float)ddpm_ema_decay(config, trainer->step),
    };
    DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->hyper, hyper));
    return run_part(trainer, DDPM_PART_BEGIN, true);
}

/* Add a micro-batch's share to result->loss. */
static ddpm_status read_loss(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    DDPM_TRY(ddpm_graph_read(trainer->graph, trainer->loss, trainer->host_loss));
    double sum = 0;
    for (int64_t b = 0; b < config->batch_size; ++b)
        sum += (double)trainer->host_loss[b];
    result->loss += sum / (double)pictures_per_step(config);
    return DDPM_OK;
}

static ddpm_status finish_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result,
                               const int64_t *items)
{
    float norm;
    DDPM_TRY(run_part(trainer, DDPM_PART_UPDATE, true));
    DDPM_TRY(ddpm_graph_read(trainer->graph, trainer->norm, &norm));
    result->grad_norm = (double)norm;
    if (!isfinite(norm))
        return ddpm_trainer_diagnose(trainer, -1, result->loss, result->grad_norm, items);
    ++trainer->step;
    ddpm_network_weights_changed(trainer->network);
    return DDPM_OK;
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

/* Put micro-batch `index` of a batch in place, for draw. */
static ddpm_status write_micro_batch(struct ddpm_trainer *trainer, const struct ddpm_batch *batch,
                                     int64_t index)
{
    const int64_t size = trainer->network->config.training.batch_size;
    const size_t bytes = ddpm_tensor_bytes(&trainer->pictures->tensor);
    for (int64_t b = 0; b < size; ++b) {
        trainer->host_counters[2 * b] = (int32_t)(index * size + b);
        trainer->host_counters[2 * b + 1] = (int32_t)trainer->step;
    }
    DDPM_TRY(
        ddpm_graph_write(trainer->graph, trainer->pictures, batch->pixels + (size_t)index * bytes));
    DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->flips, batch->flips + index * size));
    return ddpm_graph_write(trainer->graph, trainer->counters, trainer->host_counters);
}

static ddpm_status step_on_batch(struct ddpm_trainer *trainer, const struct ddpm_batch *batch,
                                 struct ddpm_step_result *result)
{
    const int64_t micro_batches = trainer->network->config.training.accumulate;
    DDPM_TRY(begin_step(trainer, result));
    for (int64_t i = 0; i < micro_batches; ++i) {
        DDPM_TRY(write_micro_batch(trainer, batch, i));
        DDPM_TRY(run_part(trainer, DDPM_PART_MICRO, true));
        DDPM_TRY(read_loss(trainer, result));
        if (!isfinite(result->loss))
            return ddpm_trainer_diagnose(trainer, i, result->loss, NAN, batch->items);
    }
    return finish_step(trainer, result, batch->items);
}

ddpm_status ddpm_trainer_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    struct ddpm_batch batch;
    /* After a failed step, or steps on given values, the batches ahead are those of other steps. */
    if (trainer->next_batch != trainer->step)
        ddpm_prefetch_destroy(&trainer->prefetch);
    DDPM_TRY(start_prefetch(trainer));
    double waited = ddpm_prefetch_statistics(trainer->prefetch).seconds_waited;
    DDPM_TRY(ddpm_prefetch_next(trainer->prefetch, &batch));
    trainer->next_batch = trainer->step + 1;
    waited = ddpm_prefetch_statistics(trainer->prefetch).seconds_waited - waited;
    ddpm_status status = step_on_batch(trainer, &batch, result);
    result->data_wait = waited;
    ddpm_prefetch_release(trainer->prefetch);
    return status;
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

ddpm_status ddpm_trainer_step_given(struct ddpm_trainer *trainer, const float *pictures,
                                    const int64_t *timesteps, const float *noise,
                                    struct ddpm_step_result *result)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    const int64_t count = ddpm_tensor_count(&trainer->x0->tensor);
    for (int64_t b = 0; b < pictures_per_step(config); ++b)
        if (timesteps[b] < 0 || timesteps[b] >= trainer->tables.timesteps)
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "timestep %lld: got %lld, want 0 to %lld",
                              (long long)b, (long long)timesteps[b],
                              (long long)trainer->tables.timesteps - 1);
    DDPM_TRY(begin_step(trainer, result));
    for (int64_t i = 0; i < config->accumulate; ++i) {
        for (int64_t b = 0; b < config->batch_size; ++b)
            trainer->host_counters[b] = (int32_t)timesteps[i * config->batch_size + b];
        DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->t, trainer->host_counters));
        DDPM_TRY(write_planar(trainer, trainer->x0, pictures + i * count));
        DDPM_TRY(write_planar(trainer, trainer->noise, noise + i * count));
        DDPM_TRY(run_part(trainer, DDPM_PART_MICRO, false));
        DDPM_TRY(read_loss(trainer, result));
        if (!isfinite(result->loss))
            return ddpm_trainer_diagnose(trainer, i, result->loss, NAN, NULL);
    }
    return finish_step(trainer, result, NULL);
}

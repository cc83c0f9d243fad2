/* The trainer: the five lines of the algorithm (Ho et al. 2020, algorithm 1) as one planned graph.
 *
 *     draw      x_0 = pictures, t ~ U{0…T-1}, ε ~ N(0,I)
 *     forward   loss = ‖ε - network(√ᾱ_t·x_0 + √(1-ᾱ_t)·ε, t)‖²
 *     backward  gradients += ∂loss
 *     update    clip, AdamW, EMA
 *
 * Everything random is a function of (seed, step, place in the batch), so a step can be repeated,
 * resumed and diagnosed. */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/random.h"
#include "core/threads.h"
#include "nets/nets.h"
#include "training/trainer_state.h"

/* Pictures of one optimizer step. */
static int64_t pictures_per_step(const struct ddpm_training_config *config)
{
    return config->batch_size * config->accumulate;
}

static struct ddpm_value *slab_value(struct ddpm_trainer *trainer, void *slab)
{
    struct ddpm_tensor tensor =
        ddpm_tensor_make(DDPM_F32, 1, 1, 1, trainer->network->parameters.slab_count);
    tensor.data = slab;
    return ddpm_graph_external(trainer->graph, tensor);
}

static void build_draw(struct ddpm_trainer *trainer)
{
    const struct ddpm_config *config = &trainer->network->config;
    const struct ddpm_diffusion_config *diffusion = &config->diffusion;
    struct ddpm_graph *g = trainer->graph;
    const int64_t batch = config->training.batch_size;
    const uint64_t seed = config->training.seed;
    g->phase = DDPM_PHASE_DRAW;
    trainer->pictures = ddpm_graph_input(g, DDPM_U8, batch, diffusion->image_height,
                                         diffusion->image_width, config->network.channels);
    trainer->flips = ddpm_graph_input(g, DDPM_U8, batch, 1, 1, 1);
    trainer->counters = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 2);
    trainer->table = ddpm_graph_input(g, DDPM_F32, trainer->tables.timesteps, 1, 1, 2);
    trainer->x0 = ddpm_normalize_pictures(g, trainer->pictures, trainer->flips);
    trainer->t = ddpm_draw_timesteps(g, trainer->counters, seed, (int)diffusion->timesteps,
                                     diffusion->timestep_per_batch);
    if (trainer->x0)
        trainer->noise =
            ddpm_draw_normal(g, trainer->counters, seed, DDPM_STREAM_NOISE, &trainer->x0->tensor);
    ddpm_graph_keep(trainer->x0);
    ddpm_graph_keep(trainer->t);
    ddpm_graph_keep(trainer->noise);
}

static ddpm_status build_graph(struct ddpm_trainer *trainer)
{
    struct ddpm_network *network = trainer->network;
    const struct ddpm_config *config = &network->config;
    const enum ddpm_loss loss = (enum ddpm_loss)config->diffusion.loss;
    DDPM_TRY(ddpm_graph_create(&network->parameters, network->dtype, &trainer->graph));
    struct ddpm_graph *g = trainer->graph;

    build_draw(trainer);

    g->phase = DDPM_PHASE_FORWARD;
    struct ddpm_value *x_t =
        ddpm_q_sample(g, trainer->x0, trainer->noise, trainer->t, trainer->table);
    struct ddpm_value *prediction = ddpm_net_build(g, &config->network, x_t, trainer->t);
    trainer->loss = ddpm_loss_per_image(g, prediction, trainer->noise, loss);
    ddpm_graph_fuse(g, ~0u);

    g->phase = DDPM_PHASE_BACKWARD;
    struct ddpm_value *seed = ddpm_loss_gradient(g, prediction, trainer->noise, loss,
                                                 1.0f / (float)config->training.accumulate);
    if (seed)
        DDPM_TRY(ddpm_graph_differentiate(g, prediction, seed));

    g->phase = DDPM_PHASE_UPDATE;
    struct ddpm_value *gradients = slab_value(trainer, trainer->gradients);
    trainer->hyper = ddpm_graph_input(g, DDPM_F32, 1, 1, 1, DDPM_HYPER_COUNT);
    trainer->norm = ddpm_gradient_norm(g, gradients);
    ddpm_adamw(g, gradients, trainer->norm, trainer->hyper,
               slab_value(trainer, network->slabs[DDPM_WEIGHTS_MODEL]),
               slab_value(trainer, trainer->m), slab_value(trainer, trainer->v),
               slab_value(trainer, network->slabs[DDPM_WEIGHTS_EMA]));
    DDPM_TRY(g->status);
    DDPM_TRY(ddpm_graph_plan(g, network->device, network->slabs[DDPM_WEIGHTS_MODEL],
                             trainer->gradients));
    return ddpm_graph_write(g, trainer->table, trainer->tables.q_sample);
}

static ddpm_status allocate_slabs(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->network->device;
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    DDPM_TRY(device->backend->allocate(device, bytes, "gradients", &trainer->gradients));
    DDPM_TRY(device->backend->allocate(device, bytes, "AdamW's first moments", &trainer->m));
    return device->backend->allocate(device, bytes, "AdamW's second moments", &trainer->v);
}

static ddpm_status allocate_host(struct ddpm_trainer *trainer)
{
    size_t batch = (size_t)trainer->network->config.training.batch_size;
    size_t count = (size_t)ddpm_tensor_count(&trainer->x0->tensor);
    DDPM_TRY(ddpm_new_array((void **)&trainer->host_loss, batch, sizeof(float), "losses"));
    DDPM_TRY(
        ddpm_new_array((void **)&trainer->host_counters, 2 * batch, sizeof(int32_t), "counters"));
    return ddpm_new_array((void **)&trainer->host_values, count, sizeof(float), "a batch");
}

static ddpm_status check_data(const struct ddpm_config *config, const struct ddpm_data *data)
{
    if (config->network.out_dim && config->network.out_dim != config->network.channels)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "training: got %lld output channels, want %lld, those of the pictures",
                          (long long)config->network.out_dim, (long long)config->network.channels);
    if (!data)
        return DDPM_OK;
    const struct ddpm_source_options *have = ddpm_source_wanted(data->source);
    if (have->height != config->diffusion.image_height ||
        have->width != config->diffusion.image_width || have->channels != config->network.channels)
        return ddpm_raise(
            DDPM_ERROR_MISMATCH,
            "the data is %dx%d with %d channels, the network wants %lldx%lld with %lld",
            have->height, have->width, have->channels, (long long)config->diffusion.image_height,
            (long long)config->diffusion.image_width, (long long)config->network.channels);
    return DDPM_OK;
}

ddpm_status ddpm_trainer_create(struct ddpm_network *network, struct ddpm_data *data,
                                struct ddpm_trainer **out)
{
    struct ddpm_trainer *trainer;
    *out = NULL;
    DDPM_TRY(check_data(&network->config, data));
    DDPM_TRY(DDPM_NEW(&trainer, "a trainer"));
    trainer->network = network;
    trainer->data = data;
    ddpm_status status = ddpm_diffusion_tables_create(&network->config.diffusion, &trainer->tables);
    if (status == DDPM_OK)
        status = allocate_slabs(trainer);
    if (status == DDPM_OK)
        status = build_graph(trainer);
    if (status == DDPM_OK)
        status = allocate_host(trainer);
    if (status != DDPM_OK)
        ddpm_trainer_destroy(&trainer);
    *out = trainer;
    return status;
}

void ddpm_trainer_destroy(struct ddpm_trainer **trainer)
{
    struct ddpm_trainer *t = *trainer;
    if (!t)
        return;
    struct ddpm_device *device = t->network->device;
    ddpm_prefetch_destroy(&t->prefetch);
    ddpm_graph_destroy(&t->graph);
    device->backend->release(device, t->gradients);
    device->backend->release(device, t->m);
    device->backend->release(device, t->v);
    ddpm_diffusion_tables_clear(&t->tables);
    free(t->host_loss);
    free(t->host_counters);
    free(t->host_values);
    free(t);
    *trainer = NULL;
}

/* What is the same for every micro-batch of a step, before the first. */
static ddpm_status begin_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    struct ddpm_device *device = trainer->network->device;
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
    return device->backend->zero(device, trainer->gradients,
                                 ddpm_network_slab_bytes(trainer->network));
}

/* Forward and backward of the micro-batch that is in place; adds its share to result->loss. */
static ddpm_status run_micro_batch(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    DDPM_TRY(ddpm_graph_run(trainer->graph, DDPM_PHASE_FORWARD));
    DDPM_TRY(ddpm_graph_run(trainer->graph, DDPM_PHASE_BACKWARD));
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
    DDPM_TRY(ddpm_graph_run(trainer->graph, DDPM_PHASE_UPDATE));
    DDPM_TRY(ddpm_graph_read(trainer->graph, trainer->norm, &norm));
    result->grad_norm = (double)norm;
    if (!isfinite(norm))
        return ddpm_trainer_diagnose(trainer, -1, result->loss, result->grad_norm, items);
    ++trainer->step;
    ddpm_graph_weights_changed(trainer->graph);
    ddpm_network_weights_changed(trainer->network);
    return DDPM_OK;
}

static ddpm_status start_prefetch(struct ddpm_trainer *trainer)
{
    const struct ddpm_config *config = &trainer->network->config;
    if (trainer->prefetch)
        return DDPM_OK;
    if (!trainer->data)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "this trainer was made without a data source");
    int threads = (int)config->data.decode_threads;
    struct ddpm_prefetch_options options = {
        .batch_size = (int)pictures_per_step(&config->training),
        .depth = config->data.prefetch > 1 ? (int)config->data.prefetch : 4,
        .threads = threads > 0 ? threads : ddpm_processor_count(),
        .seed = config->training.seed,
        .start_step = (uint64_t)trainer->step,
        .shuffle = true,
        .flip = config->data.flip,
    };
    return ddpm_prefetch_create(&trainer->prefetch, trainer->data->source, &options);
}

/* Put micro-batch `index` of a batch in place and draw its timesteps and noise. */
static ddpm_status draw_micro_batch(struct ddpm_trainer *trainer, const struct ddpm_batch *batch,
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
    DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->counters, trainer->host_counters));
    return ddpm_graph_run(trainer->graph, DDPM_PHASE_DRAW);
}

static ddpm_status step_on_batch(struct ddpm_trainer *trainer, const struct ddpm_batch *batch,
                                 struct ddpm_step_result *result)
{
    const int64_t micro_batches = trainer->network->config.training.accumulate;
    DDPM_TRY(begin_step(trainer, result));
    for (int64_t i = 0; i < micro_batches; ++i) {
        DDPM_TRY(draw_micro_batch(trainer, batch, i));
        DDPM_TRY(run_micro_batch(trainer, result));
        if (!isfinite(result->loss))
            return ddpm_trainer_diagnose(trainer, i, result->loss, NAN, batch->items);
    }
    return finish_step(trainer, result, batch->items);
}

ddpm_status ddpm_trainer_step(struct ddpm_trainer *trainer, struct ddpm_step_result *result)
{
    struct ddpm_batch batch;
    DDPM_TRY(start_prefetch(trainer));
    double waited = ddpm_prefetch_statistics(trainer->prefetch).seconds_waited;
    DDPM_TRY(ddpm_prefetch_next(trainer->prefetch, &batch));
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
        DDPM_TRY(run_micro_batch(trainer, result));
        if (!isfinite(result->loss))
            return ddpm_trainer_diagnose(trainer, i, result->loss, NAN, NULL);
    }
    return finish_step(trainer, result, NULL);
}

ddpm_status ddpm_trainer_gradient(const struct ddpm_trainer *trainer, const char *name,
                                  float *values, size_t count)
{
    const struct ddpm_parameters *parameters = &trainer->network->parameters;
    struct ddpm_device *device = trainer->network->device;
    size_t index = ddpm_parameters_find(parameters, name);
    if (index == parameters->count)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "the network has no parameter %s", name);
    struct ddpm_parameter parameter = parameters->items[index];
    if ((int64_t)count != ddpm_parameter_count(&parameter))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "gradient of %s: got room for %zu values, want %lld",
                          name, count, (long long)ddpm_parameter_count(&parameter));
    float *place;
    DDPM_TRY(ddpm_new_array((void **)&place, count, sizeof *place, "a gradient"));
    ddpm_status status = device->backend->download(
        device, place, (const float *)trainer->gradients + parameter.offset, count * sizeof *place);
    parameter.offset = 0;
    if (status == DDPM_OK)
        ddpm_parameter_from_slab(&parameter, place, values);
    free(place);
    return status;
}

int64_t ddpm_trainer_steps_done(const struct ddpm_trainer *trainer)
{
    return trainer->step;
}

struct ddpm_memory_plan ddpm_trainer_memory(const struct ddpm_trainer *trainer)
{
    const struct ddpm_graph *g = trainer->graph;
    double flops =
        ddpm_graph_flops(g, DDPM_PHASE_FORWARD) + ddpm_graph_flops(g, DDPM_PHASE_BACKWARD);
    return (struct ddpm_memory_plan){
        .activations = g->arena_bytes,
        .packed = g->packed_bytes,
        .weights = 5 * (uint64_t)ddpm_network_slab_bytes(trainer->network),
        .flops_per_step = flops * (double)trainer->network->config.training.accumulate,
    };
}

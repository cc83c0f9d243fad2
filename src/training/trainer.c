/* The trainer: the five lines of the algorithm (Ho et al. 2020, algorithm 1) as one planned graph;
 * step.c runs it.
 *
 *     draw      x_0 = pictures, t ~ U{0…T-1}, ε ~ N(0,I)
 *     forward   loss = ‖ε - network(√ᾱ_t·x_0 + √(1-ᾱ_t)·ε, t)‖²
 *     backward  gradients += ∂loss
 *     update    clip, AdamW, EMA
 *
 * Everything random is a function of (seed, step, place in the batch), so a step can be repeated,
 * resumed and diagnosed. */
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/random.h"
#include "nets/nets.h"
#include "training/trainer_state.h"

static struct ddpm_value *slab_value(struct ddpm_trainer *trainer, enum ddpm_dtype dtype,
                                     void *slab)
{
    struct ddpm_tensor tensor =
        ddpm_tensor_make(dtype, 1, 1, 1, trainer->network->parameters.slab_count);
    tensor.data = slab;
    return ddpm_graph_external(trainer->graph, tensor);
}

/* Bytes of the slab of copies; 0 where convolutions have no use for it. */
static size_t copies_bytes(const struct ddpm_network *network)
{
    const bool read = network->dtype == DDPM_BF16 && network->device->backend->reads_bf16_weights;
    return read ? (size_t)network->parameters.slab_count * ddpm_dtype_size(DDPM_BF16) : 0;
}

/* Returns the copies as a value, or NULL where there are none. */
static struct ddpm_value *build_copy(struct ddpm_trainer *trainer)
{
    struct ddpm_graph *g = trainer->graph;
    g->reads_copies = copies_bytes(trainer->network) > 0;
    if (!g->reads_copies)
        return NULL;
    g->phase = DDPM_PHASE_COPY;
    struct ddpm_value *copies = slab_value(trainer, DDPM_BF16, trainer->copies);
    ddpm_copy_weights(g, slab_value(trainer, DDPM_F32, trainer->network->slabs[DDPM_WEIGHTS_MODEL]),
                      copies);
    return copies;
}

static void build_draw(struct ddpm_trainer *trainer, int64_t batch)
{
    const struct ddpm_config *config = &trainer->network->config;
    const struct ddpm_diffusion_config *diffusion = &config->diffusion;
    struct ddpm_graph *g = trainer->graph;
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

static ddpm_status build_graph(struct ddpm_trainer *trainer, int64_t batch, bool low_memory)
{
    struct ddpm_network *network = trainer->network;
    const struct ddpm_config *config = &network->config;
    const enum ddpm_loss loss = (enum ddpm_loss)config->diffusion.loss;
    DDPM_TRY(ddpm_graph_create(&network->parameters, network->dtype, &trainer->graph));
    struct ddpm_graph *g = trainer->graph;

    struct ddpm_value *copies = build_copy(trainer);
    build_draw(trainer, batch);

    g->phase = DDPM_PHASE_FORWARD;
    struct ddpm_value *x_t =
        ddpm_q_sample(g, trainer->x0, trainer->noise, trainer->t, trainer->table);
    struct ddpm_value *prediction = ddpm_net_build(g, &config->network, x_t, trainer->t);
    trainer->loss = ddpm_loss_per_image(g, prediction, trainer->noise, loss);
    ddpm_graph_fuse(g, ~0u);
    g->recompute = low_memory;
    g->repack = config->training.accumulate == 1 || low_memory;

    g->phase = DDPM_PHASE_BACKWARD;
    struct ddpm_value *seed = ddpm_loss_gradient(g, prediction, trainer->noise, loss,
                                                 1.0f / (float)config->training.accumulate);
    if (seed)
        DDPM_TRY(ddpm_graph_differentiate(g, prediction, seed));

    g->phase = DDPM_PHASE_UPDATE;
    struct ddpm_value *gradients = slab_value(trainer, DDPM_F32, trainer->gradients);
    trainer->hyper = ddpm_graph_input(g, DDPM_F32, 1, 1, 1, DDPM_HYPER_COUNT);
    /* One micro-batch's losses lie where they were computed, several are gathered by step.c. */
    trainer->losses = trainer->loss;
    if (config->training.accumulate > 1)
        trainer->losses =
            ddpm_graph_input(g, DDPM_F32, batch * config->training.accumulate, 1, 1, 1);
    trainer->norm = ddpm_gradient_norm(g, gradients, trainer->losses);
    ddpm_adamw(g, gradients, trainer->norm, trainer->hyper,
               slab_value(trainer, DDPM_F32, network->slabs[DDPM_WEIGHTS_MODEL]),
               slab_value(trainer, DDPM_F32, trainer->m), slab_value(trainer, DDPM_F32, trainer->v),
               slab_value(trainer, DDPM_F32, network->slabs[DDPM_WEIGHTS_EMA]), copies);
    return g->status;
}

/* Does a step of this batch fit beside what is taken already? */
static bool would_fit(struct ddpm_trainer *trainer, int64_t batch, bool low_memory)
{
    struct ddpm_device *device = trainer->network->device;
    size_t arena, packed;
    ddpm_graph_destroy(&trainer->graph);
    ddpm_status status = build_graph(trainer, batch, low_memory);
    if (status == DDPM_OK)
        status = ddpm_graph_measure(trainer->graph, device, &arena, &packed);
    ddpm_graph_destroy(&trainer->graph);
    return status == DDPM_OK && arena + packed <= ddpm_device_available(device);
}

/* The plan does not fit: say what would. */
static ddpm_status suggest_smaller(struct ddpm_trainer *trainer)
{
    const struct ddpm_config *config = &trainer->network->config;
    char why[512];
    snprintf(why, sizeof why, "%s", ddpm_error_message());
    if (!trainer->network->device->backend->available)
        return DDPM_ERROR_MEMORY;
    if (!config->run.low_memory && would_fit(trainer, config->training.batch_size, true))
        return ddpm_raise(DDPM_ERROR_MEMORY, "%s; memory low would fit", why);
    for (int64_t batch = config->training.batch_size / 2; batch > 0; batch /= 2)
        if (config->training.batch_size % batch == 0 &&
            would_fit(trainer, batch, config->run.low_memory))
            return ddpm_raise(
                DDPM_ERROR_MEMORY,
                "%s; batch-size %lld would fit (with accumulate %lld it trains alike)", why,
                (long long)batch,
                (long long)(config->training.accumulate * (config->training.batch_size / batch)));
    return ddpm_raise(DDPM_ERROR_MEMORY,
                      "%s; not even one picture would fit: a smaller dim or size is needed", why);
}

static ddpm_status plan_graph(struct ddpm_trainer *trainer)
{
    struct ddpm_network *network = trainer->network;
    const struct ddpm_config *config = &network->config;
    DDPM_TRY(build_graph(trainer, config->training.batch_size, config->run.low_memory));
    ddpm_status status =
        ddpm_graph_plan(trainer->graph, network->device, network->slabs[DDPM_WEIGHTS_MODEL],
                        trainer->gradients, trainer->copies);
    if (status == DDPM_ERROR_MEMORY)
        return suggest_smaller(trainer);
    DDPM_TRY(status);
    return ddpm_graph_write(trainer->graph, trainer->table, trainer->tables.q_sample);
}

static ddpm_status allocate_slabs(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->network->device;
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    const size_t copies = copies_bytes(trainer->network);
    if (copies)
        DDPM_TRY(device->backend->allocate(device, copies, "weights in bf16", &trainer->copies));
    DDPM_TRY(device->backend->allocate(device, bytes, "gradients", &trainer->gradients));
    DDPM_TRY(device->backend->allocate(device, bytes, "AdamW's first moments", &trainer->m));
    return device->backend->allocate(device, bytes, "AdamW's second moments", &trainer->v);
}

static ddpm_status allocate_host(struct ddpm_trainer *trainer)
{
    const struct ddpm_training_config *config = &trainer->network->config.training;
    struct ddpm_device *device = trainer->network->device;
    size_t batch = (size_t)config->batch_size;
    size_t numbers = batch * (size_t)config->accumulate + 1;
    size_t count = (size_t)ddpm_tensor_count(&trainer->x0->tensor);
    if (device->backend->download_begin)
        DDPM_TRY(device->backend->allocate_host(device, numbers * sizeof(float),
                                                (void **)&trainer->host_loss));
    else
        DDPM_TRY(ddpm_new_array((void **)&trainer->host_loss, numbers, sizeof(float), "losses"));
    DDPM_TRY(
        ddpm_new_array((void **)&trainer->host_counters, 2 * batch, sizeof(int32_t), "counters"));
    return ddpm_new_array((void **)&trainer->host_values, count, sizeof(float), "a batch");
}

static void release_host(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->network->device;
    if (device->backend->download_begin)
        device->backend->release_host(device, trainer->host_loss);
    else
        free(trainer->host_loss);
    free(trainer->host_counters);
    free(trainer->host_values);
}

static ddpm_status check_config(const struct ddpm_config *config, const struct ddpm_data *data)
{
    if (config->network.out_dim && config->network.out_dim != config->network.channels)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "training: got %lld output channels, want %lld, those of the pictures",
                          (long long)config->network.out_dim, (long long)config->network.channels);
    if (config->training.batch_size * config->training.accumulate > INT32_MAX)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "training: got %lld batches of %lld for a step, want fewer than 2^31 "
                          "pictures",
                          (long long)config->training.accumulate,
                          (long long)config->training.batch_size);
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
    DDPM_TRY(check_config(&network->config, data));
    DDPM_TRY(DDPM_NEW(&trainer, "a trainer"));
    trainer->network = network;
    trainer->data = data;
    trainer->copied_changes = -1;
    ddpm_status status = ddpm_diffusion_tables_create(&network->config.diffusion, &trainer->tables);
    if (status == DDPM_OK)
        status = allocate_slabs(trainer);
    if (status == DDPM_OK)
        status = plan_graph(trainer);
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
    ddpm_trainer_close_saver(t);
    if (t->pending) /* its numbers are on their way into memory that goes now */
        (void)device->backend->synchronize(device);
    ddpm_prefetch_destroy(&t->prefetch);
    for (int part = 0; part < DDPM_PART_COUNT; ++part)
        ddpm_recording_release(&t->recordings[part], device);
    ddpm_graph_destroy(&t->graph);
    device->backend->release(device, t->gradients);
    device->backend->release(device, t->m);
    device->backend->release(device, t->v);
    device->backend->release(device, t->copies);
    ddpm_diffusion_tables_clear(&t->tables);
    release_host(t);
    free(t);
    *trainer = NULL;
}

ddpm_status ddpm_trainer_gradient(const struct ddpm_trainer *trainer, const char *name,
                                  float *values, size_t count)
{
    const struct ddpm_parameters *parameters = &trainer->network->parameters;
    struct ddpm_device *device = trainer->network->device;
    size_t index = ddpm_parameters_find(parameters, name);
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "a gradient is read"));
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
        .weights = 5 * (uint64_t)ddpm_network_slab_bytes(trainer->network) +
                   copies_bytes(trainer->network),
        .available = ddpm_device_available(trainer->network->device),
        .flops_per_step = flops * (double)trainer->network->config.training.accumulate,
    };
}

ddpm_status ddpm_trainer_measure(struct ddpm_network *network, struct ddpm_memory_plan *out)
{
    const struct ddpm_config *config = &network->config;
    struct ddpm_trainer trainer = {.network = network};
    size_t arena, packed;
    DDPM_TRY(check_config(config, NULL));
    DDPM_TRY(ddpm_diffusion_tables_create(&config->diffusion, &trainer.tables));
    ddpm_status status = build_graph(&trainer, config->training.batch_size, config->run.low_memory);
    if (status == DDPM_OK)
        status = ddpm_graph_measure(trainer.graph, network->device, &arena, &packed);
    if (status == DDPM_OK)
        *out = ddpm_trainer_memory(&trainer);
    ddpm_graph_destroy(&trainer.graph);
    ddpm_diffusion_tables_clear(&trainer.tables);
    return status;
}

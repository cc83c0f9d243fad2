/* The trainer: its networks, memory and graph. Its task (tasks/) defines what a step computes;
 * step.c runs it.
 *
 * Everything random depends only on (seed, step, position in the batch), so a step can be repeated,
 * resumed and diagnosed. */
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "training/inspect.h"
#include "training/ranks.h"
#include "training/trainer_state.h"

static ddpm_status allocate_host(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->device;
    size_t batch = (size_t)trainer->team.size;
    size_t numbers = batch * (size_t)trainer->team.total + 1;
    const struct ddpm_size whole = ddpm_whole_size(&trainer->config);
    size_t count = batch * (size_t)(trainer->config.network.channels * whole.height * whole.width);
    if (device->backend->download_begin)
        DDPM_TRY(device->backend->allocate_host(device, numbers * sizeof(float),
                                                (void **)&trainer->host_loss));
    else
        DDPM_TRY(ddpm_new_array((void **)&trainer->host_loss, numbers, sizeof(float), "losses"));
    DDPM_TRY(
        ddpm_new_array((void **)&trainer->host_counters, 2 * batch, sizeof(int32_t), "counters"));
    DDPM_TRY(ddpm_new_array((void **)&trainer->host_rows, batch * (size_t)trainer->task->columns,
                            sizeof(float), "coefficients"));
    return ddpm_new_array((void **)&trainer->host_values, count, sizeof(float), "a batch");
}

static void release_host(struct ddpm_trainer *trainer)
{
    struct ddpm_device *device = trainer->device;
    if (device->backend->download_begin)
        device->backend->release_host(device, trainer->host_loss);
    else
        free(trainer->host_loss);
    free(trainer->host_counters);
    free(trainer->host_rows);
    free(trainer->host_values);
}

static ddpm_status check_config(const struct ddpm_config *config, const struct ddpm_data *data,
                                const struct ddpm_team *team)
{
    if (!config->network.learned_variance && /* otherwise config/check.c has checked it */
        ddpm_network_outputs(&config->network) != config->network.channels)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "training: got %lld output channels, want %lld, as in the pictures",
                          (long long)config->network.out_dim, (long long)config->network.channels);
    if (config->training.batch_size * config->training.accumulate > INT32_MAX)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "training: got %lld batches of %lld pictures per step, want fewer than "
                          "2^31 pictures",
                          (long long)config->training.accumulate,
                          (long long)config->training.batch_size);
    if (!data)
        return DDPM_OK;
    DDPM_TRY(ddpm_data_check_rotation(config));
    const int ranks = ddpm_ranks_count(team->ranks);
    if (ddpm_source_count(ddpm_data_trained_on(data)) < ranks)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got %d ranks for %lld pictures to train on, want no more ranks than "
                          "pictures",
                          ranks, (long long)ddpm_source_count(ddpm_data_trained_on(data)));
    const struct ddpm_source_options *have = ddpm_source_wanted(data->source);
    if (have->height != config->diffusion.image_height ||
        have->width != config->diffusion.image_width || have->channels != config->network.channels)
        return ddpm_raise(
            DDPM_ERROR_MISMATCH,
            "the data is %dx%d with %d channel%s, the network wants %lldx%lld with %lld",
            have->height, have->width, have->channels, have->channels == 1 ? "" : "s",
            (long long)config->diffusion.image_height, (long long)config->diffusion.image_width,
            (long long)config->network.channels);
    return DDPM_OK;
}

ddpm_status ddpm_trainer_describe(struct ddpm_trainer *trainer, struct ddpm_network *network,
                                  const struct ddpm_config *config, struct ddpm_ranks *ranks)
{
    const struct ddpm_config *own = &network->config;
    trainer->config = config ? *config : *own;
    /* Its own option groups are fixed; the caller's copies of them are ignored. */
    trainer->config.network = own->network;
    trainer->config.diffusion = own->diffusion;
    ddpm_patches_settle(&trainer->config);
    trainer->task = ddpm_task_of(&own->diffusion);
    trainer->objective = &ddpm_objectives[own->diffusion.objective];
    trainer->players[0] = (struct ddpm_player){.name = "", .network = network};
    trainer->players[0].optimizer.set = &network->weights;
    trainer->players[0].optimizer.config = &trainer->config.training;
    network->weights.keeps_copies =
        network->dtype == DDPM_BF16 && network->device->backend->reads_bf16_weights;
    trainer->player_count = 1;
    trainer->device = network->device;
    trainer->validator.wanted =
        trainer->task->build_validation && ddpm_validator_is_configured(&trainer->config);
    DDPM_TRY(ddpm_team_plan(&trainer->team, ranks, &trainer->config.training));
    DDPM_TRY(ddpm_shard_plan(trainer));
    ddpm_packing_plan(trainer);
    DDPM_TRY(ddpm_objective_check(
        &own->diffusion)); /* set after everything that ddpm_trainer_destroy() needs */
    return ddpm_path_create(&own->diffusion, &trainer->path);
}

void ddpm_trainer_forget(struct ddpm_trainer *trainer)
{
    ddpm_validator_release(&trainer->validator);
    ddpm_graph_destroy(&trainer->graph);
    ddpm_path_clear(&trainer->path);
    ddpm_shard_release(trainer);
}

ddpm_status ddpm_trainer_write_constants(struct ddpm_trainer *trainer)
{
    const struct ddpm_diffusion_config *diffusion = &trainer->config.diffusion;
    float *rows;
    for (int p = 0; p < trainer->player_count; ++p)
        DDPM_TRY(ddpm_optimizer_write_rules(&trainer->players[p].optimizer, trainer->graph));
    for (int64_t b = 0; b < trainer->team.size; ++b)
        trainer->host_rows[b] = (float)diffusion->offset_noise;
    if (trainer->offset)
        DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->offset, trainer->host_rows));
    if (!trainer->table)
        return DDPM_OK;
    DDPM_TRY(ddpm_training_rows(diffusion, &trainer->path, &rows));
    if (trainer->config.network.learned_variance)
        ddpm_variance_rows(&trainer->path, rows + DDPM_TRAINING_VARIANCE, DDPM_TRAINING_COLUMNS);
    ddpm_status status = ddpm_graph_write(trainer->graph, trainer->table, rows);
    free(rows);
    return status;
}

/* Lay the step out, check that everything fits, and only then allocate. A run that begins with
 * patches must also have room for whole pictures. */
static ddpm_status allocate(struct ddpm_trainer *trainer)
{
    DDPM_TRY(ddpm_trainer_lay_out(trainer, 0));
    trainer->plan = ddpm_trainer_plan_of(trainer);
    DDPM_TRY(ddpm_trainer_lay_out_patches(trainer));
    for (int p = 0; p < trainer->player_count; ++p)
        DDPM_TRY(ddpm_optimizer_allocate(&trainer->players[p].optimizer));
    DDPM_TRY(ddpm_packing_begin(trainer));
    DDPM_TRY(ddpm_graph_allocate(trainer->graph));
    DDPM_TRY(allocate_host(trainer));
    DDPM_TRY(ddpm_team_allocate(trainer));
    DDPM_TRY(ddpm_shard_allocate(trainer));
    DDPM_TRY(ddpm_validator_allocate(trainer));
    return ddpm_trainer_write_constants(trainer);
}

ddpm_status ddpm_trainer_create(struct ddpm_network *network, const struct ddpm_config *config,
                                struct ddpm_data *data, struct ddpm_trainer **out)
{
    DDPM_REQUIRE(out);
    return ddpm_trainer_create_among(NULL, network, config, data, out);
}

ddpm_status ddpm_trainer_create_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                      const struct ddpm_config *config, struct ddpm_data *data,
                                      struct ddpm_trainer **out)
{
    struct ddpm_trainer *trainer;
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_TRY(ddpm_network_check_use(network, DDPM_WEIGHTS_MODEL));
    DDPM_TRY(DDPM_NEW(&trainer, "a trainer"));
    trainer->data = data;
    ddpm_status status = ddpm_trainer_describe(trainer, network, config, ranks);
    if (status == DDPM_OK)
        status = check_config(&trainer->config, data, &trainer->team);
    if (status == DDPM_OK) {
        /* the data knows better than the configuration */
        trainer->validator.wanted = data && data->aside && trainer->task->build_validation;
        status = allocate(trainer);
    }
    if (status != DDPM_OK)
        ddpm_trainer_destroy(&trainer);
    *out = trainer;
    return status;
}

void ddpm_trainer_destroy(struct ddpm_trainer **trainer)
{
    struct ddpm_trainer *t = trainer ? *trainer : NULL;
    if (!t)
        return;
    ddpm_trainer_close_saver(t);
    if (t->pending) /* its numbers are being copied into memory that is freed now */
        (void)t->device->backend->synchronize(t->device);
    ddpm_prefetch_destroy(&t->prefetch);
    for (int stage = 0; stage < DDPM_STAGE_COUNT; ++stage)
        ddpm_recording_release(&t->recordings[stage], t->device);
    ddpm_team_release_on_device(t);
    ddpm_graph_destroy(&t->graph);
    ddpm_validator_release(&t->validator);
    for (int p = 0; p < t->player_count; ++p)
        ddpm_optimizer_release(&t->players[p].optimizer);
    ddpm_path_clear(&t->path);
    ddpm_shard_release(t);
    ddpm_packing_release(t);
    ddpm_team_release(&t->team);
    release_host(t);
    free(t);
    *trainer = NULL;
}

ddpm_status ddpm_trainer_gradient(const struct ddpm_trainer *trainer, const char *name,
                                  float *values, size_t count)
{
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(name);
    DDPM_REQUIRE(values);
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "a gradient is read"));
    const struct ddpm_weight_set *set = &trainer->players[0].network->weights;
    return ddpm_weight_set_read(set, set->gradients, name, values, count);
}

int64_t ddpm_trainer_steps_done(const struct ddpm_trainer *trainer)
{
    return trainer ? trainer->step : 0;
}

struct ddpm_memory_plan ddpm_trainer_memory(const struct ddpm_trainer *trainer)
{
    return trainer ? trainer->plan : (struct ddpm_memory_plan){0};
}

ddpm_status ddpm_trainer_measure(struct ddpm_network *network, const struct ddpm_config *config,
                                 struct ddpm_memory_plan *out)
{
    DDPM_REQUIRE(network);
    DDPM_REQUIRE(out);
    return ddpm_trainer_measure_among(NULL, network, config, out);
}

ddpm_status ddpm_trainer_measure_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                       const struct ddpm_config *config,
                                       struct ddpm_memory_plan *out)
{
    struct ddpm_trainer trainer = {0};
    uint64_t need;
    DDPM_REQUIRE(network);
    DDPM_REQUIRE(out);
    ddpm_status status = ddpm_trainer_describe(&trainer, network, config, ranks);
    if (status == DDPM_OK)
        status = check_config(&trainer.config, NULL, &trainer.team);
    if (status == DDPM_OK)
        status = ddpm_trainer_lay_out_step(&trainer, 0, &need);
    if (status == DDPM_OK)
        *out = ddpm_trainer_plan_of(&trainer);
    ddpm_trainer_forget(&trainer);
    return status;
}

ddpm_status ddpm_trainer_check_memory(struct ddpm_network *network,
                                      const struct ddpm_config *config, uint64_t beside)
{
    DDPM_REQUIRE(network);
    return ddpm_trainer_check_memory_among(NULL, network, config, beside, NULL);
}

ddpm_status ddpm_trainer_check_memory_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                            const struct ddpm_config *config, uint64_t beside,
                                            struct ddpm_smaller_step *smaller)
{
    struct ddpm_trainer trainer = {0};
    DDPM_REQUIRE(network);
    trainer.divides_memory = true;
    ddpm_status status = ddpm_trainer_describe(&trainer, network, config, ranks);
    if (status == DDPM_OK)
        status = check_config(&trainer.config, NULL, &trainer.team);
    if (status == DDPM_OK)
        status = ddpm_trainer_lay_out(&trainer, beside);
    if (smaller)
        *smaller = trainer.smaller;
    ddpm_trainer_forget(&trainer);
    return status;
}

struct ddpm_trainer_view ddpm_trainer_inspect(const struct ddpm_trainer *trainer)
{
    return (struct ddpm_trainer_view){
        .graph = trainer->graph,
        .draw = trainer->parts.draw,
        .forward = trainer->parts.forward,
        .backward = trainer->parts.backward,
        .update = trainer->players[0].optimizer.update,
        .weights = &trainer->players[0].network->weights,
        .batch_size = trainer->team.size,
        .accumulate = trainer->team.count,
    };
}

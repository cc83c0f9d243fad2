#include "training/patches.h"

#include "training/trainer_state.h"

int64_t ddpm_patch_steps(const struct ddpm_training_config *config)
{
    const double steps = config->patch_share * (double)config->steps;
    return config->patches > 1 ? (int64_t)(steps + 1e-6) : 0; /* 0.29 * 100 is less than 29 */
}

int64_t ddpm_steps_averaged(const struct ddpm_training_config *config, int64_t done)
{
    const int64_t patches = ddpm_patch_steps(config);
    return done > patches ? done - patches : done;
}

struct ddpm_size ddpm_whole_size(const struct ddpm_config *config)
{
    return (struct ddpm_size){config->diffusion.image_height, config->diffusion.image_width};
}

static int64_t patch_side(const struct ddpm_config *config, int64_t side)
{
    const int64_t multiple = ddpm_network_multiple(&config->network);
    const int64_t multiples = side / config->training.patches / multiple;
    return multiples > 0 ? multiples * multiple : multiple;
}

static struct ddpm_size patch_size(const struct ddpm_config *config)
{
    const struct ddpm_size whole = ddpm_whole_size(config);
    return (struct ddpm_size){patch_side(config, whole.height), patch_side(config, whole.width)};
}

static bool are_equal(struct ddpm_size a, struct ddpm_size b)
{
    return a.height == b.height && a.width == b.width;
}

void ddpm_patches_settle(struct ddpm_config *config)
{
    if (are_equal(patch_size(config), ddpm_whole_size(config)))
        config->training.patches = 1;
}

struct ddpm_size ddpm_size_after(const struct ddpm_config *config, int64_t done)
{
    return done < ddpm_patch_steps(&config->training) ? patch_size(config)
                                                      : ddpm_whole_size(config);
}

/* Of the update, which is the same for all sizes: two operations per multiplication. */
static double update_operations(const struct ddpm_trainer *trainer)
{
    double sum = 0;
    for (int p = 0; p < trainer->player_count; ++p) {
        const struct ddpm_parameters *parameters = &trainer->players[p].optimizer.set->parameters;
        for (size_t i = 0; i < parameters->count; ++i)
            sum += 2 * ddpm_optimizer_cost(&trainer->config.training, &parameters->items[i]);
    }
    return sum;
}

ddpm_status ddpm_trainer_lay_out_patches(struct ddpm_trainer *trainer)
{
    const struct ddpm_size first = ddpm_size_after(&trainer->config, 0);
    trainer->patch_cost = 1;
    if (ddpm_trainer_fits(trainer, first))
        return DDPM_OK;
    const double update = update_operations(trainer);
    const double whole = ddpm_trainer_plan_of(trainer).flops_per_step + update;
    DDPM_TRY(ddpm_trainer_lay_out_size(trainer, first));
    trainer->patch_cost = (ddpm_trainer_plan_of(trainer).flops_per_step + update) / whole;
    return DDPM_OK;
}

double ddpm_trainer_patch_cost(const struct ddpm_trainer *trainer)
{
    return trainer->patch_cost;
}

double ddpm_trainer_mean_cost(const struct ddpm_trainer *trainer)
{
    const struct ddpm_training_config *training = &trainer->config.training;
    const double share = (double)ddpm_patch_steps(training) / (double)training->steps;
    return share * trainer->patch_cost + 1 - share;
}

bool ddpm_trainer_fits(const struct ddpm_trainer *trainer, struct ddpm_size size)
{
    return are_equal(trainer->size, size);
}

static ddpm_status build(struct ddpm_trainer *trainer, struct ddpm_size size)
{
    DDPM_TRY(ddpm_trainer_lay_out_size(trainer, size));
    DDPM_TRY(ddpm_packing_begin(trainer));
    DDPM_TRY(ddpm_graph_allocate(trainer->graph));
    DDPM_TRY(ddpm_team_cut(trainer));
    return ddpm_trainer_write_constants(trainer);
}

ddpm_status ddpm_trainer_fit(struct ddpm_trainer *trainer, struct ddpm_size size)
{
    if (ddpm_trainer_fits(trainer, size))
        return DDPM_OK;
    ddpm_prefetch_destroy(&trainer->prefetch);
    for (int stage = 0; stage < DDPM_STAGE_COUNT; ++stage)
        ddpm_recording_release(&trainer->recordings[stage], trainer->device);
    ddpm_team_release_stretches(trainer);
    const ddpm_status status = build(trainer, size);
    if (status == DDPM_OK)
        return DDPM_OK;
    trainer->size = (struct ddpm_size){0};
    return ddpm_raise_context(status, "for pictures of %lldx%lld: ", (long long)size.height,
                              (long long)size.width);
}

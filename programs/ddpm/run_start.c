/* The model that a new run starts from: a teacher, or --pretrained. */
#include "run_start.h"

#include <inttypes.h>
#include <string.h>

#include "config/config.h"
#include "config/option.h"
#include "formats/file.h"
#include "model/model.h"
#include "model/start_files.h"
#include "program.h"
#include "training/patches.h"

/* The options of the model, which must not be distilled. */
static ddpm_status read_options(struct ddpm_run_start *start)
{
    DDPM_TRY(ddpm_config_create(&start->options));
    /* Runs from before validation existed lack this option. */
    DDPM_TRY(ddpm_config_set(start->options, "validation", "off"));
    DDPM_TRY(ddpm_config_read(start->options, start->files.config));
    ddpm_patches_settle(start->options);
    const int64_t steps = start->options->diffusion.drawing_steps;
    if (steps)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a model that is already distilled, to draw in %" PRId64
                          " step%s; want one that ddpm train made",
                          start->model, steps, steps == 1 ? "" : "s");
    return DDPM_OK;
}

ddpm_status ddpm_run_start_open(struct ddpm_run_start *start)
{
    char settled[PATH_MAX];
    if (!start->model || start->resume)
        return DDPM_OK;
    DDPM_TRY(ddpm_settle_model(start->model, settled, sizeof settled));
    DDPM_TRY(ddpm_model_files_find(settled, DDPM_WEIGHTS_EMA, &start->files));
    if (start->files.folder[0]) {
        DDPM_TRY(ddpm_model_files_check(&start->files, DDPM_WEIGHTS_EMA));
        return read_options(start);
    }
    if (start->distills)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a file, want the folder of a run or of a checkpoint",
                          start->model);
    return DDPM_OK;
}

void ddpm_run_start_close(struct ddpm_run_start *start)
{
    ddpm_config_destroy(&start->options);
}

const char *ddpm_run_start_origin(const struct ddpm_run_start *start)
{
    return start->files.folder[0] ? start->files.folder : start->files.weights;
}

/* A step of distilling costs 4/3 of a training step, which has one forward pass fewer. So 3/16 of
 * the steps take a quarter of the time. Steps on patches count by the area of the patches. */
static int64_t fewer_steps(const struct ddpm_config *teacher, int64_t done)
{
    const struct ddpm_size whole = ddpm_whole_size(teacher), patch = ddpm_size_after(teacher, 0);
    const int64_t first = ddpm_patch_steps(&teacher->training);
    const int64_t all = done > 0 ? done : teacher->training.steps;
    const double patches = (double)(first < all ? first : all);
    const double part = (double)(patch.height * patch.width) / (double)(whole.height * whole.width);
    const int64_t steps = (int64_t)(((double)all - patches + patches * part) * 3 / 16);
    return steps > 0 ? steps : 1;
}

/* The teacher's options, except those that say how to change the weights and how to draw. */
static ddpm_status read_teacher(const struct ddpm_run_start *start, struct ddpm_config *config)
{
    static const char *const own[][2] = {
        {"recipe", "none"},     {"lr-schedule", "cosine"}, {"warmup", "0"},
        {"ema", "exponential"}, {"ema-decay", "0.99"},     {"ema-every", "1"},
        {"ema-after", "0"},     {"drawing-steps", "2"},    {"patches", "1"}};
    *config = *start->options;
    config->training.lr *= 0.3; /* measured, see docs/distillation.md */
    config->training.steps = fewer_steps(start->options, ddpm_step_of(start->files.folder));
    for (size_t i = 0; i < sizeof own / sizeof *own; ++i)
        DDPM_TRY(ddpm_config_set(config, own[i][0], own[i][1]));
    return ddpm_group_reset(DDPM_GROUP_SAMPLING, config);
}

ddpm_status ddpm_run_start_take_over(const struct ddpm_run_start *start, struct ddpm_config *config)
{
    if (!start->options)
        return DDPM_OK;
    if (start->distills)
        return read_teacher(start, config);
    config->network = start->options->network;
    config->diffusion = start->options->diffusion;
    return DDPM_OK;
}

ddpm_status ddpm_run_start_check(const struct ddpm_run_start *start,
                                 const struct ddpm_config *config)
{
    const struct ddpm_config *model = start->options;
    char has[DDPM_OPTION_BYTES], wanted[DDPM_OPTION_BYTES];
    if (!model)
        return DDPM_OK;
    const bool weighs = config->diffusion.loss_weight == DDPM_WEIGHT_UNCERTAINTY;
    const bool weighed = model->diffusion.loss_weight == DDPM_WEIGHT_UNCERTAINTY;
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        const struct ddpm_option *option = &ddpm_options[i];
        if (option->group != DDPM_GROUP_NETWORK || ddpm_option_equal(option, model, config))
            continue;
        DDPM_TRY(ddpm_option_format(option, model, has, sizeof has));
        DDPM_TRY(ddpm_option_format(option, config, wanted, sizeof wanted));
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --%s: got %s, but %s has %s", option->name,
                          wanted, start->model, has);
    }
    if (weighs && !weighed)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --loss-weight: got uncertainty, but %s was trained without it "
                          "and lacks its layer",
                          start->model);
    DDPM_TRY(ddpm_config_get(config, "loss-weight", wanted, sizeof wanted));
    if (weighed && !weighs)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --loss-weight: got %s, but %s was trained with uncertainty and "
                          "has a layer for it; want uncertainty",
                          wanted, start->model);
    return DDPM_OK;
}

ddpm_status ddpm_run_start_weights(const struct ddpm_run_start *start, struct ddpm_network *network)
{
    if (!start->files.weights[0])
        return DDPM_OK;
    DDPM_TRY(ddpm_network_load_both(network, DDPM_WEIGHTS_EMA, start->files.weights));
    if (!start->distills) /* the fitted start of other pictures would be wrong */
        return DDPM_OK;
    ddpm_start_free(&network->start);
    DDPM_TRY(ddpm_start_load(start->files.folder, &network->start));
    if (!network->start && network->config.diffusion.drawing_level > 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --drawing-level: got %g, but %s has no fitted start to draw from",
                          network->config.diffusion.drawing_level, start->files.folder);
    return DDPM_OK;
}

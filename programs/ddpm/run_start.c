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

/* A folder must hold a model. */
static ddpm_status check_folder(const struct ddpm_run_start *start)
{
    char file[PATH_MAX];
    if (!ddpm_run_start_has_options(start))
        return DDPM_OK;
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/ema.safetensors", start->found));
    if (!ddpm_path_exists(file))
        return ddpm_raise(DDPM_ERROR_IO,
                          "%s is neither a run with a checkpoint nor a checkpoint: it has no "
                          "ema.safetensors",
                          start->model);
    return DDPM_OK;
}

ddpm_status ddpm_run_start_find(struct ddpm_run_start *start)
{
    start->found[0] = 0;
    if (!start->model || start->resume)
        return DDPM_OK;
    DDPM_TRY(ddpm_settle_model(start->model, start->found, sizeof start->found));
    if (start->distills && !ddpm_path_is_directory(start->found))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a file, want the folder of a run or of a checkpoint",
                          start->model);
    return check_folder(start);
}

bool ddpm_run_start_has_options(const struct ddpm_run_start *start)
{
    return start->found[0] && ddpm_path_is_directory(start->found);
}

/* The options of the model, which must not be distilled. */
static ddpm_status read_model(const struct ddpm_run_start *start, struct ddpm_config *config)
{
    char file[PATH_MAX];
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/config.json", start->found));
    DDPM_TRY(ddpm_config_read(config, file));
    const int64_t steps = config->diffusion.drawing_steps;
    if (steps)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a model that is already distilled, to draw in %" PRId64
                          " step%s; want one that ddpm train made",
                          start->model, steps, steps == 1 ? "" : "s");
    return DDPM_OK;
}

/* A step of distilling costs 4/3 of a training step, which has one forward pass fewer. So 3/16 of
 * the steps take a quarter of the time. */
static int64_t fewer_steps(int64_t trained)
{
    const int64_t steps = trained / 16 * 3 + trained % 16 * 3 / 16;
    return steps > 0 ? steps : 1;
}

/* The teacher's options, except those that say how to change the weights and how to draw. */
static ddpm_status read_teacher(const struct ddpm_run_start *start, struct ddpm_config *config)
{
    static const char *const own[][2] = {{"recipe", "none"},    {"lr-schedule", "cosine"},
                                         {"warmup", "0"},       {"ema", "exponential"},
                                         {"ema-decay", "0.99"}, {"ema-every", "1"},
                                         {"ema-after", "0"},    {"drawing-steps", "2"}};
    DDPM_TRY(ddpm_config_set(config, "validation", "off"));
    DDPM_TRY(read_model(start, config));
    const int64_t done = ddpm_step_of(start->found);
    config->training.lr *= 0.3; /* measured, see docs/distillation.md */
    config->training.steps = fewer_steps(done > 0 ? done : config->training.steps);
    for (size_t i = 0; i < sizeof own / sizeof *own; ++i)
        DDPM_TRY(ddpm_config_set(config, own[i][0], own[i][1]));
    return ddpm_group_reset(DDPM_GROUP_SAMPLING, config);
}

/* The network and the diffusion of the model; all other options are the new run's own. */
static ddpm_status read_pretrained(const struct ddpm_run_start *start, struct ddpm_config *config)
{
    struct ddpm_config *model;
    DDPM_TRY(ddpm_config_create(&model));
    const ddpm_status status = read_model(start, model);
    if (status == DDPM_OK) {
        config->network = model->network;
        config->diffusion = model->diffusion;
    }
    ddpm_config_destroy(&model);
    return status;
}

ddpm_status ddpm_run_start_read(const struct ddpm_run_start *start, struct ddpm_config *config)
{
    if (!ddpm_run_start_has_options(start))
        return DDPM_OK;
    return start->distills ? read_teacher(start, config) : read_pretrained(start, config);
}

/* Do the weights of `model` fit a network of `config`? */
static ddpm_status check_fit(const struct ddpm_run_start *start, const struct ddpm_config *model,
                             const struct ddpm_config *config)
{
    char has[DDPM_OPTION_BYTES], wanted[DDPM_OPTION_BYTES];
    const bool weighs = config->diffusion.loss_weight == DDPM_WEIGHT_UNCERTAINTY;
    const bool weighed = model->diffusion.loss_weight == DDPM_WEIGHT_UNCERTAINTY;
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        const struct ddpm_option *option = &ddpm_options[i];
        if (option->group != DDPM_GROUP_NETWORK)
            continue;
        DDPM_TRY(ddpm_option_format(option, model, has, sizeof has));
        DDPM_TRY(ddpm_option_format(option, config, wanted, sizeof wanted));
        if (strcmp(has, wanted) != 0)
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --%s: got %s, but %s has %s",
                              option->name, wanted, start->model, has);
    }
    if (weighs != weighed)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --loss-weight: %s was trained %s uncertainty, whose weights it "
                          "would %s",
                          start->model, weighed ? "with" : "without", weighed ? "lose" : "lack");
    return DDPM_OK;
}

ddpm_status ddpm_run_start_check(const struct ddpm_run_start *start,
                                 const struct ddpm_config *config)
{
    struct ddpm_config *model;
    if (!ddpm_run_start_has_options(start))
        return DDPM_OK;
    DDPM_TRY(ddpm_config_create(&model));
    ddpm_status status = read_model(start, model);
    if (status == DDPM_OK)
        status = check_fit(start, model, config);
    ddpm_config_destroy(&model);
    return status;
}

ddpm_status ddpm_run_start_weights(const struct ddpm_run_start *start, struct ddpm_network *network)
{
    const bool in_folder = ddpm_run_start_has_options(start);
    char file[PATH_MAX];
    if (!start->found[0])
        return DDPM_OK;
    if (in_folder)
        DDPM_TRY(ddpm_checkpoint_check_weights(start->found, DDPM_WEIGHTS_EMA));
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s%s", start->found,
                              in_folder ? "/ema.safetensors" : ""));
    DDPM_TRY(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, file));
    DDPM_TRY(ddpm_network_load(network, DDPM_WEIGHTS_EMA, file));
    if (!start->distills) /* the fitted start of other pictures would be wrong */
        return DDPM_OK;
    ddpm_start_free(&network->start);
    DDPM_TRY(ddpm_start_load(start->found, &network->start));
    if (!network->start && network->config.diffusion.drawing_level > 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --drawing-level: got %g, but %s has no fitted start to draw from",
                          network->config.diffusion.drawing_level, start->found);
    return DDPM_OK;
}

/* The options of a run, from whatever it starts with. */
#include "run_config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config_json.h"
#include "config/option.h"
#include "drawing.h"
#include "formats/file.h"
#include "formats/json.h"
#include "missing.h"
#include "model/checkpoint_find.h"
#include "model/model.h"
#include "model/start_files.h"
#include "processes.h"
#include "run_folder.h"

/* A run that a program saved through the library has only the config.json of each checkpoint. If
 * that program set no pictures aside, its option `validation` may still be "auto". */
static ddpm_status read_of_checkpoint(const char *run, struct ddpm_config *config)
{
    char folder[PATH_MAX], file[PATH_MAX];
    json_t *state;
    DDPM_TRY(ddpm_checkpoint_find(run, folder, sizeof folder));
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/config.json", folder));
    DDPM_TRY(ddpm_config_read(config, file));
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/state.json", folder));
    DDPM_TRY(ddpm_json_read(&state, file));
    const bool validates = json_object_get(state, "validation") != NULL;
    json_decref(state);
    return validates ? DDPM_OK : ddpm_config_set(config, "validation", "off");
}

static ddpm_status read_own(const struct ddpm_run_start *start, struct ddpm_config *config)
{
    char own[PATH_MAX];
    bool saved;
    /* Runs from before validation existed lack this option. */
    DDPM_TRY(ddpm_config_set(config, "validation", "off"));
    DDPM_TRY(ddpm_path_format(own, sizeof own, "%s/config.json", start->path));
    if (!ddpm_path_exists(start->path))
        return ddpm_raise_missing(start->path, "no run to resume: there is no such folder");
    if (ddpm_path_exists(own))
        return ddpm_config_read(config, own);
    DDPM_TRY(ddpm_checkpoint_any(start->path, &saved));
    if (!saved)
        return ddpm_raise(DDPM_ERROR_IO,
                          "%s: no run to resume (no config.json); leave out --resume to start a "
                          "new one",
                          start->path);
    return read_of_checkpoint(start->path, config);
}

/* The checkpoint folder of the teacher. */
static ddpm_status find_teacher(const char *teacher, char folder[PATH_MAX])
{
    DDPM_TRY(ddpm_settle_model(teacher, folder, PATH_MAX));
    if (!ddpm_path_is_directory(folder))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a file, want the folder of a run or of a checkpoint", teacher);
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
static ddpm_status read_teacher(const char *teacher, struct ddpm_config *config)
{
    static const char *const own[][2] = {{"recipe", "none"},    {"lr-schedule", "cosine"},
                                         {"warmup", "0"},       {"ema", "exponential"},
                                         {"ema-decay", "0.99"}, {"ema-every", "1"},
                                         {"ema-after", "0"},    {"drawing-steps", "2"}};
    char folder[PATH_MAX], file[PATH_MAX];
    DDPM_TRY(ddpm_config_set(config, "validation", "off"));
    DDPM_TRY(find_teacher(teacher, folder));
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/config.json", folder));
    DDPM_TRY(ddpm_config_read(config, file));
    if (config->diffusion.drawing_steps)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a model that is already distilled, to draw in %" PRId64
                          " step%s; want one that ddpm train made",
                          teacher, config->diffusion.drawing_steps,
                          config->diffusion.drawing_steps == 1 ? "" : "s");
    const int64_t done = ddpm_step_of(folder);
    config->training.lr *= 0.3; /* measured, see docs/distillation.md */
    config->training.steps = fewer_steps(done > 0 ? done : config->training.steps);
    for (size_t i = 0; i < sizeof own / sizeof *own; ++i)
        DDPM_TRY(ddpm_config_set(config, own[i][0], own[i][1]));
    return ddpm_group_reset(DDPM_GROUP_SAMPLING, config);
}

/* Distilling starts from a model, and an ordinary run cannot turn into a distilling one. */
static ddpm_status check_start(const struct ddpm_run_start *start, const struct ddpm_config *config)
{
    const int64_t steps = config->diffusion.drawing_steps;
    if (steps && !start->distills && !start->resume)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --drawing-steps: got %" PRId64 " for a new run; ddpm distill "
                          "makes such a model from a "
                          "trained one",
                          steps);
    if (!steps && config->diffusion.drawing_level > 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --drawing-level: got %g for an ordinary model; only ddpm distill "
                          "uses it",
                          config->diffusion.drawing_level);
    if (!steps && start->distills && start->resume)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a run of ddpm train; ddpm train --resume continues it",
                          start->path);
    if (!steps && start->distills)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --drawing-steps: got 0, want 1, 2 or 4");
    return DDPM_OK;
}

/* If the teacher has a fitted start, the new model learns to draw from there. */
static ddpm_status choose_drawing_level(const struct ddpm_run_start *start,
                                        const struct ddpm_arguments *arguments,
                                        struct ddpm_config *config)
{
    struct ddpm_diffusion_config *diffusion = &config->diffusion;
    char folder[PATH_MAX];
    struct ddpm_start *fitted;
    if (!start->distills || start->resume || diffusion->drawing_level > 0 ||
        ddpm_arguments_has_setting(arguments, "drawing-level"))
        return DDPM_OK;
    DDPM_TRY(find_teacher(start->teacher, folder));
    DDPM_TRY(ddpm_start_load(folder, &fitted));
    if (fitted)
        diffusion->drawing_level = fitted->level;
    ddpm_start_free(&fitted);
    return DDPM_OK;
}

ddpm_status ddpm_run_config_read(const struct ddpm_arguments *arguments,
                                 const struct ddpm_run_start *start, struct ddpm_config **config,
                                 int64_t *evaluations)
{
    const char *file = ddpm_arguments_get(arguments, "config");
    json_t *probe;
    DDPM_TRY(ddpm_config_create(config));
    if (start->resume)
        DDPM_TRY(read_own(start, *config));
    else if (start->distills)
        DDPM_TRY(read_teacher(start->teacher, *config));
    if (file)
        DDPM_TRY(ddpm_config_read(*config, file));
    DDPM_TRY(ddpm_arguments_apply(arguments, NULL, *config));
    DDPM_TRY(choose_drawing_level(start, arguments, *config));
    DDPM_TRY(check_start(start, *config));
    if (start->resume && ddpm_processes_lead())
        DDPM_TRY(ddpm_run_folder_check_latest(start->path, (*config)->training.steps));
    DDPM_TRY(ddpm_config_check(*config));
    DDPM_TRY(ddpm_drawing_check(arguments, *config, evaluations));
    /* a path that is not UTF-8 must fail before a folder is made */
    DDPM_TRY(ddpm_config_to_json(*config, &probe));
    json_decref(probe);
    return DDPM_OK;
}

ddpm_status ddpm_run_start_weights(const struct ddpm_run_start *start, struct ddpm_network *network)
{
    char folder[PATH_MAX], file[PATH_MAX];
    if (!start->distills || start->resume)
        return DDPM_OK;
    DDPM_TRY(find_teacher(start->teacher, folder));
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/ema.safetensors", folder));
    DDPM_TRY(ddpm_network_load(network, DDPM_WEIGHTS_MODEL, file));
    DDPM_TRY(ddpm_network_load(network, DDPM_WEIGHTS_EMA, file));
    ddpm_start_free(&network->start);
    DDPM_TRY(ddpm_start_load(folder, &network->start));
    if (!network->start && network->config.diffusion.drawing_level > 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --drawing-level: got %g, but %s has no fitted start to draw from",
                          network->config.diffusion.drawing_level, folder);
    return DDPM_OK;
}

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
#include "training/patches.h"

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
    if (!saved) {
        bool again;
        const bool fresh = ddpm_run_folder_check_new(start->path, &again) == DDPM_OK;
        return ddpm_raise(DDPM_ERROR_IO,
                          fresh ? "%s: no run to resume (no config.json); leave out --resume to "
                                  "start a new one"
                                : "%s: no run to resume (no config.json), but other files; want "
                                  "the folder of a run, or another one for a new run",
                          start->path);
    }
    return read_of_checkpoint(start->path, config);
}

/* Apply the command line. For a run that starts from a model a recipe only says how to train: the
 * network and the diffusion stay as they are unless options of their own change them. `own`: the
 * options of a run that is resumed. */
static ddpm_status apply_arguments(const struct ddpm_arguments *arguments,
                                   const struct ddpm_run_start *start,
                                   const struct ddpm_config *own, struct ddpm_config *config)
{
    const struct ddpm_network_config network = config->network;
    const struct ddpm_diffusion_config diffusion = config->diffusion;
    if (start->resume)
        return ddpm_arguments_apply_to_run(arguments, own, config);
    DDPM_TRY(ddpm_arguments_apply(arguments, NULL, config));
    if (!start->options)
        return DDPM_OK;
    config->network = network;
    config->diffusion = diffusion;
    DDPM_TRY(ddpm_arguments_apply(arguments, "network", config));
    return ddpm_arguments_apply(arguments, "diffusion", config);
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
    struct ddpm_start *fitted;
    if (!start->distills || start->resume || diffusion->drawing_level > 0 ||
        ddpm_arguments_has_setting(arguments, "drawing-level"))
        return DDPM_OK;
    DDPM_TRY(ddpm_start_load(start->files.folder, &fitted));
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
    else
        DDPM_TRY(ddpm_run_start_take_over(start, *config));
    const struct ddpm_config own = **config;
    if (file)
        DDPM_TRY(ddpm_config_read(*config, file));
    DDPM_TRY(apply_arguments(arguments, start, &own, *config));
    ddpm_patches_settle(*config);
    DDPM_TRY(choose_drawing_level(start, arguments, *config));
    DDPM_TRY(check_start(start, *config));
    DDPM_TRY(ddpm_run_start_check(start, *config));
    if (start->resume && ddpm_processes_lead())
        DDPM_TRY(ddpm_run_folder_check_latest(start->path, (*config)->training.steps));
    DDPM_TRY(ddpm_config_check(*config));
    DDPM_TRY(ddpm_drawing_check(arguments, *config, evaluations));
    /* a path that is not UTF-8 must fail before a folder is made */
    DDPM_TRY(ddpm_config_to_json(*config, &probe));
    json_decref(probe);
    return DDPM_OK;
}

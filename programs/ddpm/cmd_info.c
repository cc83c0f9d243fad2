/* ddpm info: what a run, checkpoint, weights file, array, picture, configuration, log or folder
 * of pictures is. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ddpm/trainer.h>

#include "drawing.h"
#include "file_kind.h"
#include "formats/file.h"
#include "formats/json.h"
#include "health.h"
#include "info_log.h"
#include "info_options.h"
#include "info_pictures.h"
#include "info_validation.h"
#include "model/checkpoint_find.h"
#include "model/start_files.h"
#include "run_folder.h"
#include "run_places.h"
#include "streams.h"
#include "training/checkpoint.h"

/* Add the fitted start of the checkpoint that has this configuration, or of its run's newest. */
static ddpm_status add_start(const char *path, const struct ddpm_config *config,
                             struct ddpm_chain *chain)
{
    struct ddpm_start *start;
    char folder[PATH_MAX], own[PATH_MAX];
    const char *slash = strrchr(path, '/');
    DDPM_TRY(ddpm_path_format(own, sizeof own, "%.*s", slash ? (int)(slash - path) : 1,
                              slash ? path : "."));
    if (ddpm_checkpoint_find(own, folder, sizeof folder) != DDPM_OK)
        return DDPM_OK; /* a run without a checkpoint */
    DDPM_TRY(ddpm_start_load(folder, &start));
    if (start && ddpm_chain_prefers_fitted(chain, &config->sampling, &config->diffusion))
        ddpm_chain_start_fitted(chain, &config->sampling, &config->diffusion, start->level);
    ddpm_start_free(&start);
    return DDPM_OK;
}

/* What a model with this configuration learns to predict, and the sampler it draws with by
 * default. */
static ddpm_status print_drawing(const char *path)
{
    struct ddpm_config *config;
    char text[DDPM_CHAIN_BYTES], network[64] = "";
    DDPM_TRY(ddpm_config_create(&config));
    ddpm_status status = ddpm_config_read(config, path);
    if (status == DDPM_OK)
        status = ddpm_config_get(config, "network", network, sizeof network);
    if (status == DDPM_OK) {
        printf("network     %s\n", network);
        struct ddpm_chain chain = ddpm_drawing_chain(config);
        status = add_start(path, config, &chain);
        printf("learns      %s\n", ddpm_objectives[config->diffusion.objective].name);
        printf("draws with  %s\n", ddpm_chain_text(&chain, text));
    }
    ddpm_config_destroy(&config);
    return status;
}

static ddpm_status print_configuration(const char *path)
{
    DDPM_TRY(print_drawing(path));
    return ddpm_info_options(path);
}

static ddpm_status in_folder(const char *folder, const char *name,
                             ddpm_status (*print)(const char *path))
{
    char *path;
    DDPM_TRY(ddpm_path_join(&path, folder, name));
    ddpm_status status = ddpm_path_exists(path) ? print(path) : DDPM_OK;
    free(path);
    return status;
}

/* Memory that training with this configuration takes on this machine, if that can be known. */
static ddpm_status print_memory(const char *path)
{
    struct ddpm_config *config;
    struct ddpm_network *network = NULL;
    struct ddpm_memory_plan memory;
    DDPM_TRY(ddpm_config_create(&config));
    ddpm_status status = ddpm_config_read(config, path);
    if (status == DDPM_OK)
        status = ddpm_network_declare(NULL, config, &network);
    if (status == DDPM_OK)
        status = ddpm_trainer_measure(network, config, &memory);
    if (status != DDPM_OK) {
        printf("memory      unknown on this machine: %s\n", ddpm_error_message());
    } else {
        char what[200], text[DDPM_MEMORY_TEXT_BYTES];
        snprintf(what, sizeof what, "to train on %s", ddpm_network_device(network));
        printf("memory      %s\n", ddpm_memory_text(text, &memory, what));
    }
    ddpm_network_destroy(&network);
    ddpm_config_destroy(&config);
    return DDPM_OK;
}

/* Are the checkpoint's files what its state.json says? Printed either way. */
static ddpm_status print_checksums(const char *path)
{
    json_t *state;
    ddpm_status status = ddpm_checkpoint_read_state(path, &state);
    if (status == DDPM_OK) {
        status = ddpm_checkpoint_check_files(state, path);
        json_decref(state);
    }
    printf("checksums   %s\n",
           status == DDPM_OK ? "all files are as state.json says" : ddpm_error_message());
    return status;
}

static ddpm_status print_weights(const char *path)
{
    printf("%s weights\n", strstr(path, "/ema.safetensors") ? "EMA" : "model");
    return ddpm_print_weights(path);
}

/* What the folder has of a checkpoint: ddpm ema writes neither model weights nor a state.json,
 * without which a checkpoint of a run is damaged. */
static ddpm_status print_checkpoint(const char *path, bool of_run)
{
    char text[DDPM_TEXT_BYTES];
    const int64_t step = ddpm_step_of(path);
    ddpm_print_text("checkpoint  ", path, "\n");
    if (step >= 0)
        printf("step        %s\n", ddpm_count_text(text, step));
    DDPM_TRY(in_folder(path, "model.safetensors", print_weights));
    DDPM_TRY(in_folder(path, "ema.safetensors", print_weights));
    return of_run || ddpm_folder_has(path, "state.json") ? print_checksums(path) : DDPM_OK;
}

static ddpm_status print_checkpoint_names(const char *path)
{
    char **names;
    size_t count;
    DDPM_TRY(ddpm_directory_list(&names, &count, path));
    bool any = false;
    printf("checkpoints");
    for (size_t i = 0; i < count; ++i) {
        const bool is_checkpoint = strncmp(names[i], "step-", 5) == 0;
        any |= is_checkpoint;
        if (is_checkpoint)
            ddpm_print_text(" ", names[i], "");
    }
    printf("%s\n", any ? "" : " none");
    ddpm_names_free(names, count);
    return DDPM_OK;
}

/* How many steps the run of this config.json will have; -1 if that is unknown. A damaged
 * configuration is reported later, after all the rest. */
static int64_t steps_of(const char *path)
{
    struct ddpm_config *config;
    int64_t all = -1;
    if (ddpm_config_create(&config) != DDPM_OK)
        return -1;
    if (ddpm_config_read(config, path) == DDPM_OK)
        (void)ddpm_config_integer(config, "steps", &all);
    ddpm_config_destroy(&config);
    return all;
}

/* The whole folder of a run; what a checkpoint has too comes later. `newest`: its newest
 * checkpoint, "" if there is none, NULL if none is complete. */
static ddpm_status print_run(const char *path, const char *newest)
{
    char file[PATH_MAX], done_text[DDPM_TEXT_BYTES], all_text[DDPM_TEXT_BYTES];
    const int64_t done = !newest ? -1 : newest[0] ? ddpm_step_of(newest) : 0;
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/config.json", path));
    const int64_t all = ddpm_path_exists(file) ? steps_of(file) : -1;
    if (all >= 0 && done >= 0)
        printf("saved       step %s of %s%s\n", ddpm_count_text(done_text, done),
               ddpm_count_text(all_text, all), done >= all ? ", finished" : "");
    DDPM_TRY(in_folder(path, "checkpoints", print_checkpoint_names));
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/checkpoints/best", path));
    if (!ddpm_path_exists(file))
        printf("best        none: no checkpoint was saved as the best by validation loss\n");
    return DDPM_OK;
}

/* The folder whose config.json describes `path`: a run that a program saved through the library has
 * only those of its checkpoints. */
static ddpm_status find_configured(const char *path, const char *checkpoint, char *folder)
{
    char own[PATH_MAX];
    DDPM_TRY(ddpm_path_format(own, sizeof own, "%s/config.json", path));
    return ddpm_path_format(folder, PATH_MAX, "%s",
                            checkpoint[0] && !ddpm_path_exists(own) ? checkpoint : path);
}

enum folder_kind { FOLDER_OTHER, FOLDER_RUN, FOLDER_CHECKPOINT, FOLDER_MODEL };

static enum folder_kind kind_of(const char *path)
{
    if (ddpm_checkpoint_is_run(path))
        return FOLDER_RUN;
    if (ddpm_folder_has(path, "state.json") ||
        (ddpm_folder_has(path, "config.json") && ddpm_folder_has(path, "model.safetensors")))
        return FOLDER_CHECKPOINT;
    return ddpm_folder_has(path, "config.json") && ddpm_folder_has(path, "ema.safetensors")
               ? FOLDER_MODEL
               : FOLDER_OTHER;
}

/* The checkpoint that the folder means; "" if it is a run without any. `latest` may change while a
 * run is training, so everything is read from the folder found first. */
static ddpm_status find_checkpoint(const char *path, char *folder)
{
    bool any;
    folder[0] = 0;
    DDPM_TRY(ddpm_checkpoint_any(path, &any));
    return any || kind_of(path) != FOLDER_RUN ? ddpm_checkpoint_find(path, folder, PATH_MAX)
                                              : DDPM_OK;
}

static ddpm_status print_folder(const char *path)
{
    static const char *const kinds_text[] = {[FOLDER_RUN] = "run of ddpm train",
                                             [FOLDER_CHECKPOINT] = "checkpoint of ddpm train",
                                             [FOLDER_MODEL] = "model of ddpm ema"};
    char configured[PATH_MAX], checkpoint[PATH_MAX], reason[1024];
    const enum folder_kind kind = kind_of(path);
    if (kind == FOLDER_OTHER)
        return ddpm_info_picture_folder(path);
    printf("%s\n", kinds_text[kind]);
    DDPM_TRY(in_folder(path, "log.csv", ddpm_info_log));
    DDPM_TRY(in_folder(path, "validation.csv", ddpm_info_validation));
    /* Report the rest in spite of damage. That of config.json is reported by print_drawing(). */
    (void)in_folder(path, "config.json", ddpm_run_folder_print_start);
    (void)in_folder(path, "config.json", ddpm_run_places_print);
    ddpm_status status = find_checkpoint(path, checkpoint);
    snprintf(reason, sizeof reason, "%s", ddpm_error_message());
    if (kind == FOLDER_RUN)
        DDPM_TRY(print_run(path, status == DDPM_OK ? checkpoint : NULL));
    if (status == DDPM_OK && checkpoint[0]) {
        status = print_checkpoint(checkpoint, kind == FOLDER_RUN);
        snprintf(reason, sizeof reason, "%s", ddpm_error_message());
    }
    DDPM_TRY(find_configured(path, checkpoint, configured));
    DDPM_TRY(in_folder(configured, "config.json", print_drawing));
    DDPM_TRY(in_folder(configured, "config.json", print_memory));
    DDPM_TRY(in_folder(configured, "config.json", ddpm_info_changed_options));
    return status == DDPM_OK ? DDPM_OK : ddpm_raise(status, "%s", reason);
}

/* A state.json on its own. */
static void print_state(const json_t *state)
{
    static const char *const keys[] = {"version", "data", "validation"};
    const char *key;
    json_t *value;
    printf("state of a checkpoint of ddpm train\n");
    printf("step        %" PRId64 "\n",
           (int64_t)json_integer_value(json_object_get(state, "step")));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; ++i) {
        char name[32];
        snprintf(name, sizeof name, "%-12s", keys[i]);
        if (json_is_string(json_object_get(state, keys[i])))
            ddpm_print_text(name, json_string_value(json_object_get(state, keys[i])), "\n");
    }
    json_object_foreach(json_object_get(state, "files"), key, value)
    {
        ddpm_print_text("file        ", key, "");
        printf(", %" PRId64 " bytes\n",
               (int64_t)json_integer_value(json_object_get(value, "bytes")));
    }
    printf("options that a resumed run keeps\n");
    json_object_foreach(json_object_get(state, "options"), key, value)
    {
        char name[64];
        snprintf(name, sizeof name, "  %-20s", key);
        ddpm_print_text(name, json_is_string(value) ? json_string_value(value) : "", "\n");
    }
}

/* A state.json has a step and files; any other JSON is a configuration. */
static ddpm_status print_json(const char *path)
{
    json_t *object;
    DDPM_TRY(ddpm_json_read(&object, path));
    const bool is_state = json_is_integer(json_object_get(object, "step")) &&
                          json_is_object(json_object_get(object, "files"));
    if (is_state)
        print_state(object);
    json_decref(object);
    return is_state ? DDPM_OK : print_configuration(path);
}

static ddpm_status print_file(const char *path)
{
    const enum ddpm_file_kind kind = ddpm_file_kind(path);
    switch (kind) {
    case DDPM_FILE_WEIGHTS:
        return ddpm_print_weights(path);
    case DDPM_FILE_ARRAY:
        return ddpm_print_array(path);
    case DDPM_FILE_JSON:
        return print_json(path);
    case DDPM_FILE_LOG:
        return ddpm_info_log_file(path);
    case DDPM_FILE_PICTURE:
        return ddpm_info_picture(path);
    case DDPM_FILE_UNREADABLE:
        return ddpm_raise_errno("%s: cannot be read", path);
    case DDPM_FILE_SPECIAL:
    case DDPM_FILE_EMPTY:
    case DDPM_FILE_ZIP:
    case DDPM_FILE_UNKNOWN:
        break;
    }
    return ddpm_raise(
        DDPM_ERROR_FORMAT,
        "%s: got %s, want .safetensors, .npy, .json, log.csv or a picture (JPEG, PNG, "
        "WebP, TIFF or BMP)",
        path, ddpm_file_kind_text(kind));
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    const char *path = arguments->arguments[0];
    char found[PATH_MAX];
    if (ddpm_path_is_directory(path))
        return print_folder(path);
    DDPM_TRY(ddpm_settle_model(path, found, sizeof found)); /* `latest` is a text file */
    return ddpm_path_is_directory(found) ? print_folder(found) : print_file(found);
}

const struct ddpm_verb ddpm_verb_info = {
    .name = "info",
    .arguments = "RUN|CHECKPOINT|DIR|FILE",
    .argument_count = 1,
    .summary = "Say what a run, file or folder of pictures is.",
    .notes =
        "FILE is a model, an array, a picture, a configuration, or a run's log.csv or state.json.\n"
        "DIR is a folder of pictures.\n",
    .examples = "  ddpm info runs/first\n"
                "  ddpm info pictures\n"
                "  ddpm info drawn/0000.png\n",
    .prints = true,
    .terse = true,
    .run = run,
};

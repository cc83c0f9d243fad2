/* ddpm info: what a run, checkpoint, weights file, array, picture, configuration, log or folder
 * of pictures is. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ddpm/trainer.h>

#include "data/picture.h"
#include "drawing.h"
#include "formats/file.h"
#include "formats/json.h"
#include "health.h"
#include "info_options.h"
#include "info_pictures.h"
#include "info_validation.h"
#include "model/checkpoint_find.h"
#include "model/start_files.h"
#include "run_folder.h"
#include "run_log.h"
#include "run_places.h"
#include "streams.h"
#include "training/checkpoint.h"

enum { LOG_ROWS = 100, ROW_BYTES = 512 };

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

/* The last row of log.csv, and the mean loss of the last hundred rows. */
static ddpm_status print_log(const char *path)
{
    FILE *file = fopen(path, "r");
    char row[ROW_BYTES];
    double losses[LOG_ROWS] = {0}, seconds = 0, loss = 0, sum = 0;
    long long step = 0, rows = 0;
    if (!file)
        return ddpm_raise_errno("%s: cannot be read", path);
    while (fgets(row, sizeof row, file)) {
        if (sscanf(row, "%lld,%lf", &step, &loss) == 2) {
            losses[rows++ % LOG_ROWS] = loss;
            seconds = ddpm_run_log_seconds(row);
        }
    }
    (void)fclose(file);
    if (rows == 0)
        return DDPM_OK;
    const int kept = rows < LOG_ROWS ? (int)rows : LOG_ROWS;
    for (int i = 0; i < kept; ++i)
        sum += losses[i];
    char time[DDPM_TEXT_BYTES];
    printf("log         %lld steps in %s; last loss %.5g, mean of the last %d %.5g\n", step,
           ddpm_time_text(time, seconds), loss, kept, sum / kept);
    return DDPM_OK;
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

static ddpm_status print_checkpoint(const char *path)
{
    char step[DDPM_TEXT_BYTES];
    ddpm_print_text("checkpoint  ", path, "\n");
    printf("step        %s\n", ddpm_count_text(step, ddpm_step_of(path)));
    printf("model weights\n");
    DDPM_TRY(in_folder(path, "model.safetensors", ddpm_print_weights));
    printf("EMA weights\n");
    return in_folder(path, "ema.safetensors", ddpm_print_weights);
}

/* The checkpoint that a path means, and its checksums. `latest` may change while a run is
 * training, so everything is read from the folder found first. */
static ddpm_status print_checked(const char *path)
{
    char folder[PATH_MAX];
    DDPM_TRY(ddpm_checkpoint_find(path, folder, sizeof folder));
    ddpm_status status = print_checkpoint(folder);
    return status == DDPM_OK ? print_checksums(folder) : status;
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

/* How far the run is: the step of its newest checkpoint, and how many it will have. */
static ddpm_status print_steps(const char *path)
{
    struct ddpm_config *config;
    char latest[PATH_MAX], done_text[DDPM_TEXT_BYTES], all_text[DDPM_TEXT_BYTES];
    int64_t all;
    DDPM_TRY(ddpm_config_create(&config));
    ddpm_status status = ddpm_config_read(config, path);
    if (status == DDPM_OK)
        status = ddpm_config_integer(config, "steps", &all);
    if (status == DDPM_OK)
        status = ddpm_path_format(latest, sizeof latest, "%.*s/checkpoints/latest",
                                  (int)(strrchr(path, '/') - path), path);
    if (status == DDPM_OK) {
        const int64_t done = ddpm_step_of(latest);
        printf("saved       step %s of %s%s\n", ddpm_count_text(done_text, done > 0 ? done : 0),
               ddpm_count_text(all_text, all), done >= all ? ", finished" : "");
    }
    ddpm_config_destroy(&config);
    return DDPM_OK; /* a damaged configuration is reported later, after all the rest */
}

/* The whole folder of a run; what a checkpoint has too comes later. */
static ddpm_status print_run(const char *path, bool *any)
{
    char best[PATH_MAX];
    DDPM_TRY(in_folder(path, "config.json", print_steps));
    DDPM_TRY(in_folder(path, "checkpoints", print_checkpoint_names));
    DDPM_TRY(ddpm_path_format(best, sizeof best, "%s/checkpoints/best", path));
    if (!ddpm_path_exists(best))
        printf("best        none: no checkpoint was saved as the best by validation loss\n");
    return ddpm_checkpoint_any(path, any);
}

/* The folder whose config.json describes `path`: a run that a program saved through the library has
 * only those of its checkpoints. */
static ddpm_status find_configured(const char *path, bool has_checkpoint, char *folder)
{
    char own[PATH_MAX];
    DDPM_TRY(ddpm_path_format(own, sizeof own, "%s/config.json", path));
    if (has_checkpoint && !ddpm_path_exists(own))
        return ddpm_checkpoint_find(path, folder, PATH_MAX);
    return ddpm_path_format(folder, PATH_MAX, "%s", path);
}

static ddpm_status print_folder(const char *path)
{
    char configured[PATH_MAX];
    char *checkpoints;
    DDPM_TRY(ddpm_path_join(&checkpoints, path, "checkpoints"));
    const bool is_run = ddpm_path_is_directory(checkpoints);
    free(checkpoints);
    char *probe;
    DDPM_TRY(ddpm_path_join(&probe, path, is_run ? "config.json" : "state.json"));
    const bool known = ddpm_path_exists(probe);
    free(probe);
    if (!known && !is_run)
        return ddpm_info_picture_folder(path);
    printf("%s\n", is_run ? "run of ddpm train" : "checkpoint of ddpm train");
    DDPM_TRY(in_folder(path, "log.csv", print_log));
    DDPM_TRY(in_folder(path, "validation.csv", ddpm_info_validation));
    DDPM_TRY(in_folder(path, "config.json", ddpm_run_folder_print_start));
    DDPM_TRY(in_folder(path, "config.json", ddpm_run_places_print));
    bool any = true;
    if (is_run)
        DDPM_TRY(print_run(path, &any));
    /* report the rest in spite of damage */
    ddpm_status status = any ? print_checked(path) : DDPM_OK;
    char reason[1024];
    snprintf(reason, sizeof reason, "%s", ddpm_error_message());
    DDPM_TRY(find_configured(path, any, configured));
    DDPM_TRY(in_folder(configured, "config.json", print_drawing));
    DDPM_TRY(in_folder(configured, "config.json", print_memory));
    DDPM_TRY(in_folder(configured, "config.json", ddpm_info_changed_options));
    return status == DDPM_OK ? DDPM_OK : ddpm_raise(status, "%s", reason);
}

/* A log.csv on its own. */
static ddpm_status print_log_file(const char *path)
{
    printf("log of ddpm train\n");
    return print_log(path);
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

/* The kind of file, from its first bytes. */
static const struct {
    const char *magic;
    size_t bytes;
    ddpm_status (*print)(const char *path);
} kinds[] = {
    {"\x93NUMPY", 6, ddpm_print_array},
    {"{", 1, print_json},
    {"step,loss", 9, print_log_file},
};

static ddpm_status print_file(const char *path)
{
    unsigned char head[DDPM_PICTURE_MAGIC_BYTES] = {0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return ddpm_raise_errno("%s: cannot be read", path);
    size_t got = fread(head, 1, sizeof head, file);
    (void)fclose(file);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (got >= kinds[i].bytes && memcmp(head, kinds[i].magic, kinds[i].bytes) == 0)
            return kinds[i].print(path);
    if (got > 8 && head[8] == '{')
        return ddpm_print_weights(path);
    if (ddpm_picture_format(head, got))
        return ddpm_info_picture(path);
    return ddpm_raise(
        DDPM_ERROR_FORMAT,
        "%s: got %s, want .safetensors, .npy, .json, log.csv or a picture (JPEG, PNG, "
        "WebP, TIFF or BMP)",
        path, got ? "an unknown kind of file" : "an empty file");
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

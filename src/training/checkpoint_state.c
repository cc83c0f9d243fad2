/* state.json of a checkpoint: which step, which run, which files with which checksums. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option.h"
#include "core/memory.h"
#include "formats/checksum.h"
#include "formats/file.h"
#include "formats/json.h"
#include "model/start_files.h"
#include "training/checkpoint.h"

#define STATE_FORMAT 1
#define VALUE_BYTES 256

/* The next option after `last` (the first if NULL) that must not change on resume. NULL after the
 * last. */
static const struct ddpm_option *next_locked(const struct ddpm_option *last)
{
    size_t i = last ? (size_t)(last - ddpm_options) + 1 : 0;
    for (int lock = last ? (int)last->locked : DDPM_LOCKED; lock < DDPM_LOCK_COUNT; ++lock, i = 0)
        for (; i < ddpm_options_count; ++i)
            if ((int)ddpm_options[i].locked == lock)
                return &ddpm_options[i];
    return NULL;
}

ddpm_status ddpm_checkpoint_file_path(char *path, const char *folder, const char *player,
                                      size_t file)
{
    return ddpm_path_format(path, PATH_MAX, "%s/%s%s%s", folder, player, player[0] ? "-" : "",
                            ddpm_checkpoint_files[file]);
}

static ddpm_status describe_file(const char *path, json_t *files)
{
    struct ddpm_checksum sum;
    DDPM_TRY(ddpm_file_checksum(path, &sum));
    return ddpm_json_put(
        files, strrchr(path, '/') + 1,
        json_pack("{s:I,s:I}", "bytes", (json_int_t)sum.bytes, "crc32", (json_int_t)sum.crc32));
}

static ddpm_status describe_files(const struct ddpm_run_state *run_state, const char *folder,
                                  json_t *files)
{
    char path[PATH_MAX];
    for (int p = 0; p < run_state->player_count; ++p)
        for (size_t file = 0; file < ddpm_state_files(&run_state->config->training); ++file) {
            DDPM_TRY(ddpm_checkpoint_file_path(path, folder, run_state->players[p].name, file));
            DDPM_TRY(describe_file(path, files));
        }
    if (!run_state->start)
        return DDPM_OK;
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/" DDPM_START_FILE, folder));
    return describe_file(path, files);
}

static ddpm_status describe_options(const struct ddpm_config *config, json_t *options)
{
    for (const struct ddpm_option *option = NULL; (option = next_locked(option));) {
        char value[VALUE_BYTES];
        DDPM_TRY(ddpm_option_format(option, config, value, sizeof value));
        DDPM_TRY(ddpm_json_put_text(options, option->name, value));
    }
    return DDPM_OK;
}

static void data_fingerprint(const struct ddpm_run_state *run_state, char text[24])
{
    snprintf(text, 24, "%016" PRIx64, run_state->data_fingerprint);
}

ddpm_status ddpm_checkpoint_write_state(const struct ddpm_run_state *run_state, const char *folder)
{
    char fingerprint[24], *path;
    data_fingerprint(run_state, fingerprint);
    json_t *files = json_object(), *options = json_object();
    json_t *state = json_pack("{s:i,s:s,s:I,s:s,s:o,s:o}", "format", STATE_FORMAT, "version",
                              ddpm_version(), "step", (json_int_t)run_state->step, "data",
                              fingerprint, "options", options, "files", files);
    if (!state)
        return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for state.json");
    ddpm_status status = describe_files(run_state, folder, files);
    if (status == DDPM_OK && run_state->validation)
        status = ddpm_json_put_text(state, "validation", run_state->validation);
    if (status == DDPM_OK)
        status = describe_options(run_state->config, options);
    if (status == DDPM_OK)
        status = ddpm_path_join(&path, folder, "state.json");
    if (status == DDPM_OK) {
        status = ddpm_json_write(path, state, DDPM_JSON_INSERTION_ORDER);
        free(path);
    }
    json_decref(state);
    return status;
}

ddpm_status ddpm_checkpoint_check_files(const json_t *state, const char *folder)
{
    const char *name;
    json_t *files, *file;
    DDPM_TRY(ddpm_json_get_object(state, "files", &files));
    for (size_t i = 0; i < DDPM_CHECKPOINT_FILE_COUNT; ++i) /* every checkpoint contains these */
        DDPM_TRY(ddpm_json_get_object(files, ddpm_checkpoint_files[i], &file));
    json_object_foreach(files, name, file) DDPM_TRY(ddpm_file_check(state, folder, name));
    return DDPM_OK;
}

/* The default, formatted like a value of the configuration. */
static ddpm_status default_of(const struct ddpm_option *option, char *text, size_t bytes)
{
    struct ddpm_config config = {0};
    DDPM_TRY(ddpm_option_parse(option, option->default_text, &config));
    return ddpm_option_format(option, &config, text, bytes);
}

static ddpm_status check_options(const json_t *state, const struct ddpm_config *config)
{
    json_t *options;
    DDPM_TRY(ddpm_json_get_object(state, "options", &options));
    for (const struct ddpm_option *option = NULL; (option = next_locked(option));) {
        const char *saved;
        char now[VALUE_BYTES], before[VALUE_BYTES];
        const bool missing = !json_object_get(options, option->name);
        if (option->locked == DDPM_LOCKED_SINCE_0_2 && missing)
            continue;
        DDPM_TRY(default_of(option, before, sizeof before));
        DDPM_TRY(ddpm_option_format(option, config, now, sizeof now));
        if (option->locked == DDPM_LOCKED_OR_DEFAULT && missing)
            saved = before;
        else
            DDPM_TRY(ddpm_json_get_string(options, option->name, &saved));
        if (strcmp(saved, now) != 0)
            return ddpm_raise(DDPM_ERROR_MISMATCH,
                              "cannot resume: %s is %s in the checkpoint and %s now; give the "
                              "same value, or start another run",
                              option->name, saved, now);
    }
    return DDPM_OK;
}

/* The configuration that a checkpoint was trained with; NULL if it cannot be read. */
static struct ddpm_config *config_of(const char *folder)
{
    struct ddpm_config *config = NULL;
    char path[PATH_MAX];
    if (ddpm_path_format(path, sizeof path, "%s/config.json", folder) == DDPM_OK &&
        ddpm_config_create(&config) == DDPM_OK && ddpm_config_read(config, path) != DDPM_OK)
        ddpm_config_destroy(&config);
    return config;
}

static ddpm_status raise_other_data(const char *folder, const struct ddpm_run_state *run_state,
                                    const char *saved, const char *now)
{
    struct ddpm_config *config = config_of(folder);
    const char *before = config ? config->data.data : "", *path = run_state->config->data.data;
    ddpm_status status;
    if (strspn(saved, "0") == strlen(saved))
        status = ddpm_raise(DDPM_ERROR_MISMATCH,
                            "cannot resume: the checkpoint was trained on arrays that a program "
                            "supplied; resume without data, or start another run");
    else if (*before && *path && strcmp(before, path) != 0)
        status = ddpm_raise(DDPM_ERROR_MISMATCH,
                            "cannot resume: data is %s (%s) in the checkpoint and %s (%s) now; "
                            "give the same pictures, or start another run",
                            before, saved, path, now);
    else
        status = ddpm_raise(DDPM_ERROR_MISMATCH,
                            "cannot resume: data is %s in the checkpoint and %s now; pictures were "
                            "added, removed or changed",
                            saved, now);
    ddpm_config_destroy(&config);
    return status;
}

static ddpm_status check_data(const json_t *state, const char *folder,
                              const struct ddpm_run_state *run_state)
{
    const char *saved;
    char now[24];
    DDPM_TRY(ddpm_json_get_string(state, "data", &saved));
    data_fingerprint(run_state, now);
    if (run_state->has_data && strcmp(saved, now) != 0)
        return raise_other_data(folder, run_state, saved, now);
    return DDPM_OK;
}

/* It decides which pictures are trained on. Checkpoints from before validation existed do not
 * have it. */
static ddpm_status check_validation(const json_t *state, const struct ddpm_run_state *run_state)
{
    const char *saved = json_string_value(json_object_get(state, "validation"));
    const char *now = run_state->validation;
    if (!run_state->has_data || strcmp(saved ? saved : "off", now ? now : "off") == 0)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_MISMATCH,
                      "cannot resume: validation is %s in the checkpoint and %s now; give the same "
                      "value, or start another run",
                      saved ? saved : "off", now ? now : "off");
}

ddpm_status ddpm_checkpoint_read_state(const char *folder, json_t **state)
{
    char *path;
    int64_t format;
    DDPM_TRY(ddpm_path_join(&path, folder, "state.json"));
    ddpm_status status = ddpm_json_read(state, path);
    free(path);
    DDPM_TRY(status);
    status = ddpm_json_get_integer(*state, "format", 1, INT64_MAX, &format);
    if (status == DDPM_OK && format != STATE_FORMAT)
        status =
            ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: checkpoint format %lld, this version knows %d",
                       folder, (long long)format, STATE_FORMAT);
    if (status != DDPM_OK)
        json_decref(*state);
    return status;
}

ddpm_status ddpm_checkpoint_check_run(const json_t *state, const char *folder,
                                      const struct ddpm_run_state *run_state)
{
    DDPM_TRY(check_options(state, run_state->config));
    DDPM_TRY(check_data(state, folder, run_state));
    return check_validation(state, run_state);
}

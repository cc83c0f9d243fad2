/* Small functions that several verbs need. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "file_kind.h"
#include "formats/file.h"
#include "formats/json.h"
#include "missing.h"
#include "model/checkpoint_find.h"
#include "options.h"
#include "progress.h"

const char *ddpm_bytes_text(char buffer[DDPM_TEXT_BYTES], double bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    while (bytes >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1000;
        ++unit;
    }
    snprintf(buffer, DDPM_TEXT_BYTES, unit == 0 ? "%.0f %s" : "%.2f %s", bytes, units[unit]);
    return buffer;
}

const char *ddpm_time_text(char buffer[DDPM_TEXT_BYTES], double seconds)
{
    long long all = seconds > 0 && seconds < 1e12 ? (long long)(seconds + 0.5) : 0;
    if (all >= 3600)
        snprintf(buffer, DDPM_TEXT_BYTES, "%lld:%02lld:%02lld", all / 3600, all / 60 % 60,
                 all % 60);
    else
        snprintf(buffer, DDPM_TEXT_BYTES, "%02lld:%02lld", all / 60, all % 60);
    return buffer;
}

const char *ddpm_count_text(char buffer[DDPM_TEXT_BYTES], int64_t count)
{
    char digits[32];
    size_t used = 0;
    int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    for (int i = 0; i < length; ++i) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
            buffer[used++] = ',';
        buffer[used++] = digits[i];
    }
    buffer[used] = 0;
    return buffer;
}

bool ddpm_ends_with(const char *path, const char *end)
{
    const size_t length = strlen(path), bytes = strlen(end);
    return length >= bytes && strcmp(path + length - bytes, end) == 0;
}

bool ddpm_folder_has(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return ddpm_path_format(path, sizeof path, "%s/%s", folder, name) == DDPM_OK &&
           ddpm_path_exists(path);
}

ddpm_status ddpm_config_integer(const struct ddpm_config *config, const char *name, int64_t *out)
{
    char text[64];
    DDPM_TRY(ddpm_config_get(config, name, text, sizeof text));
    *out = strtoll(text, NULL, 10);
    return DDPM_OK;
}

ddpm_status ddpm_make_output_folder(const char *path, bool force)
{
    bool empty;
    if (ddpm_path_exists(path) && !ddpm_path_is_directory(path))
        return ddpm_raise(DDPM_ERROR_IO, "%s: got a file, want a folder to write into", path);
    DDPM_TRY(ddpm_directory_create(path));
    if (force)
        return DDPM_OK;
    DDPM_TRY(ddpm_directory_is_empty(path, &empty));
    if (!empty)
        return ddpm_raise(DDPM_ERROR_IO,
                          "%s: got a folder that is not empty; want a new one, or --force to write "
                          "into it",
                          path);
    return DDPM_OK;
}

int64_t ddpm_step_of(const char *path)
{
    char real[PATH_MAX], *file;
    long long step;
    int64_t written = -1;
    json_t *state;
    if (!realpath(path, real))
        return -1;
    const char *slash = strrchr(real, '/');
    if (slash && sscanf(slash + 1, "step-%lld", &step) == 1)
        return step;
    /* A folder of a different name, for example a copy of `latest` that followed the link. */
    if (ddpm_path_join(&file, real, "state.json") != DDPM_OK)
        return -1;
    if (ddpm_path_is_directory(real) && ddpm_path_exists(file) &&
        ddpm_json_read(&state, file) == DDPM_OK) {
        (void)ddpm_json_get_integer(state, "step", 0, INT64_MAX, &written);
        json_decref(state);
    }
    free(file);
    return written;
}

ddpm_status ddpm_settle_model(const char *path, char *out, size_t bytes)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const bool is_pointer = strcmp(name, "latest") == 0 || strcmp(name, "best") == 0;
    if (!ddpm_path_exists(path))
        return ddpm_raise_no_model(path);
    if (ddpm_path_is_directory(path))
        return ddpm_checkpoint_find(path, out, bytes);
    if (is_pointer && ddpm_checkpoint_find(path, out, bytes) == DDPM_OK)
        return DDPM_OK;
    return ddpm_path_format(out, bytes, "%s", path);
}

static ddpm_status weights_from_text(const char *text, enum ddpm_weights *out)
{
    *out = DDPM_WEIGHTS_EMA;
    if (!text || strcmp(text, "ema") == 0)
        return DDPM_OK;
    *out = DDPM_WEIGHTS_MODEL;
    if (strcmp(text, "model") == 0)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --weights: got \"%.80s\", want ema or model",
                      text);
}

/* The configuration for opening `path`. A folder has its own, changed by the run options of the
 * command line; a bare file needs --config. *out is NULL if there is none. */
static ddpm_status find_config(const struct ddpm_arguments *arguments, const char *path,
                               struct ddpm_config **out)
{
    const char *given = ddpm_arguments_get(arguments, "config");
    const bool folder = ddpm_path_is_directory(path);
    char *own = NULL;
    *out = NULL;
    if (given && folder)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --config: got %s with the folder %s, which has its own "
                          "configuration; want --config only with a bare .safetensors file",
                          given, path);
    if (folder)
        DDPM_TRY(ddpm_path_join(&own, path, "config.json"));
    const char *file = given ? given : own;
    ddpm_status status = DDPM_OK;
    if (file && (given || ddpm_path_exists(file))) {
        status = ddpm_config_create(out);
        if (status == DDPM_OK)
            status = ddpm_config_read(*out, file);
        if (status == DDPM_OK)
            status = ddpm_arguments_apply(arguments, "run", *out);
    }
    free(own);
    if (status != DDPM_OK)
        ddpm_config_destroy(out);
    return status;
}

/* Open the device, and check the network that the model's own configuration describes. Does
 * nothing if there is no configuration: opening the model then reports what is missing. */
static ddpm_status look_first(const struct ddpm_arguments *arguments, const char *found,
                              ddpm_look_at_network *look, void *user, struct ddpm_device **device)
{
    struct ddpm_config *config;
    struct ddpm_network *declared = NULL;
    DDPM_TRY(find_config(arguments, found, &config));
    if (!config)
        return DDPM_OK;
    ddpm_status status = ddpm_device_create(config, device);
    if (status == DDPM_OK)
        status = ddpm_network_declare(*device, config, &declared);
    if (status == DDPM_OK)
        status = look(user, declared);
    ddpm_network_destroy(&declared);
    ddpm_config_destroy(&config);
    return status;
}

/* A file without a configuration. */
static ddpm_status refuse_file(const char *path, enum ddpm_file_kind kind)
{
    if (kind == DDPM_FILE_UNREADABLE)
        return ddpm_raise_errno("%s: cannot be read", path);
    if (kind == DDPM_FILE_WEIGHTS)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a bare weights file; want --config FILE.json as well, or a run "
                          "or checkpoint folder",
                          path);
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "%s: got %s, want a run, a checkpoint, or a .safetensors file with --config "
                      "FILE.json",
                      path, ddpm_file_kind_text(kind));
}

void ddpm_close_model(struct ddpm_opened_model *model)
{
    ddpm_network_destroy(&model->network);
    ddpm_device_destroy(&model->device);
}

ddpm_status ddpm_open_model(const struct ddpm_arguments *arguments, const char *path,
                            ddpm_look_at_network *look, void *user, struct ddpm_opened_model *out)
{
    struct ddpm_config *config;
    char found[PATH_MAX];
    *out = (struct ddpm_opened_model){.step = -1};
    DDPM_TRY(weights_from_text(ddpm_arguments_get(arguments, "weights"), &out->which));
    DDPM_TRY(ddpm_settle_model(path, found, sizeof found));
    DDPM_TRY(find_config(arguments, ddpm_path_is_directory(path) ? path : found, &config));
    if (!config && !ddpm_path_is_directory(found))
        return refuse_file(path, ddpm_file_kind(found));
    ddpm_status status = look_first(arguments, found, look, user, &out->device);
    if (status == DDPM_OK)
        status = out->device
                     ? ddpm_network_open_on(out->device, found, config, out->which, &out->network)
                     : ddpm_network_open(found, config, out->which, &out->network);
    ddpm_config_destroy(&config);
    if (status == DDPM_OK)
        out->step = ddpm_step_of(found);
    return status;
}

const char *ddpm_memory_text(char buffer[DDPM_MEMORY_TEXT_BYTES],
                             const struct ddpm_memory_plan *memory, const char *what)
{
    char whole[DDPM_TEXT_BYTES], activations[DDPM_TEXT_BYTES], weights[DDPM_TEXT_BYTES];
    char packed[DDPM_TEXT_BYTES];
    const size_t used = (size_t)snprintf(
        buffer, DDPM_MEMORY_TEXT_BYTES, "%s %s",
        ddpm_bytes_text(whole, (double)(memory->activations + memory->weights + memory->packed)),
        what);
    if (ddpm_progress_is_verbose() && used < DDPM_MEMORY_TEXT_BYTES)
        snprintf(buffer + used, DDPM_MEMORY_TEXT_BYTES - used,
                 ": activations %s, weights %s, packed weights %s",
                 ddpm_bytes_text(activations, (double)memory->activations),
                 ddpm_bytes_text(weights, (double)memory->weights),
                 ddpm_bytes_text(packed, (double)memory->packed));
    return buffer;
}

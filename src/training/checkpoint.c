/* Checkpoints: `<run>/checkpoints/step-NNNNNN/` with model.safetensors, ema.safetensors,
 * optimizer.safetensors, config.json and state.json, and the link `latest` to the newest whole one.
 *
 * A checkpoint is written into a folder with a temporary name, every file synced and read back, and
 * only then renamed; the link is replaced by a rename too. Old ones go last. So whatever is killed
 * or full, the checkpoint that `latest` names is whole. state.json holds the size and CRC-32 of the
 * other files, so that damage is noticed at resume. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/memory.h"
#include "formats/checksum.h"
#include "formats/file.h"
#include "formats/json.h"
#include "training/trainer_state.h"

#define STATE_FORMAT 1
#define TEMPORARY_PREFIX ".tmp-"

/* Options that make a run what it is: going on with another value would not be going on. */
static const char *const locked_options[] = {
    "network",    "dim",  "init-dim",  "out-dim",  "dim-mults",          "channels", "theta",
    "mult",       "norm", "timesteps", "schedule", "image-size",         "loss",     "batch-size",
    "accumulate", "seed", "flip",      "crop",     "timestep-per-batch",
};
#define LOCKED_COUNT (sizeof locked_options / sizeof *locked_options)
#define VALUE_BYTES 256

static const char *const weight_files[] = {"model.safetensors", "ema.safetensors",
                                           "optimizer.safetensors"};

/* Host copies of the four slabs. */
struct slabs {
    float *weights, *ema, *m, *v;
};

static void free_slabs(struct slabs *slabs)
{
    ddpm_free_aligned(slabs->weights);
    ddpm_free_aligned(slabs->ema);
    ddpm_free_aligned(slabs->m);
    ddpm_free_aligned(slabs->v);
}

static ddpm_status allocate_slabs(const struct ddpm_trainer *trainer, struct slabs *slabs)
{
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    float **all[] = {&slabs->weights, &slabs->ema, &slabs->m, &slabs->v};
    *slabs = (struct slabs){0};
    for (size_t i = 0; i < 4; ++i)
        DDPM_TRY(ddpm_new_aligned((void **)all[i], bytes, "a checkpoint"));
    return DDPM_OK;
}

/* Device slabs in the order of struct slabs. */
static void device_slabs(const struct ddpm_trainer *trainer, void *out[4])
{
    out[0] = trainer->network->slabs[DDPM_WEIGHTS_MODEL];
    out[1] = trainer->network->slabs[DDPM_WEIGHTS_EMA];
    out[2] = trainer->m;
    out[3] = trainer->v;
}

static ddpm_status download_slabs(const struct ddpm_trainer *trainer, struct slabs *slabs)
{
    static const char *const names[] = {"weights", "EMA weights", "first moments",
                                        "second moments"};
    struct ddpm_device *device = trainer->network->device;
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    float *host[] = {slabs->weights, slabs->ema, slabs->m, slabs->v};
    void *from[4];
    device_slabs(trainer, from);
    for (int i = 0; i < 4; ++i) {
        DDPM_TRY(device->backend->download(device, host[i], from[i], bytes));
        for (size_t k = 0; k < bytes / sizeof(float); ++k)
            if (!isfinite(host[i][k]))
                return ddpm_raise(
                    DDPM_ERROR_NOT_FINITE,
                    "step %lld: the %s are not finite, so nothing was saved; the last "
                    "checkpoint is still good. A lower learning rate may help",
                    (long long)trainer->step, names[i]);
    }
    return DDPM_OK;
}

static ddpm_status write_weights(const struct ddpm_trainer *trainer, const struct slabs *slabs,
                                 const char *folder)
{
    const struct ddpm_parameters *parameters = &trainer->network->parameters;
    const struct ddpm_named_slab model = {"", slabs->weights}, ema = {"", slabs->ema};
    const struct ddpm_named_slab moments[] = {{"exp_avg.", slabs->m}, {"exp_avg_sq.", slabs->v}};
    const struct {
        const struct ddpm_named_slab *slabs;
        size_t count;
    } contents[] = {{&model, 1}, {&ema, 1}, {moments, 2}};
    char step[32];
    snprintf(step, sizeof step, "%lld", (long long)trainer->step);
    const struct ddpm_safetensors_text metadata[] = {{"ddpm_version", ddpm_version()},
                                                     {"step", step}};
    for (size_t i = 0; i < 3; ++i) {
        char *path;
        DDPM_TRY(ddpm_path_join(&path, folder, weight_files[i]));
        ddpm_status status =
            ddpm_slabs_write(parameters, contents[i].slabs, contents[i].count, path, metadata, 2);
        if (status == DDPM_OK)
            status = ddpm_slabs_compare(parameters, contents[i].slabs, contents[i].count, path);
        free(path);
        DDPM_TRY(status);
    }
    return DDPM_OK;
}

/* ---- state.json ---- */

static ddpm_status describe_files(const char *folder, json_t *files)
{
    for (size_t i = 0; i < 3; ++i) {
        struct ddpm_checksum sum;
        char *path;
        DDPM_TRY(ddpm_path_join(&path, folder, weight_files[i]));
        ddpm_status status = ddpm_file_checksum(path, &sum);
        free(path);
        DDPM_TRY(status);
        json_object_set_new(
            files, weight_files[i],
            json_pack("{s:I,s:I}", "bytes", (json_int_t)sum.bytes, "crc32", (json_int_t)sum.crc32));
    }
    return DDPM_OK;
}

static ddpm_status describe_options(const struct ddpm_config *config, json_t *options)
{
    for (size_t i = 0; i < LOCKED_COUNT; ++i) {
        char value[VALUE_BYTES];
        DDPM_TRY(ddpm_config_get(config, locked_options[i], value, sizeof value));
        json_object_set_new(options, locked_options[i], json_string(value));
    }
    return DDPM_OK;
}

static void data_fingerprint(const struct ddpm_trainer *trainer, char text[24])
{
    uint64_t value = trainer->data ? ddpm_source_fingerprint(trainer->data->source) : 0;
    snprintf(text, 24, "%016" PRIx64, value);
}

static ddpm_status write_state(const struct ddpm_trainer *trainer, const char *folder)
{
    char fingerprint[24], *path;
    data_fingerprint(trainer, fingerprint);
    json_t *files = json_object(), *options = json_object();
    json_t *state = json_pack("{s:i,s:s,s:I,s:s,s:o,s:o}", "format", STATE_FORMAT, "version",
                              ddpm_version(), "step", (json_int_t)trainer->step, "data",
                              fingerprint, "options", options, "files", files);
    if (!state)
        return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for state.json");
    ddpm_status status = describe_files(folder, files);
    if (status == DDPM_OK)
        status = describe_options(&trainer->network->config, options);
    if (status == DDPM_OK)
        status = ddpm_path_join(&path, folder, "state.json");
    if (status == DDPM_OK) {
        status = ddpm_json_write(path, state, DDPM_JSON_INSERTION_ORDER);
        free(path);
    }
    json_decref(state);
    return status;
}

static ddpm_status check_files(const json_t *state, const char *folder)
{
    json_t *files, *file;
    DDPM_TRY(ddpm_json_get_object(state, "files", &files));
    for (size_t i = 0; i < 3; ++i) {
        struct ddpm_checksum sum;
        int64_t bytes, crc32;
        char *path;
        DDPM_TRY(ddpm_json_get_object(files, weight_files[i], &file));
        DDPM_TRY(ddpm_json_get_integer(file, "bytes", 0, INT64_MAX, &bytes));
        DDPM_TRY(ddpm_json_get_integer(file, "crc32", 0, UINT32_MAX, &crc32));
        DDPM_TRY(ddpm_path_join(&path, folder, weight_files[i]));
        ddpm_status status = ddpm_file_checksum(path, &sum);
        if (status == DDPM_OK && ((int64_t)sum.bytes != bytes || (int64_t)sum.crc32 != crc32))
            status =
                ddpm_raise(DDPM_ERROR_FORMAT,
                           "%s is damaged: got %llu bytes with CRC-32 %08x, want %lld with %08x; "
                           "an older checkpoint can be named instead of the run",
                           path, (unsigned long long)sum.bytes, (unsigned)sum.crc32,
                           (long long)bytes, (unsigned)crc32);
        free(path);
        DDPM_TRY(status);
    }
    return DDPM_OK;
}

static ddpm_status check_options(const json_t *state, const struct ddpm_config *config)
{
    json_t *options;
    DDPM_TRY(ddpm_json_get_object(state, "options", &options));
    for (size_t i = 0; i < LOCKED_COUNT; ++i) {
        const char *saved;
        char now[VALUE_BYTES];
        DDPM_TRY(ddpm_json_get_string(options, locked_options[i], &saved));
        DDPM_TRY(ddpm_config_get(config, locked_options[i], now, sizeof now));
        if (strcmp(saved, now) != 0)
            return ddpm_raise(
                DDPM_ERROR_MISMATCH,
                "cannot go on: %s is %s in the checkpoint and %s now; give the same, or "
                "start another run",
                locked_options[i], saved, now);
    }
    return DDPM_OK;
}

static ddpm_status check_data(const json_t *state, const struct ddpm_trainer *trainer)
{
    const char *saved;
    char now[24];
    DDPM_TRY(ddpm_json_get_string(state, "data", &saved));
    data_fingerprint(trainer, now);
    if (trainer->data && strcmp(saved, now) != 0)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "cannot go on: data is %s in the checkpoint and %s now; pictures were "
                          "added, removed or changed",
                          saved, now);
    return DDPM_OK;
}

/* ---- saving ---- */

static ddpm_status write_folder(const struct ddpm_trainer *trainer, const struct slabs *slabs,
                                const char *folder)
{
    char *config_path;
    DDPM_TRY(ddpm_directory_create(folder));
    DDPM_TRY(write_weights(trainer, slabs, folder));
    DDPM_TRY(ddpm_path_join(&config_path, folder, "config.json"));
    ddpm_status status = ddpm_config_write(&trainer->network->config, config_path);
    free(config_path);
    DDPM_TRY(status);
    return write_state(trainer, folder);
}

static ddpm_status point_latest(const char *checkpoints, const char *name)
{
    char link[PATH_MAX], temporary[PATH_MAX];
    DDPM_TRY(ddpm_path_format(link, sizeof link, "%s/latest", checkpoints));
    DDPM_TRY(ddpm_path_format(temporary, sizeof temporary, "%s/" TEMPORARY_PREFIX "latest-%ld",
                              checkpoints, (long)getpid()));
    (void)unlink(temporary);
    if (symlink(name, temporary) != 0)
        return ddpm_raise_errno("%s: cannot make a link", temporary);
    if (rename(temporary, link) != 0) {
        ddpm_status status = ddpm_raise_errno("%s: cannot point it at %s", link, name);
        (void)unlink(temporary);
        return status;
    }
    return ddpm_directory_sync(checkpoints);
}

/* Remove what killed runs left behind, and all but the newest `keep` checkpoints. Names are in byte
 * order, which for step-NNNNNN of one width is the order of steps; longer numbers come last. */
static int by_step(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t x_length = strlen(x), y_length = strlen(y);
    if (x_length != y_length)
        return x_length < y_length ? -1 : 1;
    return strcmp(x, y);
}

static ddpm_status remove_old(const char *checkpoints, int64_t keep)
{
    char **names;
    size_t count, kept_count = 0;
    ddpm_status status = DDPM_OK;
    DDPM_TRY(ddpm_directory_list(&names, &count, checkpoints));
    for (size_t i = 0; i < count; ++i)
        kept_count += strncmp(names[i], "step-", 5) == 0;
    qsort(names, count, sizeof *names, by_step);
    for (size_t i = 0; i < count && status == DDPM_OK; ++i) {
        const bool is_checkpoint = strncmp(names[i], "step-", 5) == 0;
        const bool is_leftover = strncmp(names[i], TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) == 0;
        const bool too_old = is_checkpoint && keep > 0 && kept_count > (size_t)keep;
        char *path;
        if (!is_leftover && !too_old)
            continue;
        kept_count -= is_checkpoint;
        status = ddpm_path_join(&path, checkpoints, names[i]);
        if (status == DDPM_OK) {
            status = ddpm_directory_remove(path);
            free(path);
        }
    }
    ddpm_names_free(names, count);
    return status;
}

static ddpm_status read_state(const char *folder, json_t **state);

/* Is there a whole checkpoint of that name already (the step was saved before a kill)? */
static bool is_whole(const char *folder)
{
    json_t *state;
    if (!ddpm_path_exists(folder) || read_state(folder, &state) != DDPM_OK)
        return false;
    bool whole = check_files(state, folder) == DDPM_OK;
    json_decref(state);
    return whole;
}

static ddpm_status publish(const struct ddpm_trainer *trainer, const struct slabs *slabs,
                           const char *checkpoints, const char *name)
{
    char folder[PATH_MAX], temporary[PATH_MAX];
    DDPM_TRY(ddpm_path_format(folder, sizeof folder, "%s/%s", checkpoints, name));
    DDPM_TRY(ddpm_path_format(temporary, sizeof temporary, "%s/" TEMPORARY_PREFIX "%s-%ld",
                              checkpoints, name, (long)getpid()));
    if (is_whole(folder))
        return DDPM_OK;
    DDPM_TRY(ddpm_directory_remove(folder));
    DDPM_TRY(ddpm_directory_remove(temporary));
    ddpm_status status = write_folder(trainer, slabs, temporary);
    if (status == DDPM_OK)
        status = ddpm_directory_publish(temporary, folder);
    if (status != DDPM_OK) {
        char text[1024];
        snprintf(text, sizeof text, "%s", ddpm_error_message());
        (void)ddpm_directory_remove(temporary); /* the first failure is the one to tell */
        return ddpm_raise(status, "%s", text);
    }
    return DDPM_OK;
}

ddpm_status ddpm_trainer_save(struct ddpm_trainer *trainer, const char *run)
{
    char checkpoints[PATH_MAX], name[48];
    snprintf(name, sizeof name, "step-%06lld", (long long)trainer->step);
    DDPM_TRY(ddpm_path_format(checkpoints, sizeof checkpoints, "%s/checkpoints", run));
    DDPM_TRY(ddpm_directory_create(checkpoints));
    struct slabs slabs;
    ddpm_status status = allocate_slabs(trainer, &slabs);
    if (status == DDPM_OK)
        status = download_slabs(trainer, &slabs);
    if (status == DDPM_OK)
        status = publish(trainer, &slabs, checkpoints, name);
    free_slabs(&slabs);
    DDPM_TRY(status);
    DDPM_TRY(point_latest(checkpoints, name));
    return remove_old(checkpoints, trainer->network->config.training.keep);
}

/* ---- resuming ---- */

static ddpm_status read_state(const char *folder, json_t **state)
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

static ddpm_status read_weights(struct ddpm_trainer *trainer, const char *folder,
                                struct slabs *slabs)
{
    const struct ddpm_parameters *parameters = &trainer->network->parameters;
    const struct ddpm_named_target model = {"", slabs->weights}, ema = {"", slabs->ema};
    const struct ddpm_named_target moments[] = {{"exp_avg.", slabs->m}, {"exp_avg_sq.", slabs->v}};
    char path[PATH_MAX];
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/%s", folder, weight_files[0]));
    DDPM_TRY(ddpm_slabs_read(parameters, &model, 1, path));
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/%s", folder, weight_files[1]));
    DDPM_TRY(ddpm_slabs_read(parameters, &ema, 1, path));
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/%s", folder, weight_files[2]));
    return ddpm_slabs_read(parameters, moments, 2, path);
}

static ddpm_status upload_slabs(struct ddpm_trainer *trainer, const struct slabs *slabs)
{
    struct ddpm_device *device = trainer->network->device;
    const size_t bytes = ddpm_network_slab_bytes(trainer->network);
    const float *host[] = {slabs->weights, slabs->ema, slabs->m, slabs->v};
    void *to[4];
    device_slabs(trainer, to);
    for (int i = 0; i < 4; ++i)
        DDPM_TRY(device->backend->upload(device, to[i], host[i], bytes));
    ddpm_graph_weights_changed(trainer->graph);
    ddpm_network_weights_changed(trainer->network);
    return device->backend->synchronize(device);
}

static ddpm_status resume_from(struct ddpm_trainer *trainer, const char *folder,
                               const json_t *state)
{
    int64_t step;
    DDPM_TRY(ddpm_json_get_integer(state, "step", 0, INT32_MAX, &step));
    DDPM_TRY(check_options(state, &trainer->network->config));
    DDPM_TRY(check_data(state, trainer));
    DDPM_TRY(check_files(state, folder));
    struct slabs slabs;
    ddpm_status status = allocate_slabs(trainer, &slabs);
    if (status == DDPM_OK)
        status = read_weights(trainer, folder, &slabs);
    if (status == DDPM_OK)
        status = upload_slabs(trainer, &slabs);
    free_slabs(&slabs);
    if (status == DDPM_OK)
        trainer->step = step;
    return status;
}

ddpm_status ddpm_trainer_resume(struct ddpm_trainer *trainer, const char *path)
{
    char folder[PATH_MAX];
    json_t *state;
    if (trainer->prefetch)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "a trainer resumes before its first step");
    DDPM_TRY(ddpm_path_format(folder, sizeof folder, "%s/checkpoints", path));
    const bool is_run = ddpm_path_is_directory(folder);
    DDPM_TRY(
        ddpm_path_format(folder, sizeof folder, "%s%s", path, is_run ? "/checkpoints/latest" : ""));
    if (!ddpm_path_is_directory(folder))
        return ddpm_raise(DDPM_ERROR_IO, "%s: there is no checkpoint to go on from", path);
    DDPM_TRY(read_state(folder, &state));
    ddpm_status status = resume_from(trainer, folder, state);
    json_decref(state);
    return status;
}

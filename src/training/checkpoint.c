/* Checkpoints: `<run>/checkpoints/step-NNNNNN/` and the link `latest` to the newest whole one.
 *
 * A checkpoint is written into a folder with a temporary name, every file synced and read back, and
 * only then renamed; the link is replaced by a rename too. Old ones go last. So whatever is killed
 * or full, the checkpoint that `latest` names is whole. */
#define _GNU_SOURCE /* renameat2 */
#include "training/checkpoint.h"

#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/file.h"
#include "formats/json.h"
#include "model/model.h"

#define TEMPORARY_PREFIX ".tmp-"

static ddpm_status check_finite(const struct ddpm_snapshot *snapshot)
{
    static const char *const names[] = {"weights", "EMA weights", "first moments",
                                        "second moments"};
    for (int i = 0; i < DDPM_SLAB_COUNT; ++i)
        for (int64_t k = 0; k < snapshot->parameters->slab_count; ++k)
            if (!isfinite(snapshot->slabs[i][k]))
                return ddpm_raise(
                    DDPM_ERROR_NOT_FINITE,
                    "step %lld: the %s are not finite, so nothing was saved; the last "
                    "checkpoint is still good. A lower learning rate may help",
                    (long long)snapshot->step, names[i]);
    return DDPM_OK;
}

/* Write the files of weights (unless they are there already) and read them back. */
static ddpm_status put_weights(const struct ddpm_snapshot *snapshot, const char *folder, bool write)
{
    const struct ddpm_parameters *parameters = snapshot->parameters;
    float *const *slabs = snapshot->slabs;
    const struct ddpm_named_slab model = {"", slabs[DDPM_SLAB_WEIGHTS]},
                                 ema = {"", slabs[DDPM_SLAB_EMA]};
    const struct ddpm_named_slab moments[] = {{"exp_avg.", slabs[DDPM_SLAB_M]},
                                              {"exp_avg_sq.", slabs[DDPM_SLAB_V]}};
    const struct {
        const struct ddpm_named_slab *slabs;
        size_t count;
    } contents[] = {{&model, 1}, {&ema, 1}, {moments, 2}};
    char step[32];
    snprintf(step, sizeof step, "%lld", (long long)snapshot->step);
    const struct ddpm_safetensors_text metadata[] = {{"ddpm_version", ddpm_version()},
                                                     {"step", step}};
    for (size_t i = 0; i < DDPM_CHECKPOINT_FILE_COUNT; ++i) {
        char *path;
        DDPM_TRY(ddpm_path_join(&path, folder, ddpm_checkpoint_files[i]));
        ddpm_status status = DDPM_OK;
        if (write)
            status = ddpm_slabs_write(parameters, contents[i].slabs, contents[i].count, path,
                                      metadata, 2);
        if (status == DDPM_OK)
            status = ddpm_slabs_compare(parameters, contents[i].slabs, contents[i].count, path);
        free(path);
        DDPM_TRY(status);
    }
    return DDPM_OK;
}

static ddpm_status write_folder(const struct ddpm_snapshot *snapshot, const char *folder)
{
    char *config_path;
    DDPM_TRY(ddpm_directory_create(folder));
    DDPM_TRY(put_weights(snapshot, folder, true));
    DDPM_TRY(ddpm_path_join(&config_path, folder, "config.json"));
    ddpm_status status = ddpm_config_write(snapshot->config, config_path);
    free(config_path);
    DDPM_TRY(status);
    return ddpm_checkpoint_write_state(snapshot, folder);
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

/* Byte order, which for step-NNNNNN of one width is the order of steps; longer numbers come last.
 */
static int by_step(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t x_length = strlen(x), y_length = strlen(y);
    if (x_length != y_length)
        return x_length < y_length ? -1 : 1;
    return strcmp(x, y);
}

/* Remove what killed runs left behind, and all but the newest `keep` checkpoints. The one just
 * written, `current`, stays even when later steps are there (of a run that went on from an earlier
 * one): `latest` names it. */
static ddpm_status remove_old(const char *checkpoints, int64_t keep, const char *current)
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
        const bool too_old = is_checkpoint && keep > 0 && kept_count > (size_t)keep &&
                             strcmp(names[i], current) != 0;
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

/* Is there a whole checkpoint of this very state already (the step was saved before a kill)? */
static bool is_saved(const struct ddpm_snapshot *snapshot, const char *folder)
{
    json_t *state;
    if (!ddpm_path_exists(folder) || ddpm_checkpoint_read_state(folder, &state) != DDPM_OK)
        return false;
    bool saved = ddpm_checkpoint_check_files(state, folder) == DDPM_OK &&
                 ddpm_checkpoint_check_run(state, snapshot) == DDPM_OK &&
                 put_weights(snapshot, folder, false) == DDPM_OK;
    json_decref(state);
    return saved;
}

/* Give the folder its name. Another state's folder of that name, which `latest` may name, changes
 * places with it; where the file system cannot do that, it stands aside for a moment. Either way
 * remove_old() takes it. */
static ddpm_status rename_into_place(const char *temporary, const char *folder)
{
    char aside[PATH_MAX];
    if (!ddpm_path_exists(folder))
        return ddpm_directory_publish(temporary, folder);
    DDPM_TRY(ddpm_directory_sync(temporary));
#ifdef RENAME_EXCHANGE
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, folder, RENAME_EXCHANGE) == 0)
        return DDPM_OK; /* point_latest() syncs the parent */
#endif
    DDPM_TRY(ddpm_path_format(aside, sizeof aside, "%s-replaced", temporary));
    DDPM_TRY(ddpm_directory_remove(aside));
    if (rename(folder, aside) != 0)
        return ddpm_raise_errno("%s: cannot be replaced", folder);
    ddpm_status status = ddpm_directory_publish(temporary, folder);
    if (status != DDPM_OK)
        (void)rename(aside, folder);
    return status;
}

static ddpm_status publish(const struct ddpm_snapshot *snapshot, const char *checkpoints,
                           const char *name)
{
    char folder[PATH_MAX], temporary[PATH_MAX];
    DDPM_TRY(ddpm_path_format(folder, sizeof folder, "%s/%s", checkpoints, name));
    DDPM_TRY(ddpm_path_format(temporary, sizeof temporary, "%s/" TEMPORARY_PREFIX "%s-%ld",
                              checkpoints, name, (long)getpid()));
    if (is_saved(snapshot, folder))
        return DDPM_OK;
    DDPM_TRY(ddpm_directory_remove(temporary));
    ddpm_status status = write_folder(snapshot, temporary);
    if (status == DDPM_OK)
        status = rename_into_place(temporary, folder);
    if (status != DDPM_OK) {
        char text[1024];
        snprintf(text, sizeof text, "%s", ddpm_error_message());
        (void)ddpm_directory_remove(temporary); /* the first failure is the one to tell */
        return ddpm_raise(status, "%s", text);
    }
    return DDPM_OK;
}

ddpm_status ddpm_checkpoint_write(const struct ddpm_snapshot *snapshot, const char *run)
{
    char checkpoints[PATH_MAX], name[48];
    snprintf(name, sizeof name, "step-%06lld", (long long)snapshot->step);
    DDPM_TRY(ddpm_path_format(checkpoints, sizeof checkpoints, "%s/checkpoints", run));
    DDPM_TRY(check_finite(snapshot));
    DDPM_TRY(ddpm_directory_create(checkpoints));
    DDPM_TRY(publish(snapshot, checkpoints, name));
    DDPM_TRY(point_latest(checkpoints, name));
    return remove_old(checkpoints, snapshot->config->training.keep, name);
}

ddpm_status ddpm_checkpoint_find(const char *path, char *folder, size_t bytes)
{
    DDPM_TRY(ddpm_path_format(folder, bytes, "%s/checkpoints", path));
    const bool is_run = ddpm_path_is_directory(folder);
    DDPM_TRY(ddpm_path_format(folder, bytes, "%s%s", path, is_run ? "/checkpoints/latest" : ""));
    if (!ddpm_path_is_directory(folder))
        return ddpm_raise(DDPM_ERROR_IO, "%s: there is no checkpoint to go on from", path);
    return DDPM_OK;
}

static ddpm_status read_weights(const char *folder, struct ddpm_snapshot *snapshot)
{
    float *const *slabs = snapshot->slabs;
    const struct ddpm_named_target model = {"", slabs[DDPM_SLAB_WEIGHTS]};
    const struct ddpm_named_target ema = {"", slabs[DDPM_SLAB_EMA]};
    const struct ddpm_named_target moments[] = {{"exp_avg.", slabs[DDPM_SLAB_M]},
                                                {"exp_avg_sq.", slabs[DDPM_SLAB_V]}};
    const struct {
        const struct ddpm_named_target *targets;
        size_t count;
    } contents[] = {{&model, 1}, {&ema, 1}, {moments, 2}};
    for (size_t i = 0; i < DDPM_CHECKPOINT_FILE_COUNT; ++i) {
        char path[PATH_MAX];
        DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/%s", folder, ddpm_checkpoint_files[i]));
        DDPM_TRY(
            ddpm_slabs_read(snapshot->parameters, contents[i].targets, contents[i].count, path));
    }
    return DDPM_OK;
}

ddpm_status ddpm_checkpoint_read(const char *folder, struct ddpm_snapshot *snapshot)
{
    json_t *state;
    int64_t step = 0;
    DDPM_TRY(ddpm_checkpoint_read_state(folder, &state));
    ddpm_status status = ddpm_json_get_integer(state, "step", 0, INT32_MAX, &step);
    if (status == DDPM_OK)
        status = ddpm_checkpoint_check_run(state, snapshot);
    if (status == DDPM_OK)
        status = ddpm_checkpoint_check_files(state, folder);
    if (status == DDPM_OK)
        status = read_weights(folder, snapshot);
    json_decref(state);
    snapshot->step = step;
    return status;
}

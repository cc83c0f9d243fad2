/* Checkpoints: `<run>/checkpoints/step-NNNNNN/`, and `latest`, a link to the newest complete one.
 * On a file system without links, `latest` is a text file with its name.
 *
 * A checkpoint is written into a folder with a temporary name. Every file is synced and read back
 * before the folder is renamed. `latest` is replaced by a rename too, and old checkpoints are
 * deleted last. So whatever is killed or full, the checkpoint that `latest` names is complete. */
#define _GNU_SOURCE /* renameat2 */
#include "training/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/file.h"
#include "formats/json.h"
#include "model/model.h"
#include "model/start_files.h"
#include "training/optimizer.h"

int ddpm_state_slabs(const struct ddpm_training_config *config)
{
    return ddpm_second_ema_wanted(config) ? DDPM_MAX_STATE_SLABS : DDPM_SLAB_SECOND_EMA;
}

size_t ddpm_state_files(const struct ddpm_training_config *config)
{
    return ddpm_second_ema_wanted(config) ? DDPM_CHECKPOINT_MOST_FILES : DDPM_CHECKPOINT_FILE_COUNT;
}

static ddpm_status check_finite(const struct ddpm_run_state *run_state)
{
    static const char *const names[] = {"weights", "EMA weights", "first moments", "second moments",
                                        "second EMA weights"};
    for (int p = 0; p < run_state->player_count; ++p) {
        const struct ddpm_player_state *player = &run_state->players[p];
        for (int i = 0; i < ddpm_state_slabs(&run_state->config->training); ++i)
            for (int64_t k = 0; k < player->parameters->slab_count; ++k)
                if (!isfinite(player->slabs[i][k]))
                    return ddpm_raise(
                        DDPM_ERROR_NOT_FINITE,
                        "step %lld: the %s are not finite, so nothing was saved; the last "
                        "checkpoint is still good. A lower learning rate may help",
                        (long long)run_state->step, names[i]);
    }
    return DDPM_OK;
}

/* The slabs in each of ddpm_checkpoint_files, and the prefix of their tensors. */
static const struct contents {
    int count;
    struct {
        const char *prefix;
        enum ddpm_slab slab;
    } slabs[2];
} contents[DDPM_CHECKPOINT_MOST_FILES] = {
    {1, {{"", DDPM_SLAB_WEIGHTS}}},
    {1, {{"", DDPM_SLAB_EMA}}},
    {2, {{"exp_avg.", DDPM_SLAB_M}, {"exp_avg_sq.", DDPM_SLAB_V}}},
    {1, {{"", DDPM_SLAB_SECOND_EMA}}},
};

/* Write one file, unless it exists, and read it back. */
static ddpm_status put_file(const struct ddpm_run_state *run_state,
                            const struct ddpm_player_state *player, size_t file, const char *folder,
                            bool write)
{
    const struct contents *of = &contents[file];
    struct ddpm_named_slab slabs[2];
    char step[32], path[PATH_MAX];
    snprintf(step, sizeof step, "%lld", (long long)run_state->step);
    const struct ddpm_safetensors_text metadata[] = {{"ddpm_version", ddpm_version()},
                                                     {"step", step}};
    for (int k = 0; k < of->count; ++k)
        slabs[k] = (struct ddpm_named_slab){of->slabs[k].prefix, player->slabs[of->slabs[k].slab]};
    DDPM_TRY(ddpm_checkpoint_file_path(path, folder, player->name, file));
    if (write)
        DDPM_TRY(ddpm_slabs_write(player->parameters, slabs, (size_t)of->count, path, metadata, 2));
    return ddpm_slabs_compare(player->parameters, slabs, (size_t)of->count, path);
}

static ddpm_status put_weights(const struct ddpm_run_state *run_state, const char *folder,
                               bool write)
{
    for (int p = 0; p < run_state->player_count; ++p)
        for (size_t file = 0; file < ddpm_state_files(&run_state->config->training); ++file)
            DDPM_TRY(put_file(run_state, &run_state->players[p], file, folder, write));
    return DDPM_OK;
}

static ddpm_status put_start(const struct ddpm_run_state *run_state, const char *folder)
{
    char path[PATH_MAX];
    if (!run_state->start)
        return DDPM_OK;
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/" DDPM_START_FILE, folder));
    return ddpm_start_write(run_state->start, path);
}

static ddpm_status write_folder(const struct ddpm_run_state *run_state, const char *folder)
{
    char *config_path;
    DDPM_TRY(ddpm_directory_create(folder));
    DDPM_TRY(put_weights(run_state, folder, true));
    DDPM_TRY(put_start(run_state, folder));
    DDPM_TRY(ddpm_path_join(&config_path, folder, "config.json"));
    ddpm_status status = ddpm_config_write(run_state->config, config_path);
    free(config_path);
    DDPM_TRY(status);
    return ddpm_checkpoint_write_state(run_state, folder);
}

/* If a copy of a run followed the links, latest and best are real folders. Move one out of the
 * way: to the name of its own step if that is free, else to a temporary name that remove_old()
 * deletes. */
static ddpm_status clear_pointer(const char *checkpoints, const char *pointer)
{
    char aside[PATH_MAX];
    struct stat about;
    json_t *state;
    int64_t step = -1;
    if (lstat(pointer, &about) != 0 || !S_ISDIR(about.st_mode))
        return DDPM_OK;
    if (ddpm_checkpoint_read_state(pointer, &state) == DDPM_OK) {
        (void)ddpm_json_get_integer(state, "step", 0, INT64_MAX, &step);
        json_decref(state);
    }
    DDPM_TRY(ddpm_path_format(aside, sizeof aside, "%s/step-%06lld", checkpoints, (long long)step));
    if (step < 0 || ddpm_path_exists(aside))
        DDPM_TRY(ddpm_path_format(aside, sizeof aside,
                                  "%s/" DDPM_CHECKPOINT_TEMPORARY "pointer-%ld-replaced",
                                  checkpoints, (long)getpid()));
    DDPM_TRY(ddpm_directory_remove(aside)); /* left by a killed run with this process number */
    if (rename(pointer, aside) != 0)
        return ddpm_raise_errno("%s: got a folder, which cannot be renamed to %s", pointer, aside);
    return DDPM_OK;
}

/* Make a link by a rename; false, with errno, if that fails. */
static bool link_pointer(const char *pointer, const char *temporary, const char *name)
{
    (void)unlink(temporary);
    if (symlink(name, temporary) != 0)
        return false;
    if (rename(temporary, pointer) == 0)
        return true;
    const int error = errno;
    (void)unlink(temporary);
    errno = error;
    return false;
}

/* Make `which`, latest or best, name this checkpoint. */
static ddpm_status point(const char *checkpoints, const char *which, const char *name)
{
    char pointer[PATH_MAX], temporary[PATH_MAX], line[64];
    DDPM_TRY(ddpm_path_format(pointer, sizeof pointer, "%s/%s", checkpoints, which));
    DDPM_TRY(ddpm_path_format(temporary, sizeof temporary, "%s/" DDPM_CHECKPOINT_TEMPORARY "%s-%ld",
                              checkpoints, which, (long)getpid()));
    DDPM_TRY(clear_pointer(checkpoints, pointer));
    if (link_pointer(pointer, temporary, name))
        return ddpm_directory_sync(checkpoints);
    if (errno == ENOSPC || errno == EDQUOT || errno == EROFS)
        return ddpm_raise_errno("%s: cannot make it point at %s", pointer, name);
    /* Writing through an existing link would overwrite its target. */
    struct stat about;
    if (lstat(pointer, &about) == 0 && S_ISLNK(about.st_mode) && unlink(pointer) != 0)
        return ddpm_raise_errno("%s: cannot be replaced", pointer);
    snprintf(line, sizeof line, "%s\n", name);
    return ddpm_file_write_whole(pointer, line, strlen(line));
}

static int by_step(const void *a, const void *b)
{
    const int64_t x = ddpm_checkpoint_number(*(char *const *)a);
    const int64_t y = ddpm_checkpoint_number(*(char *const *)b);
    return x < y ? -1 : x > y;
}

/* Delete what killed runs left behind, and all checkpoints but the newest `keep` and the one that
 * `best` names. `current`, the one just written, stays even if there are later steps (when a run
 * was resumed from an earlier one), because `latest` names it. Failing to delete something is
 * only a warning: the new checkpoint is already safe. */
static ddpm_status remove_old(const char *checkpoints, int64_t keep, const char *current)
{
    char **names, best[DDPM_CHECKPOINT_NAME_BYTES];
    size_t count, kept_count = 0;
    ddpm_status status = DDPM_OK;
    ddpm_checkpoint_pointed(checkpoints, "best", best);
    DDPM_TRY(ddpm_directory_list(&names, &count, checkpoints));
    for (size_t i = 0; i < count; ++i)
        kept_count += ddpm_checkpoint_number(names[i]) >= 0;
    qsort(names, count, sizeof *names, by_step);
    for (size_t i = 0; i < count && status != DDPM_ERROR_MEMORY; ++i) {
        const bool is_checkpoint = ddpm_checkpoint_number(names[i]) >= 0;
        const bool too_old = is_checkpoint && keep > 0 && kept_count > (size_t)keep &&
                             strcmp(names[i], current) != 0;
        char path[PATH_MAX];
        if (!ddpm_checkpoint_is_leftover(names[i]) && !too_old)
            continue;
        kept_count -= is_checkpoint;
        if (strcmp(names[i], best) == 0)
            continue;
        status = ddpm_path_format(path, sizeof path, "%s/%s", checkpoints, names[i]);
        if (status == DDPM_OK)
            status = ddpm_directory_remove(path);
        if (status != DDPM_OK)
            ddpm_log(DDPM_LOG_WARNING, "%s", ddpm_error_message());
    }
    ddpm_names_free(names, count);
    return status == DDPM_ERROR_MEMORY ? status : DDPM_OK;
}

/* Is there already a complete checkpoint of this exact state (saved before a kill)? */
static bool is_saved(const struct ddpm_run_state *run_state, const char *folder)
{
    json_t *state;
    if (!ddpm_path_exists(folder) || ddpm_checkpoint_read_state(folder, &state) != DDPM_OK)
        return false;
    bool saved = ddpm_checkpoint_check_files(state, folder) == DDPM_OK &&
                 ddpm_checkpoint_check_run(state, folder, run_state) == DDPM_OK &&
                 put_weights(run_state, folder, false) == DDPM_OK;
    json_decref(state);
    return saved;
}

/* Give the folder its final name. If another state's folder has that name, and `latest` may name
 * it, exchange the two; on a file system without exchange, move it aside for a moment. Either way
 * remove_old() deletes it. */
static ddpm_status rename_into_place(const char *temporary, const char *folder)
{
    char aside[PATH_MAX];
    if (!ddpm_path_exists(folder))
        return ddpm_directory_publish(temporary, folder);
    DDPM_TRY(ddpm_directory_sync(temporary));
#ifdef RENAME_EXCHANGE
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, folder, RENAME_EXCHANGE) == 0)
        return DDPM_OK; /* point() syncs the parent */
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

static ddpm_status publish(const struct ddpm_run_state *run_state, const char *checkpoints,
                           const char *name)
{
    char folder[PATH_MAX], temporary[PATH_MAX];
    DDPM_TRY(ddpm_path_format(folder, sizeof folder, "%s/%s", checkpoints, name));
    DDPM_TRY(ddpm_path_format(temporary, sizeof temporary, "%s/" DDPM_CHECKPOINT_TEMPORARY "%s-%ld",
                              checkpoints, name, (long)getpid()));
    if (is_saved(run_state, folder))
        return DDPM_OK;
    DDPM_TRY(ddpm_directory_remove(temporary));
    ddpm_status status = write_folder(run_state, temporary);
    if (status == DDPM_OK)
        status = rename_into_place(temporary, folder);
    if (status != DDPM_OK) {
        char text[1024];
        snprintf(text, sizeof text, "%s", ddpm_error_message());
        (void)ddpm_directory_remove(temporary); /* report the first failure */
        return ddpm_raise(status, "%s", text);
    }
    return DDPM_OK;
}

ddpm_status ddpm_checkpoint_write(const struct ddpm_run_state *run_state, const char *run)
{
    char checkpoints[PATH_MAX], name[48];
    snprintf(name, sizeof name, "step-%06lld", (long long)run_state->step);
    DDPM_TRY(ddpm_path_format(checkpoints, sizeof checkpoints, "%s/checkpoints", run));
    DDPM_TRY(check_finite(run_state));
    DDPM_TRY(ddpm_directory_create(checkpoints));
    DDPM_TRY(publish(run_state, checkpoints, name));
    if (run_state->best) /* before `latest`: if the run is killed in between, it repeats this step
                          */
        DDPM_TRY(point(checkpoints, "best", name));
    DDPM_TRY(point(checkpoints, "latest", name));
    return remove_old(checkpoints, run_state->config->training.keep, name);
}

static ddpm_status read_file(const char *folder, const struct ddpm_player_state *player,
                             size_t file)
{
    const struct contents *of = &contents[file];
    struct ddpm_named_target targets[2];
    char path[PATH_MAX];
    for (int k = 0; k < of->count; ++k)
        targets[k] =
            (struct ddpm_named_target){of->slabs[k].prefix, player->slabs[of->slabs[k].slab]};
    DDPM_TRY(ddpm_checkpoint_file_path(path, folder, player->name, file));
    return ddpm_slabs_read(player->parameters, targets, (size_t)of->count, path);
}

static ddpm_status read_weights(const char *folder, const struct ddpm_run_state *run_state)
{
    for (int p = 0; p < run_state->player_count; ++p)
        for (size_t file = 0; file < ddpm_state_files(&run_state->config->training); ++file)
            DDPM_TRY(read_file(folder, &run_state->players[p], file));
    return DDPM_OK;
}

ddpm_status ddpm_checkpoint_read(const char *folder, struct ddpm_run_state *run_state)
{
    json_t *state;
    int64_t step = 0;
    DDPM_TRY(ddpm_checkpoint_read_state(folder, &state));
    ddpm_status status = ddpm_json_get_integer(state, "step", 0, INT32_MAX, &step);
    if (status == DDPM_OK)
        status = ddpm_checkpoint_check_run(state, folder, run_state);
    if (status == DDPM_OK)
        status = ddpm_checkpoint_check_files(state, folder);
    if (status == DDPM_OK)
        status = read_weights(folder, run_state);
    json_decref(state);
    run_state->step = step;
    return status;
}

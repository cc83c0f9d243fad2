/* The folder of a run before its first step. */
#include "run_folder.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config_json.h"
#include "config/validation.h"
#include "core/memory.h"
#include "formats/file.h"
#include "formats/json.h"
#include "model/checkpoint_find.h"
#include "program.h"
#include "streams.h"

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Does `ours` accept every name in RUN/`inside` (or in RUN itself)? */
static ddpm_status all_ours(const char *run, const char *inside, bool (*ours)(const char *name),
                            bool *all)
{
    char path[PATH_MAX], **names;
    size_t count;
    *all = true;
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/%s", run, inside));
    if (!ddpm_path_is_directory(path))
        return DDPM_OK;
    DDPM_TRY(ddpm_directory_list(&names, &count, path));
    for (size_t i = 0; i < count; ++i)
        *all = *all && ours(names[i]);
    ddpm_names_free(names, count);
    return DDPM_OK;
}

static bool is_half_file(const char *name)
{
    return begins(name, "config.json.tmp-") || begins(name, "hashes.npy.tmp-");
}

static bool is_part_of_run(const char *name)
{
    static const char *const whole[] = {"config.json", "log.csv",    "samples",
                                        "checkpoints", "hashes.npy", "validation.csv"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; ++i)
        if (strcmp(name, whole[i]) == 0)
            return true;
    return begins(name, ".lock") || is_half_file(name);
}

static bool is_sample(const char *name)
{
    return begins(name, "step-") && strstr(name, ".png");
}

/* Was this config.json written by ddpm train and not by the user? A missing one could be either. */
static bool is_own_config(const char *run)
{
    char path[PATH_MAX];
    json_t *root;
    const char *version;
    if (ddpm_path_format(path, sizeof path, "%s/config.json", run) != DDPM_OK)
        return false;
    if (!ddpm_path_exists(path))
        return true;
    if (ddpm_json_read(&root, path) != DDPM_OK)
        return false;
    const bool own = ddpm_json_get_string(root, "ddpm_version", &version) == DDPM_OK;
    json_decref(root);
    return own;
}

/* Is this the folder of a run that was killed before its first checkpoint? */
static ddpm_status check_unfinished(const char *path, bool *unfinished)
{
    static const struct {
        const char *inside;
        bool (*ours)(const char *name);
    } parts[] = {{".", is_part_of_run},
                 {"samples", is_sample},
                 {"checkpoints", ddpm_checkpoint_is_leftover}};
    char log[PATH_MAX];
    DDPM_TRY(ddpm_path_format(log, sizeof log, "%s/log.csv", path));
    *unfinished = ddpm_path_exists(log) && is_own_config(path);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && *unfinished; ++i)
        DDPM_TRY(all_ours(path, parts[i].inside, parts[i].ours, unfinished));
    return DDPM_OK;
}

/* Could --resume continue it? */
static bool is_run(const char *path)
{
    return ddpm_folder_has(path, "checkpoints") ||
           (ddpm_folder_has(path, "config.json") && ddpm_folder_has(path, "log.csv"));
}

ddpm_status ddpm_run_folder_check_new(const char *path, bool *again)
{
    bool empty;
    *again = false;
    if (!ddpm_path_exists(path))
        return DDPM_OK;
    DDPM_TRY(ddpm_directory_is_empty(path, &empty));
    if (empty)
        return DDPM_OK;
    DDPM_TRY(check_unfinished(path, again));
    if (*again)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_IO,
                      is_run(path)
                          ? "%s: this folder is not empty; --resume continues the run in "
                            "it, a new run needs another folder"
                          : "%s: this folder is not empty, and what it has is not a run; a "
                            "new run needs another folder",
                      path);
}

ddpm_status ddpm_run_folder_checkpoint(const char *path, char *folder, size_t bytes)
{
    bool any;
    DDPM_TRY(ddpm_checkpoint_any(path, &any));
    if (any)
        return ddpm_checkpoint_find(path, folder, bytes);
    return ddpm_raise(
        DDPM_ERROR_IO,
        "%s: this run has no checkpoint to resume from; run the same command without --resume to "
        "start over",
        path);
}

ddpm_status ddpm_run_folder_check_steps(const char *path, int64_t steps, int64_t done)
{
    if (steps >= done)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option --steps: got %" PRId64 ", want at least %" PRId64
                      ", the steps that %s has already done; --steps %" PRId64 " trains %" PRId64
                      " more (nothing was changed)",
                      steps, done, path, done + steps, steps);
}

ddpm_status ddpm_run_folder_check_latest(const char *path, int64_t steps)
{
    char latest[PATH_MAX];
    if (ddpm_path_format(latest, sizeof latest, "%s/checkpoints/latest", path) != DDPM_OK)
        return DDPM_OK;
    return ddpm_run_folder_check_steps(path, steps, ddpm_step_of(latest));
}

/* Is it a path relative to the working directory? The value of option validation may be a word
 * instead. */
static ddpm_status read_relative(const struct ddpm_config *config, const char *option, char *path,
                                 size_t bytes, bool *relative)
{
    struct ddpm_validation_choice choice = {.kind = DDPM_VALIDATION_PICTURES};
    DDPM_TRY(ddpm_config_get(config, option, path, bytes));
    if (strcmp(option, "validation") == 0)
        DDPM_TRY(ddpm_validation_parse(path, &choice));
    *relative = choice.kind == DDPM_VALIDATION_PICTURES && path[0] && path[0] != '/';
    return DDPM_OK;
}

ddpm_status ddpm_run_folder_settle_path(struct ddpm_config *config, const char *option,
                                        const char *run)
{
    char data[PATH_MAX], here[PATH_MAX], path[PATH_MAX];
    bool relative;
    DDPM_TRY(read_relative(config, option, data, sizeof data, &relative));
    if (!relative)
        return DDPM_OK;
    if (run && !ddpm_path_exists(data))
        return ddpm_raise(DDPM_ERROR_IO,
                          "%s: its pictures are at %s, relative to the folder it was started from; "
                          "run from there, or give --%s",
                          run, data, option);
    const char *below = data;
    while (begins(below, "./"))
        below += 2 + strspn(below + 2, "/");
    if (strcmp(below, ".") == 0)
        below = "";
    if (!getcwd(here, sizeof here) || !ddpm_json_is_text(here) ||
        ddpm_path_format(path, sizeof path, "%s%s%s", strcmp(here, "/") == 0 ? "" : here,
                         *below ? "/" : "", below) != DDPM_OK ||
        ddpm_config_set(config, option, path) != DDPM_OK)
        ddpm_log(DDPM_LOG_WARNING,
                 "%s stays a relative path, because this folder's path is too long or not UTF-8; "
                 "resume from this folder, or give --%s",
                 data, option);
    return DDPM_OK;
}

ddpm_status ddpm_run_folder_create(const char *path)
{
    char *samples;
    DDPM_TRY(ddpm_path_join(&samples, path, "samples"));
    ddpm_status status = ddpm_directory_create(samples);
    free(samples);
    return status;
}

/* What the file at `path` says about the model that the run started from; NULL: nothing. */
static ddpm_status read_start(const char *path, json_t **out)
{
    json_t *root;
    *out = NULL;
    if (!ddpm_path_exists(path))
        return DDPM_OK;
    DDPM_TRY(ddpm_json_read(&root, path));
    *out = json_incref(json_object_get(root, "starts_from"));
    json_decref(root);
    return DDPM_OK;
}

ddpm_status ddpm_run_folder_print_start(const char *path)
{
    json_t *start;
    DDPM_TRY(read_start(path, &start));
    if (json_string_value(start))
        ddpm_print_text("starts from ", json_string_value(start), "\n");
    json_decref(start);
    return DDPM_OK;
}

/* Note which model the run started from; NULL: what the `old` file says. */
static ddpm_status put_start(json_t *root, const char *model, const char *old)
{
    json_t *start;
    if (model) /* a path that is not UTF-8 is not worth a failure */
        return *model && ddpm_json_is_text(model) ? ddpm_json_put_text(root, "starts_from", model)
                                                  : DDPM_OK;
    DDPM_TRY(read_start(old, &start));
    return start ? ddpm_json_put(root, "starts_from", start) : DDPM_OK;
}

static ddpm_status put_notes(json_t *root, json_t *places, uint64_t fingerprint)
{
    char text[24];
    snprintf(text, sizeof text, "%016" PRIx64, fingerprint);
    DDPM_TRY(ddpm_json_put_text(root, "ddpm_version", ddpm_version()));
    DDPM_TRY(ddpm_json_put_text(root, "data_fingerprint", text));
    return ddpm_json_put(root, "last_start", json_incref(places));
}

ddpm_status ddpm_run_folder_write_config(const char *path, const struct ddpm_config *config,
                                         const char *model, json_t *places, uint64_t fingerprint)
{
    char *file;
    json_t *root = NULL;
    DDPM_TRY(ddpm_path_join(&file, path, "config.json"));
    ddpm_status status = ddpm_config_to_json(config, &root);
    if (status == DDPM_OK)
        status = put_start(root, model, file);
    if (status == DDPM_OK)
        status = put_notes(root, places, fingerprint);
    if (status == DDPM_OK)
        status = ddpm_json_write(file, root, DDPM_JSON_INSERTION_ORDER);
    json_decref(root);
    free(file);
    return status;
}

static bool is_half_sample(const char *name)
{
    return is_sample(name) && strstr(name, ".tmp-");
}

/* The step of a grid's name "step-NNNNNN.png", or -1 for any other name. */
static int64_t step_of_sample(const char *name)
{
    char stem[32];
    const char *ending = strrchr(name, '.');
    if (!ending || strcmp(ending, ".png") != 0 || ending - name >= (ptrdiff_t)sizeof stem)
        return -1;
    snprintf(stem, sizeof stem, "%.*s", (int)(ending - name), name);
    return ddpm_checkpoint_number(stem);
}

/* Remove what `matches`, and grids of steps after `last`. */
static void remove_matching(const char *run, const char *inside, bool (*matches)(const char *name),
                            int64_t last)
{
    char folder[PATH_MAX], path[PATH_MAX], **names;
    size_t count;
    if (ddpm_path_format(folder, sizeof folder, "%s/%s", run, inside) != DDPM_OK ||
        !ddpm_path_is_directory(folder) || ddpm_directory_list(&names, &count, folder) != DDPM_OK)
        return;
    for (size_t i = 0; i < count; ++i)
        if ((matches(names[i]) || step_of_sample(names[i]) > last) &&
            (ddpm_path_format(path, sizeof path, "%s/%s", folder, names[i]) != DDPM_OK ||
             ddpm_directory_remove(path) != DDPM_OK))
            ddpm_log(DDPM_LOG_WARNING, "%s", ddpm_error_message());
    ddpm_names_free(names, count);
}

void ddpm_run_folder_clean(const char *path, const char *checkpoint, int64_t step, bool samples)
{
    if (samples)
        ddpm_log(DDPM_LOG_INFO, "%s has no checkpoint yet; starting over", path);
    remove_matching(path, ".", is_half_file, INT64_MAX);
    remove_matching(path, "samples", samples ? is_sample : is_half_sample, step);
    /* The checkpoint to resume from stays until the next is complete (training/checkpoint.c). */
    if (!strstr(checkpoint, "/" DDPM_CHECKPOINT_TEMPORARY))
        remove_matching(path, "checkpoints", ddpm_checkpoint_is_leftover, INT64_MAX);
}

/* Can symbolic links be made? If they cannot, a text file takes their place, and the run says so
 * now. */
static ddpm_status probe_link(const char *path)
{
    char link[PATH_MAX];
    DDPM_TRY(ddpm_path_format(link, sizeof link,
                              "%s/checkpoints/" DDPM_CHECKPOINT_TEMPORARY "latest-%ld", path,
                              (long)getpid()));
    if (symlink("step-000000", link) != 0)
        ddpm_log(DDPM_LOG_INFO,
                 "%s: no symbolic links on this file system (%s); checkpoints/latest will be a "
                 "text file",
                 path, strerror(errno));
    (void)unlink(link);
    return DDPM_OK;
}

static ddpm_status write_probe(const char *folder, const char *renamed)
{
    char file[PATH_MAX];
    DDPM_TRY(ddpm_path_format(file, sizeof file, "%s/%s", folder, ddpm_checkpoint_files[2]));
    DDPM_TRY(ddpm_directory_create(folder));
    DDPM_TRY(ddpm_file_write_whole(file, "probe\n", 6));
    return ddpm_directory_publish(folder, renamed);
}

ddpm_status ddpm_run_folder_probe(const char *path, int64_t step)
{
    char folder[PATH_MAX], renamed[PATH_MAX];
    ddpm_status status = ddpm_path_format(
        folder, sizeof folder, "%s/checkpoints/" DDPM_CHECKPOINT_TEMPORARY "step-%06lld-%ld", path,
        (long long)step, (long)getpid());
    if (status == DDPM_OK)
        status = ddpm_path_format(renamed, sizeof renamed, "%s-replaced", folder);
    if (status == DDPM_OK) {
        status = write_probe(folder, renamed);
        char text[1024];
        snprintf(text, sizeof text, "%s", ddpm_error_message());
        (void)ddpm_directory_remove(folder);
        (void)ddpm_directory_remove(renamed);
        if (status != DDPM_OK)
            ddpm_raise(status, "%s", text);
    }
    if (status != DDPM_OK)
        return ddpm_raise_context(status, "%.200s cannot hold checkpoints: ", path);
    return probe_link(path);
}

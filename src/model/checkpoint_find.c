/* Finding a run's newest checkpoint, even if `latest` is not a link: some file systems have no
 * links, and some copies follow links, turn them into text or drop them. */
#include "model/checkpoint_find.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "formats/checksum.h"
#include "formats/file.h"
#include "formats/json.h"

const char *const ddpm_checkpoint_files[DDPM_CHECKPOINT_MOST_FILES] = {
    "model.safetensors", "ema.safetensors", "optimizer.safetensors", "ema-second.safetensors"};

/* The name in a text file `latest` must be shorter than this. */
enum { NAME_BYTES = DDPM_CHECKPOINT_NAME_BYTES };

struct candidate {
    int rank; /* 2: named by a text file `latest`, 1: others, 0: temporary name */
    int64_t step;
    const char *name;
};

bool ddpm_checkpoint_is_leftover(const char *name)
{
    return strncmp(name, DDPM_CHECKPOINT_TEMPORARY, strlen(DDPM_CHECKPOINT_TEMPORARY)) == 0 ||
           strncmp(name, "latest.tmp-", 11) == 0 || strncmp(name, "best.tmp-", 9) == 0;
}

int64_t ddpm_checkpoint_number(const char *name)
{
    int64_t number = 0;
    if (strncmp(name, "step-", 5) != 0 || !name[5])
        return -1;
    for (const char *at = name + 5; *at; ++at)
        if (*at < '0' || *at > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, *at - '0', &number))
            return -1;
    return number;
}

/* Resolve to the folder itself: `latest` may change meanwhile, and all files must be from the same
 * checkpoint. */
static ddpm_status settle(const char *path, char *folder, size_t bytes)
{
    char *real = realpath(path, NULL);
    if (!real &&
        errno == ENAMETOOLONG) /* the working directory is too deep; `path` may still work */
        return ddpm_path_format(folder, bytes, "%s", path);
    if (!real)
        return ddpm_raise_errno("%s: cannot be found", path);
    ddpm_status status = ddpm_path_format(folder, bytes, "%s", real);
    free(real);
    return status;
}

static ddpm_status check_whole(const char *folder, int64_t *step)
{
    json_t *state;
    char *path;
    DDPM_TRY(ddpm_path_join(&path, folder, "state.json"));
    ddpm_status status = ddpm_json_read(&state, path);
    free(path);
    DDPM_TRY(status);
    status = ddpm_json_get_integer(state, "step", 0, INT64_MAX, step);
    const json_t *files = json_object_get(state, "files");
    for (size_t i = 0; i < DDPM_CHECKPOINT_MOST_FILES && status == DDPM_OK; ++i)
        if (i < DDPM_CHECKPOINT_FILE_COUNT || json_object_get(files, ddpm_checkpoint_files[i]))
            status = ddpm_file_check(state, folder, ddpm_checkpoint_files[i]);
    json_decref(state);
    return status;
}

/* The checkpoint's name in a text file; "" for any other content. */
static void read_name(const char *path, char name[NAME_BYTES])
{
    void *text;
    size_t bytes;
    struct stat about;
    name[0] = 0;
    if (stat(path, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size >= NAME_BYTES)
        return;
    if (ddpm_file_read_whole(&text, &bytes, path, NAME_BYTES - 1) != DDPM_OK)
        return;
    memcpy(name, text, bytes);
    name[bytes] = 0;
    name[strcspn(name, "\r\n")] = 0;
    if (ddpm_checkpoint_number(name) < 0)
        name[0] = 0;
    free(text);
}

void ddpm_checkpoint_pointed(const char *checkpoints, const char *pointer, char name[NAME_BYTES])
{
    char path[PATH_MAX], target[NAME_BYTES];
    name[0] = 0;
    if (ddpm_path_format(path, sizeof path, "%s/%s", checkpoints, pointer) != DDPM_OK)
        return;
    const ssize_t bytes = readlink(path, target, sizeof target);
    if (bytes < 0) {
        read_name(path, name);
    } else if (bytes < (ssize_t)sizeof target) {
        memcpy(name, target, (size_t)bytes);
        name[bytes] = 0;
    }
    if (ddpm_checkpoint_number(name) < 0)
        name[0] = 0;
}

/* A folder `latest` comes from a copy that followed the link. It is a checkpoint like the others;
 * its step is in its state.json. */
static int64_t step_of_folder(const char *path)
{
    json_t *state;
    char *file;
    int64_t step = 0;
    if (!ddpm_path_is_directory(path) || ddpm_path_join(&file, path, "state.json") != DDPM_OK)
        return -1;
    if (ddpm_json_read(&state, file) == DDPM_OK) {
        (void)ddpm_json_get_integer(state, "step", 0, INT64_MAX, &step);
        json_decref(state);
    }
    free(file);
    return step;
}

static int newest_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->rank != y->rank)
        return y->rank - x->rank;
    if (x->step != y->step)
        return x->step < y->step ? 1 : -1;
    return strcmp(y->name, x->name); /* step-… before latest */
}

/* Fill `list` (room for `count`) with possible checkpoints, in the order to try them. */
static size_t sort_candidates(struct candidate *list, char *const *names, size_t count,
                              const char *checkpoints)
{
    char latest[PATH_MAX], preferred[NAME_BYTES] = "";
    size_t found = 0;
    if (ddpm_path_format(latest, sizeof latest, "%s/latest", checkpoints) != DDPM_OK)
        return 0;
    read_name(latest, preferred);
    for (size_t i = 0; i < count; ++i) {
        struct candidate candidate = {1, ddpm_checkpoint_number(names[i]), names[i]};
        if (strcmp(names[i], "latest") == 0)
            candidate.step = step_of_folder(latest);
        else if (strcmp(names[i], preferred) == 0)
            candidate.rank = 2;
        else if (strncmp(names[i], DDPM_CHECKPOINT_TEMPORARY "step-", 10) == 0)
            candidate = (struct candidate){0, strtoll(names[i] + 10, NULL, 10), names[i]};
        if (candidate.step >= 0)
            list[found++] = candidate;
    }
    if (found > 0)
        qsort(list, found, sizeof *list, newest_first);
    return found;
}

/* The first complete one in the list. */
static ddpm_status choose(const struct candidate *list, size_t count, const char *checkpoints,
                          char *folder, size_t bytes)
{
    for (size_t i = 0; i < count; ++i) {
        int64_t step;
        char path[PATH_MAX];
        DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/%s", checkpoints, list[i].name));
        ddpm_status status = check_whole(path, &step);
        if (status == DDPM_OK)
            return settle(path, folder, bytes);
        if (status == DDPM_ERROR_MEMORY)
            return status;
        if (list[i].rank > 0)
            ddpm_log(DDPM_LOG_WARNING, "skipping %s, it is not complete: %s", path,
                     ddpm_error_message());
    }
    return ddpm_raise(DDPM_ERROR_IO, "%s: no complete checkpoint in it", checkpoints);
}

static ddpm_status look(const char *checkpoints, char *folder, size_t bytes)
{
    char **names;
    size_t count;
    struct candidate *list;
    DDPM_TRY(ddpm_directory_list(&names, &count, checkpoints));
    ddpm_status status =
        ddpm_new_array((void **)&list, count + 1, sizeof *list, "a list of checkpoints");
    if (status == DDPM_OK)
        status = choose(list, sort_candidates(list, names, count, checkpoints), checkpoints, folder,
                        bytes);
    free(list);
    ddpm_names_free(names, count);
    return status;
}

bool ddpm_checkpoint_is_run(const char *path)
{
    char checkpoints[PATH_MAX];
    return ddpm_path_format(checkpoints, sizeof checkpoints, "%s/checkpoints", path) == DDPM_OK &&
           ddpm_path_is_directory(checkpoints);
}

ddpm_status ddpm_checkpoint_any(const char *run, bool *any)
{
    char checkpoints[PATH_MAX], **names;
    size_t count;
    *any = false;
    DDPM_TRY(ddpm_path_format(checkpoints, sizeof checkpoints, "%s/checkpoints", run));
    if (!ddpm_path_is_directory(checkpoints))
        return DDPM_OK;
    DDPM_TRY(ddpm_directory_list(&names, &count, checkpoints));
    for (size_t i = 0; i < count; ++i) /* a dangling link is one too: its target was lost */
        *any |= strncmp(names[i], "step-", 5) == 0 || strcmp(names[i], "latest") == 0;
    ddpm_names_free(names, count);
    return DDPM_OK;
}

/* For a text file RUN/checkpoints/latest: the checkpoint that it names. */
static ddpm_status follow_text(const char *path, char *folder, size_t bytes)
{
    char name[NAME_BYTES], beside[PATH_MAX];
    const char *slash = strrchr(path, '/');
    read_name(path, name);
    DDPM_TRY(ddpm_path_format(beside, sizeof beside, "%.*s%s", slash ? (int)(slash + 1 - path) : 0,
                              path, name));
    if (!name[0] || !ddpm_path_is_directory(beside))
        return ddpm_raise(DDPM_ERROR_IO, "%s: got a file, want a run or a checkpoint", path);
    return settle(beside, folder, bytes);
}

ddpm_status ddpm_checkpoint_find(const char *path, char *folder, size_t bytes)
{
    char checkpoints[PATH_MAX], latest[PATH_MAX];
    struct stat about;
    if (!ddpm_path_exists(path))
        return ddpm_raise(DDPM_ERROR_IO, "%s: no such run or checkpoint", path);
    if (!ddpm_path_is_directory(path))
        return follow_text(path, folder, bytes);
    DDPM_TRY(ddpm_path_format(checkpoints, sizeof checkpoints, "%s/checkpoints", path));
    if (!ddpm_path_is_directory(checkpoints))
        return settle(path, folder, bytes);
    DDPM_TRY(ddpm_path_format(latest, sizeof latest, "%s/latest", checkpoints));
    if (lstat(latest, &about) == 0 && S_ISLNK(about.st_mode)) {
        if (ddpm_path_is_directory(latest))
            return settle(latest, folder, bytes);
        ddpm_log(DDPM_LOG_WARNING, "%s leads nowhere; looking for the newest complete checkpoint",
                 latest);
    }
    return look(checkpoints, folder, bytes);
}

/* Recursive scan of a folder of pictures, with a list of folders still to visit instead of
 * recursion. */
#include "data/folder.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/hash.h"
#include "core/memory.h"
#include "core/text.h"
#include "data/endings.h"
#include "data/own_output.h"
#include "formats/file.h"

struct identity {
    dev_t device;
    ino_t inode;
    bool used;
};

/* A hash table, at most half full; a power of two places. */
struct identities {
    struct identity *places;
    size_t count, capacity;
};

struct scan {
    struct ddpm_folder *folder;
    size_t file_capacity;
    char **folders; /* relative paths; those before `next` are done */
    size_t folder_count, folder_capacity, next;
    struct identities seen; /* of the folders in the list */
    char *own;              /* the first folder that ddpm itself wrote, and how many there are */
    size_t own_count;
    struct ddpm_endings ignored;
};

/* Takes ownership of `name`. */
static ddpm_status add_file(struct scan *scan, char *name, int64_t bytes)
{
    struct ddpm_folder *folder = scan->folder;
    ddpm_status status =
        ddpm_grow_array((void **)&folder->files, &scan->file_capacity, folder->count + 1,
                        sizeof *folder->files, "a list of pictures");
    if (status != DDPM_OK) {
        free(name);
        return status;
    }
    folder->files[folder->count++] = (struct ddpm_folder_file){name, bytes};
    return DDPM_OK;
}

/* Where this identity is in the table, or the empty place for it. */
static struct identity *place_of(const struct identities *table, dev_t device, ino_t inode)
{
    const uint64_t hash = ((uint64_t)inode + (uint64_t)device) * 0x9E3779B97F4A7C15u;
    size_t at = (size_t)(hash >> 32) & (table->capacity - 1);
    while (table->places[at].used &&
           (table->places[at].device != device || table->places[at].inode != inode))
        at = (at + 1) & (table->capacity - 1);
    return &table->places[at];
}

static ddpm_status make_room(struct identities *table)
{
    struct identities larger = {.count = table->count,
                                .capacity = table->capacity ? 2 * table->capacity : 64};
    if (2 * (table->count + 1) <= table->capacity)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&larger.places, larger.capacity, sizeof *larger.places,
                            "a list of folders"));
    for (size_t i = 0; i < table->capacity; ++i) {
        const struct identity *old = &table->places[i];
        if (old->used)
            *place_of(&larger, old->device, old->inode) = *old;
    }
    free(table->places);
    *table = larger;
    return DDPM_OK;
}

/* Takes ownership of `name`. Skips a folder that is in the list already. */
static ddpm_status add_folder(struct scan *scan, char *name, const struct stat *about)
{
    ddpm_status status = DDPM_OK;
    DDPM_TRY_GOTO(fail, make_room(&scan->seen));
    struct identity *place = place_of(&scan->seen, about->st_dev, about->st_ino);
    if (place->used) {
        free(name);
        return DDPM_OK;
    }
    DDPM_TRY_GOTO(fail, ddpm_grow_array((void **)&scan->folders, &scan->folder_capacity,
                                        scan->folder_count + 1, sizeof *scan->folders,
                                        "a list of folders"));
    *place = (struct identity){about->st_dev, about->st_ino, true};
    ++scan->seen.count;
    scan->folders[scan->folder_count++] = name;
    return DDPM_OK;
fail:
    free(name);
    return status;
}

static void skip(struct scan *scan, const char *path, const char *reason)
{
    ++scan->folder->unreadable;
    ddpm_log(DDPM_LOG_WARNING, "%s: skipped: %s", path, reason);
}

static ddpm_status visit_entry(struct scan *scan, const char *inside, const char *entry)
{
    char *name = NULL, *path = NULL;
    struct stat about;
    if (entry[0] == '.')
        return DDPM_OK;
    DDPM_TRY(ddpm_path_join(&name, inside, entry));
    ddpm_status status = ddpm_path_join(&path, scan->folder->path, name);
    if (status != DDPM_OK) {
        free(name);
        return status;
    }
    if (stat(path, &about) != 0) {
        if (ddpm_is_picture_name(entry))
            skip(scan, path, "a link to nothing, or no permission");
        free(name);
    } else if (S_ISDIR(about.st_mode)) {
        status = add_folder(scan, name, &about);
    } else if (S_ISREG(about.st_mode) && ddpm_is_picture_name(entry)) {
        status = add_file(scan, name, (int64_t)about.st_size);
    } else {
        if (S_ISREG(about.st_mode))
            ddpm_endings_count(&scan->ignored, entry);
        free(name);
    }
    free(path);
    return status;
}

/* Skip runs and drawn pictures among the training pictures. Otherwise the next run would learn from
 * what the last one drew, and a run inside its own picture folder could not be resumed. The top
 * folder is never skipped: the user asked for it. */
static ddpm_status leave_out(struct scan *scan, const char *path)
{
    return scan->own_count++ > 0 ? DDPM_OK : ddpm_copy_string(&scan->own, path);
}

static void say_what_is_left_out(const struct scan *scan)
{
    char more[48] = "";
    if (scan->own_count > 1)
        snprintf(more, sizeof more, " and %zu more", scan->own_count - 1);
    if (scan->own)
        ddpm_log(DDPM_LOG_INFO, "not used as pictures, because ddpm wrote it: %s%s", scan->own,
                 more);
}

/* Scan the next folder in the list. Only the first, the top folder, must be readable. */
static ddpm_status visit_folder(struct scan *scan)
{
    size_t index = scan->next++;
    char *path = NULL, **entries = NULL;
    size_t count = 0;
    ddpm_status status = index == 0
                             ? ddpm_copy_string(&path, scan->folder->path)
                             : ddpm_path_join(&path, scan->folder->path, scan->folders[index]);
    if (status != DDPM_OK)
        return status;
    status = ddpm_directory_list(&entries, &count, path);
    if (status == DDPM_ERROR_IO && index > 0) {
        skip(scan, path, ddpm_error_message());
        status = DDPM_OK;
    }
    const bool own = status == DDPM_OK && index > 0 && ddpm_is_own_output(path, entries, count);
    if (own)
        status = leave_out(scan, path);
    for (size_t i = 0; i < count && status == DDPM_OK && !own; ++i)
        status = visit_entry(scan, scan->folders[index], entries[i]);
    ddpm_names_free(entries, count);
    free(path);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ddpm_folder_file *)a)->name,
                  ((const struct ddpm_folder_file *)b)->name);
}

static void finish(struct ddpm_folder *folder)
{
    if (folder->count > 1)
        qsort(folder->files, folder->count, sizeof *folder->files, by_name);
    folder->fingerprint = DDPM_FNV64_START;
    for (size_t i = 0; i < folder->count; ++i) {
        const struct ddpm_folder_file *file = &folder->files[i];
        uint8_t size[8];
        for (int k = 0; k < 8; ++k)
            size[k] = (uint8_t)((uint64_t)file->bytes >> 8 * k);
        folder->fingerprint = ddpm_fnv64(folder->fingerprint, file->name, strlen(file->name) + 1);
        folder->fingerprint = ddpm_fnv64(folder->fingerprint, size, sizeof size);
    }
}

static void log_ignored(const struct scan *scan)
{
    char text[512];
    if (scan->ignored.count > 0)
        ddpm_log(DDPM_LOG_INFO, "%s: ignored: %s", scan->folder->path,
                 ddpm_endings_text(&scan->ignored, text, sizeof text));
}

ddpm_status ddpm_folder_scan(struct ddpm_folder *folder, const char *path)
{
    struct scan scan = {.folder = folder};
    struct stat about;
    char *root = NULL;
    ddpm_status status = DDPM_OK;
    memset(folder, 0, sizeof *folder);
    DDPM_TRY_GOTO(done, ddpm_copy_string(&folder->path, path));
    if (stat(path, &about) != 0)
        DDPM_TRY_GOTO(done, ddpm_raise_errno("%s: cannot read the folder of pictures", path));
    DDPM_TRY_GOTO(done, ddpm_copy_string(&root, ""));
    DDPM_TRY_GOTO(done, add_folder(&scan, root, &about));
    while (scan.next < scan.folder_count)
        DDPM_TRY_GOTO(done, visit_folder(&scan));
    finish(folder);
    folder->ignored = scan.ignored;
    say_what_is_left_out(&scan);
    log_ignored(&scan);
done:
    free(scan.own);
    for (size_t i = 0; i < scan.folder_count; ++i)
        free(scan.folders[i]);
    free(scan.folders);
    free(scan.seen.places);
    if (status != DDPM_OK)
        ddpm_folder_free(folder);
    return status;
}

void ddpm_folder_free(struct ddpm_folder *folder)
{
    for (size_t i = 0; i < folder->count; ++i)
        free(folder->files[i].name);
    free(folder->files);
    free(folder->path);
    memset(folder, 0, sizeof *folder);
}

ddpm_status ddpm_folder_file_path(const struct ddpm_folder *folder, size_t index, char **out)
{
    return ddpm_path_join(out, folder->path, folder->files[index].name);
}

/* Atomic writes: write a temporary file in the same folder, then rename it. */
#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"

#define BUFFER_BYTES ((size_t)1 << 17)

/* Temporary names that are tried before giving up. */
enum { TRIES = 1000 };

struct ddpm_file {
    int descriptor;
    char *path;      /* the final name */
    char *temporary; /* the current name; NULL for a device, which is written in place */
    uint64_t flushed;
    size_t used;
    ddpm_status status; /* the first failure, which sticks */
    uint8_t buffer[BUFFER_BYTES];
};

/* Makes the temporary names of one process distinct. */
static atomic_uint name_counter;

static const char *shown_name(const struct ddpm_file *file)
{
    return file->temporary ? file->temporary : file->path;
}

/* The path after following symbolic links, or the path itself if it does not exist yet. */
static ddpm_status resolve(char **out, const char *path)
{
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
        char *target = realpath(path, NULL);
        if (!target)
            return ddpm_raise_errno("cannot follow the symbolic link %s", path);
        *out = target;
        return DDPM_OK;
    }
    return ddpm_copy_string(out, path);
}

static void destroy(struct ddpm_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    free(file->path);
    free(file->temporary);
    free(file);
}

/* Create a file under a new name, never an existing one: a killed process with our number may have
 * left it, or another machine may be writing it. */
static ddpm_status open_temporary(struct ddpm_file *file)
{
    for (int tried = 0; tried < TRIES && file->descriptor < 0; ++tried) {
        free(file->temporary);
        file->temporary = NULL;
        DDPM_TRY(ddpm_format(&file->temporary, "%s.tmp-%ld-%u", file->path, (long)getpid(),
                             atomic_fetch_add(&name_counter, 1)));
        file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->descriptor < 0 && errno != EEXIST)
            break;
    }
    return file->descriptor < 0 ? ddpm_raise_errno("cannot write %s", file->path) : DDPM_OK;
}

static ddpm_status open_target(struct ddpm_file *file)
{
    struct stat info;
    bool there = stat(file->path, &info) == 0;
    if (there && S_ISDIR(info.st_mode)) {
        errno = EISDIR;
        return ddpm_raise_errno("cannot write %s", file->path);
    }
    if (!there || S_ISREG(info.st_mode))
        DDPM_TRY(open_temporary(file));
    else
        file->descriptor = open(file->path, O_WRONLY | O_CLOEXEC);
    return file->descriptor < 0 ? ddpm_raise_errno("cannot write %s", file->path) : DDPM_OK;
}

ddpm_status ddpm_file_create(struct ddpm_file **out, const char *path)
{
    *out = NULL;
    if (!path || !*path)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got an empty path, want the name of a file");
    struct ddpm_file *file;
    ddpm_status status;
    DDPM_TRY(DDPM_NEW(&file, "a file being written"));
    file->descriptor = -1;
    DDPM_TRY_GOTO(fail, resolve(&file->path, path));
    DDPM_TRY_GOTO(fail, open_target(file));
    *out = file;
    return DDPM_OK;
fail:
    destroy(file);
    return status;
}

static ddpm_status write_out(struct ddpm_file *file, const uint8_t *data, size_t bytes)
{
    while (bytes) {
        ssize_t wrote = write(file->descriptor, data, bytes);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote == 0)
            errno = ENOSPC;
        if (wrote <= 0)
            return file->status = ddpm_raise_errno("cannot write %s", file->path);
        data += wrote;
        bytes -= (size_t)wrote;
        file->flushed += (uint64_t)wrote;
    }
    return DDPM_OK;
}

static ddpm_status flush(struct ddpm_file *file)
{
    size_t used = file->used;
    file->used = 0;
    return write_out(file, file->buffer, used);
}

static ddpm_status check(const struct ddpm_file *file)
{
    if (file->status == DDPM_OK)
        return DDPM_OK;
    return ddpm_raise(file->status, "%s: an earlier write failed", shown_name(file));
}

ddpm_status ddpm_file_write(struct ddpm_file *file, const void *data, size_t bytes)
{
    DDPM_TRY(check(file));
    if (bytes == 0)
        return DDPM_OK;
    if (bytes > BUFFER_BYTES - file->used)
        DDPM_TRY(flush(file));
    if (bytes >= BUFFER_BYTES)
        return write_out(file, data, bytes);
    memcpy(file->buffer + file->used, data, bytes);
    file->used += bytes;
    return DDPM_OK;
}

ddpm_status ddpm_file_patch(struct ddpm_file *file, uint64_t offset, const void *data, size_t bytes)
{
    uint64_t size = ddpm_file_size(file);
    DDPM_TRY(check(file));
    if (offset > size || bytes > size - offset)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: got a patch of %zu bytes at %llu, want it within %llu bytes",
                          file->path, bytes, (unsigned long long)offset, (unsigned long long)size);
    DDPM_TRY(flush(file));
    const uint8_t *source = data;
    while (bytes) {
        ssize_t wrote = pwrite(file->descriptor, source, bytes, (off_t)offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote == 0)
            errno = ENOSPC;
        if (wrote <= 0)
            return file->status = ddpm_raise_errno("cannot write %s", file->path);
        source += wrote;
        bytes -= (size_t)wrote;
        offset += (uint64_t)wrote;
    }
    return DDPM_OK;
}

uint64_t ddpm_file_size(const struct ddpm_file *file)
{
    return file->flushed + file->used;
}

static ddpm_status sync_descriptor(struct ddpm_file *file)
{
    /* Devices and pipes have nothing to make durable; fsync then fails with one of these. */
    if (!file->temporary && (fsync(file->descriptor) == 0 || errno == EINVAL || errno == EROFS))
        return DDPM_OK;
    return ddpm_file_sync(file->descriptor, shown_name(file));
}

ddpm_status ddpm_file_commit(struct ddpm_file **pointer)
{
    struct ddpm_file *file = *pointer;
    ddpm_status status;
    *pointer = NULL;
    DDPM_TRY_GOTO(fail, check(file));
    DDPM_TRY_GOTO(fail, flush(file));
    DDPM_TRY_GOTO(fail, sync_descriptor(file));
    int descriptor = file->descriptor;
    file->descriptor = -1;
    if (close(descriptor) != 0) {
        status = ddpm_raise_errno("cannot close %s", shown_name(file));
        goto fail;
    }
    if (file->temporary) {
        if (rename(file->temporary, file->path) != 0) {
            status = ddpm_raise_errno("cannot rename %s to %s", file->temporary, file->path);
            goto fail;
        }
        free(file->temporary);
        file->temporary = NULL;
        DDPM_TRY_GOTO(fail, ddpm_directory_sync_parent(file->path));
    }
    destroy(file);
    return DDPM_OK;
fail:
    ddpm_file_abandon(&file);
    return status;
}

void ddpm_file_abandon(struct ddpm_file **pointer)
{
    struct ddpm_file *file = *pointer;
    *pointer = NULL;
    if (!file)
        return;
    if (file->temporary)
        unlink(file->temporary);
    destroy(file);
}

ddpm_status ddpm_file_write_whole(const char *path, const void *data, size_t bytes)
{
    struct ddpm_file *file;
    ddpm_status status;
    DDPM_TRY(ddpm_file_create(&file, path));
    DDPM_TRY_GOTO(fail, ddpm_file_write(file, data, bytes));
    return ddpm_file_commit(&file);
fail:
    ddpm_file_abandon(&file);
    return status;
}

ddpm_status ddpm_directory_publish(const char *temporary, const char *path)
{
    DDPM_TRY(ddpm_directory_sync(temporary));
    if (rename(temporary, path) != 0)
        return ddpm_raise_errno("cannot rename %s to %s", temporary, path);
    return ddpm_directory_sync_parent(path);
}

/* Reading files: whole, mapped, or in pieces. */
#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"

static ddpm_status open_regular(int *descriptor, size_t *bytes, const char *path)
{
    /* O_NONBLOCK: do not wait for a writer when opening a pipe; it is rejected below. */
    *descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*descriptor < 0)
        return ddpm_raise_errno("cannot open %s", path);
    struct stat info;
    ddpm_status status = DDPM_OK;
    if (fstat(*descriptor, &info) != 0)
        status = ddpm_raise_errno("cannot look at %s", path);
    else if (!S_ISREG(info.st_mode))
        status = ddpm_raise(DDPM_ERROR_IO, "%s: got a %s, want a regular file", path,
                            S_ISDIR(info.st_mode) ? "folder" : "device or pipe");
    else
        *bytes = (size_t)info.st_size;
    if (status != DDPM_OK)
        close(*descriptor);
    return status;
}

/* Fill `buffer` from the file. *got is less than `bytes` only at the end of the file. */
static ddpm_status read_all(int descriptor, uint8_t *buffer, size_t bytes, size_t *got,
                            const char *path)
{
    *got = 0;
    while (*got < bytes) {
        ssize_t more = read(descriptor, buffer + *got, bytes - *got);
        if (more < 0 && errno == EINTR)
            continue;
        if (more < 0)
            return ddpm_raise_errno("cannot read %s", path);
        if (more == 0)
            break;
        *got += (size_t)more;
    }
    return DDPM_OK;
}

ddpm_status ddpm_file_read_whole(void **data, size_t *bytes, const char *path, size_t limit)
{
    int descriptor;
    size_t size = 0;
    uint8_t *buffer = NULL;
    *data = NULL;
    *bytes = 0;
    DDPM_TRY(open_regular(&descriptor, &size, path));
    ddpm_status status = size > limit
                             ? ddpm_raise(DDPM_ERROR_FORMAT, "%s: got %zu bytes, want at most %zu",
                                          path, size, limit)
                             : ddpm_new_array((void **)&buffer, size + 1, 1, "a file's content");
    if (status == DDPM_OK)
        status = read_all(descriptor, buffer, size, bytes, path);
    close(descriptor);
    if (status != DDPM_OK) {
        free(buffer);
        return status;
    }
    buffer[*bytes] = 0;
    *data = buffer;
    return DDPM_OK;
}

ddpm_status ddpm_file_reader_open(struct ddpm_file_reader *out, const char *path)
{
    size_t bytes = 0;
    *out = (struct ddpm_file_reader){.descriptor = -1};
    DDPM_TRY(open_regular(&out->descriptor, &bytes, path));
    out->bytes = bytes;
    ddpm_status status = ddpm_copy_string(&out->path, path);
    if (status != DDPM_OK)
        close(out->descriptor);
    return status;
}

ddpm_status ddpm_file_reader_read(const struct ddpm_file_reader *reader, uint64_t offset, void *out,
                                  size_t bytes)
{
    uint8_t *at = out;
    while (bytes) {
        ssize_t got = pread(reader->descriptor, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ddpm_raise_errno("cannot read %s", reader->path);
        if (got == 0)
            return ddpm_raise(
                DDPM_ERROR_IO,
                "%s: got %llu bytes, want %llu: the file was cut short while it was read",
                reader->path, (unsigned long long)offset, (unsigned long long)reader->bytes);
        at += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
    return DDPM_OK;
}

void ddpm_file_reader_close(struct ddpm_file_reader *reader)
{
    close(reader->descriptor);
    free(reader->path);
    *reader = (struct ddpm_file_reader){.descriptor = -1};
}

/* Read the file, for file systems that cannot map. */
static ddpm_status copy_whole(struct ddpm_mapping *out, int descriptor, size_t bytes,
                              const char *path)
{
    DDPM_TRY(ddpm_new_array(&out->copy, bytes, 1, "a file that cannot be mapped"));
    ddpm_status status = read_all(descriptor, out->copy, bytes, &out->bytes, path);
    out->data = out->copy;
    if (status != DDPM_OK)
        ddpm_mapping_close(out);
    return status;
}

ddpm_status ddpm_mapping_open(struct ddpm_mapping *out, const char *path)
{
    static const uint8_t nothing[1];
    int descriptor;
    size_t bytes = 0;
    *out = (struct ddpm_mapping){0};
    DDPM_TRY(open_regular(&descriptor, &bytes, path));
    if (bytes == 0) {
        close(descriptor);
        out->data = nothing;
        return DDPM_OK;
    }
    void *address = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
    ddpm_status status = DDPM_OK;
    if (address != MAP_FAILED)
        *out = (struct ddpm_mapping){.data = address, .bytes = bytes};
    else if (errno == ENOMEM)
        status = ddpm_raise_errno("cannot map %zu bytes of %s", bytes, path);
    else
        status = copy_whole(out, descriptor, bytes, path);
    close(descriptor);
    return status;
}

void ddpm_mapping_forget(const struct ddpm_mapping *mapping, size_t first, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), before = first % page;
    if (bytes && !mapping->copy)
        (void)madvise((void *)(uintptr_t)(mapping->data + first - before), bytes + before,
                      MADV_DONTNEED);
}

void ddpm_mapping_close(struct ddpm_mapping *mapping)
{
    if (mapping->bytes && !mapping->copy)
        munmap((void *)(uintptr_t)mapping->data, mapping->bytes);
    free(mapping->copy);
    *mapping = (struct ddpm_mapping){0};
}

/* Whole files in memory: read, or mapped. */
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
    /* O_NONBLOCK: opening a pipe that nobody writes must fail below, not wait. */
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

/* Fill `buffer` from the file; *got is less than `bytes` only at the end of the file. */
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
    ddpm_status status = address == MAP_FAILED
                             ? ddpm_raise_errno("cannot map %zu bytes of %s", bytes, path)
                             : DDPM_OK;
    close(descriptor);
    if (status == DDPM_OK)
        *out = (struct ddpm_mapping){address, bytes};
    return status;
}

void ddpm_mapping_forget(const struct ddpm_mapping *mapping, size_t first, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), before = first % page;
    if (bytes)
        (void)madvise((void *)(uintptr_t)(mapping->data + first - before), bytes + before,
                      MADV_DONTNEED);
}

void ddpm_mapping_close(struct ddpm_mapping *mapping)
{
    if (mapping->bytes)
        munmap((void *)(uintptr_t)mapping->data, mapping->bytes);
    *mapping = (struct ddpm_mapping){0};
}

/* Pictures from a folder of picture files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/hash.h"
#include "core/memory.h"
#include "data/endings.h"
#include "data/folder.h"
#include "data/source_kinds.h"
#include "formats/file.h"

/* Folders up to this size are decoded while opening: about a second's work. */
enum { VERIFY_COUNT = 2000, VERIFY_BYTES = 64 << 20 };

static bool claims(const char *path)
{
    return ddpm_path_is_directory(path);
}

static ddpm_status open_folder(struct ddpm_source *source)
{
    const struct ddpm_source_options *options = &source->options;
    if (options->channels != 1 && options->channels != 3 && options->channels != 4)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got %d channels, want 1 (grey), 3 (RGB) or 4 (RGBA) for a folder of "
                          "pictures; other numbers need a packed .npy file",
                          options->channels);
    struct ddpm_folder *folder = NULL;
    DDPM_TRY(DDPM_NEW(&folder, "a folder of pictures"));
    source->data = folder;
    DDPM_TRY(ddpm_folder_scan(folder, source->path));
    if (folder->count == 0 && folder->unreadable > 0)
        return ddpm_raise(
            DDPM_ERROR_FORMAT,
            "%s: no pictures found (%zu unreadable folders or links), want files that "
            "end in " DDPM_PICTURE_ENDINGS,
            source->path, folder->unreadable);
    if (folder->count == 0)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: no pictures found, want files that end in " DDPM_PICTURE_ENDINGS,
                          source->path);
    int64_t bytes = 0;
    for (size_t i = 0; i < folder->count; ++i)
        bytes += folder->files[i].bytes;
    source->count = (int64_t)folder->count;
    source->fingerprint = folder->fingerprint;
    source->cacheable = true;
    source->verify_opened = folder->count <= VERIFY_COUNT && bytes <= VERIFY_BYTES;
    return DDPM_OK;
}

static void close_folder(struct ddpm_source *source)
{
    if (source->data)
        ddpm_folder_free(source->data);
    free(source->data);
    source->data = NULL;
}

static const char *name_of(const struct ddpm_source *source, int64_t index, char *buffer,
                           size_t buffer_bytes)
{
    const struct ddpm_folder *folder = source->data;
    (void)buffer;
    (void)buffer_bytes;
    return folder->files[index].name;
}

/* Check that the file starts like a picture. */
static ddpm_status check(const struct ddpm_source *source, int64_t index)
{
    char *path = NULL;
    uint8_t bytes[DDPM_PICTURE_MAGIC_BYTES];
    DDPM_TRY(ddpm_folder_file_path(source->data, (size_t)index, &path));
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = file < 0 ? -1 : read(file, bytes, sizeof bytes);
    ddpm_status status = DDPM_OK;
    if (got < 0)
        status = ddpm_raise_errno("%s: cannot read", path);
    else if (got == 0)
        status = ddpm_raise(DDPM_ERROR_FORMAT, "%s: the file is empty", path);
    else if (!ddpm_picture_format(bytes, (size_t)got))
        status =
            ddpm_raise(DDPM_ERROR_FORMAT,
                       "%s: not a picture: the content is not JPEG, PNG, WebP, TIFF or BMP", path);
    if (file >= 0)
        close(file);
    free(path);
    return status;
}

static ddpm_status read_item(struct ddpm_source_reader *reader, int64_t index,
                             const struct ddpm_random4 *random, uint8_t *out, bool *enlarged)
{
    const struct ddpm_source *source = reader->source;
    const struct ddpm_source_options *options = &source->options;
    struct ddpm_picture *picture = &reader->picture;
    struct ddpm_placement placement;
    char *path = NULL;
    DDPM_TRY(ddpm_folder_file_path(source->data, (size_t)index, &path));
    ddpm_status status = ddpm_picture_load(picture, path, options->channels, options->pixel_limit);
    if (status == DDPM_OK) {
        *enlarged = picture->height < options->height || picture->width < options->width;
        status = ddpm_placement_choose(&placement, picture->height, picture->width, options->height,
                                       options->width, options->crop, random);
        if (status == DDPM_OK)
            status = ddpm_resize_crop(&reader->resizer, picture->pixels, picture->height,
                                      picture->width, picture->channels, &placement,
                                      options->height, options->width, out);
        if (status != DDPM_OK)
            ddpm_raise_context(status, "%s: ", path);
    }
    free(path);
    return status;
}

static ddpm_status hash_file(int file, const char *path, void *buffer, size_t bytes, uint64_t *out)
{
    uint64_t hash = DDPM_FNV64_START;
    for (;;) {
        const ssize_t got = read(file, buffer, bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ddpm_raise_errno("%s: cannot read", path);
        if (got == 0)
            break;
        hash = ddpm_fnv64(hash, buffer, (size_t)got);
    }
    *out = hash;
    return DDPM_OK;
}

static ddpm_status hash(const struct ddpm_source *source, int64_t index, void *buffer, size_t bytes,
                        uint64_t *out)
{
    char *path = NULL;
    DDPM_TRY(ddpm_folder_file_path(source->data, (size_t)index, &path));
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ddpm_status status = file < 0 ? ddpm_raise_errno("%s: cannot read", path)
                                  : hash_file(file, path, buffer, bytes, out);
    if (file >= 0)
        close(file);
    free(path);
    return status;
}

static ddpm_status stamp(const struct ddpm_source *source, int64_t index, uint64_t *out)
{
    const struct ddpm_folder *folder = source->data;
    const char *name = folder->files[index].name;
    char *path = NULL;
    struct stat about = {0};
    DDPM_TRY(ddpm_folder_file_path(folder, (size_t)index, &path));
    (void)stat(path, &about); /* reading the file reports it if it is gone */
    free(path);
    const int64_t numbers[] = {(int64_t)about.st_size, (int64_t)about.st_mtim.tv_sec,
                               (int64_t)about.st_mtim.tv_nsec};
    *out = ddpm_fnv64(DDPM_FNV64_START, name, strlen(name) + 1);
    *out = ddpm_fnv64(*out, numbers, sizeof numbers);
    return DDPM_OK;
}

const struct ddpm_source_kind ddpm_source_kind_folder = {
    .name = "folder",
    .claims = claims,
    .open = open_folder,
    .close = close_folder,
    .name_of = name_of,
    .check = check,
    .read = read_item,
    .hash = hash,
    .stamp = stamp,
};

/* Pictures from a packed file: .npy, uint8 [N, height, width, channels], mapped into memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "data/folder.h"
#include "data/source_kinds.h"
#include "formats/file.h"
#include "formats/npy.h"

/* The fingerprint looks at this many blocks, evenly spaced, so that a large file is not read whole.
 */
enum { BLOCKS = 64, BLOCK_BYTES = 4096 };

static bool claims(const char *path)
{
    return !ddpm_path_is_directory(path);
}

static ddpm_status check_shape(const struct ddpm_source *source, const struct ddpm_npy *npy)
{
    const struct ddpm_source_options *options = &source->options;
    if (npy->dtype != DDPM_NPY_U8 || npy->rank != 4)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got %d dimensions of %s, want uint8 [N, height, width, channels]; "
                          "make the file with ddpm pack",
                          source->path, npy->rank, ddpm_npy_dtype_name(npy->dtype));
    long long count = npy->shape[0], height = npy->shape[1], width = npy->shape[2];
    if (count == 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: no pictures in it", source->path);
    if (npy->shape[3] != options->channels)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got %lld channels, want %d; pack again or set channels to %lld",
                          source->path, (long long)npy->shape[3], options->channels,
                          (long long)npy->shape[3]);
    if (height == options->height && width == options->width)
        return DDPM_OK;
    if (height < options->height || width < options->width)
        return ddpm_raise(
            DDPM_ERROR_MISMATCH,
            "%s: got pictures of %lldx%lld (height x width), want %dx%d; pack again at "
            "that size or set the image size to %lldx%lld",
            source->path, height, width, options->height, options->width, height, width);
    if (options->crop != DDPM_CROP_RANDOM)
        return ddpm_raise(
            DDPM_ERROR_MISMATCH,
            "%s: got pictures of %lldx%lld (height x width), want %dx%d; pack again at "
            "that size, or choose random crops to cut the smaller size out of them",
            source->path, height, width, options->height, options->width);
    if (height > INT32_MAX || width > INT32_MAX)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: pictures of %lldx%lld are too large",
                          source->path, height, width);
    return DDPM_OK;
}

static uint64_t fingerprint(const struct ddpm_npy *npy)
{
    uint64_t hash = DDPM_FNV64_START;
    for (int i = 0; i < npy->rank; ++i) {
        uint8_t size[8];
        for (int k = 0; k < 8; ++k)
            size[k] = (uint8_t)((uint64_t)npy->shape[i] >> 8 * k);
        hash = ddpm_fnv64(hash, size, sizeof size);
    }
    const uint8_t *data = npy->data;
    if (npy->bytes <= (size_t)BLOCKS * BLOCK_BYTES)
        return ddpm_fnv64(hash, data, npy->bytes);
    size_t step = (npy->bytes - BLOCK_BYTES) / (BLOCKS - 1);
    for (size_t i = 0; i < BLOCKS; ++i)
        hash = ddpm_fnv64(hash, data + i * step, BLOCK_BYTES);
    return hash;
}

static ddpm_status open_packed(struct ddpm_source *source)
{
    struct ddpm_npy *npy = NULL;
    DDPM_TRY(DDPM_NEW(&npy, "a packed file"));
    source->data = npy;
    DDPM_TRY(ddpm_npy_open(npy, source->path));
    DDPM_TRY(check_shape(source, npy));
    source->count = npy->shape[0];
    source->fingerprint = fingerprint(npy);
    return DDPM_OK;
}

static void close_packed(struct ddpm_source *source)
{
    if (source->data)
        ddpm_npy_close(source->data);
    free(source->data);
    source->data = NULL;
}

static const char *name_of(const struct ddpm_source *source, int64_t index, char *buffer,
                           size_t buffer_bytes)
{
    (void)source;
    snprintf(buffer, buffer_bytes, "#%lld", (long long)index);
    return buffer;
}

static ddpm_status read_item(struct ddpm_source_reader *reader, int64_t index,
                             const struct ddpm_random4 *random, uint8_t *out, bool *enlarged)
{
    const struct ddpm_source *source = reader->source;
    const struct ddpm_source_options *options = &source->options;
    const struct ddpm_npy *npy = source->data;
    int height = (int)npy->shape[1], width = (int)npy->shape[2];
    size_t bytes = (size_t)(npy->shape[1] * npy->shape[2] * npy->shape[3]);
    const uint8_t *pixels = (const uint8_t *)npy->data + (size_t)index * bytes;
    *enlarged = false;
    if (bytes == source->item_bytes) {
        memcpy(out, pixels, bytes);
        return DDPM_OK;
    }
    struct ddpm_placement placement;
    DDPM_TRY(ddpm_placement_choose(&placement, height, width, options->height, options->width,
                                   options->crop, random));
    return ddpm_resize_crop(&reader->resizer, pixels, height, width, options->channels, &placement,
                            options->height, options->width, out);
}

const struct ddpm_source_kind ddpm_source_kind_packed = {
    .name = "packed",
    .claims = claims,
    .open = open_packed,
    .close = close_packed,
    .name_of = name_of,
    .read = read_item,
};

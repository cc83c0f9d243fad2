/* Pictures from a packed file: .npy, uint8 [N, height, width, channels] or [N, height, width]; or
 * from an array of the caller's, which is treated as such a file's content.
 *
 * The file is read picture by picture, not mapped. If it is truncated while in use, reading gives
 * an error and the run can save its state. The file stays open, so deleting it or renaming another
 * over it changes nothing. Writing to it is noticed if that changes its fingerprint. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/hash.h"
#include "core/memory.h"
#include "data/picture.h"
#include "data/source_kinds.h"
#include "formats/file.h"
#include "formats/npy.h"

/* The fingerprint covers this many blocks, evenly spaced, so that a large file is not read in
 * full. */
enum { BLOCKS = 64, BLOCK_BYTES = 4096 };

/* The longest header we accept; NumPy's own are shorter than 1 KB. */
enum { HEAD_BYTES = 1 << 16 };

struct packed {
    struct ddpm_npy npy;   /* without data */
    const uint8_t *pixels; /* of an array, borrowed; NULL: they are in the file */
    struct ddpm_file_reader reader;
    bool open;
    pthread_mutex_t lock;
    struct timespec changed; /* last known modification time */
};

static bool claims(const char *path)
{
    return !ddpm_path_is_directory(path);
}

/* The most channels that a network may have (config/options.c). */
enum { MOST_CHANNELS = 64 };

static ddpm_status check_type(const char *path, const struct ddpm_npy *npy)
{
    const bool floats = npy->dtype == DDPM_NPY_F32 || npy->dtype == DDPM_NPY_F64;
    if (npy->dtype == DDPM_NPY_BOOL)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got bool values, want uint8 in 0 to 255: save 255 * "
                          "a.astype('uint8')",
                          path);
    if (npy->dtype != DDPM_NPY_U8)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got %s values, want uint8; scale them first, as astype alone %s: "
                          "numpy.round(255.0 * (a - lo) / (hi - lo)).clip(0, 255).astype('uint8')",
                          path, ddpm_npy_dtype_name(npy->dtype),
                          floats ? "drops what is after the point"
                                 : "keeps only the lowest 8 bits");
    if (npy->rank != 4)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got %d dimensions, want [N,height,width,channels] or, for one "
                          "channel, [N,height,width]",
                          path, npy->rank);
    return DDPM_OK;
}

static ddpm_status check_channels(const char *path, const struct ddpm_npy *npy,
                                  const struct ddpm_source_options *options)
{
    const long long channels = npy->shape[3];
    const int wanted = options->channels;
    if (ddpm_npy_channels_first(npy) && (channels != wanted || npy->shape[1] != options->height))
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got [%lld,%lld,%lld,%lld], is that [N,channels,height,width]? want "
                          "[N,height,width,channels]: save numpy.moveaxis(a, 1, -1)",
                          path, (long long)npy->shape[0], (long long)npy->shape[1],
                          (long long)npy->shape[2], channels);
    if (channels > MOST_CHANNELS || channels < 1)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got %lld channels, want %d, and at most %d in any run; the shape "
                          "is [N,height,width,channels]",
                          path, channels, wanted, MOST_CHANNELS);
    if (channels != wanted)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "%s: got %lld channel%s, want %d; set channels to %lld (--channels "
                          "%lld), or pack again",
                          path, channels, channels == 1 ? "" : "s", wanted, channels, channels);
    return DDPM_OK;
}

static ddpm_status check_shape(const struct ddpm_source *source, const struct ddpm_npy *npy)
{
    const struct ddpm_source_options *options = &source->options;
    DDPM_TRY(check_type(source->path, npy));
    const long long count = npy->shape[0], height = npy->shape[1], width = npy->shape[2];
    if (count == 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: no pictures in this file", source->path);
    DDPM_TRY(check_channels(source->path, npy, options));
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
            "%s: got pictures of %lldx%lld (height x width), want %dx%d; pack again at that size, "
            "set the image size to %lldx%lld, or train on random crops (--crop random)",
            source->path, height, width, options->height, options->width, height, width);
    if (height > INT32_MAX || width > INT32_MAX)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: pictures of %lldx%lld are too large",
                          source->path, height, width);
    return DDPM_OK;
}

/* Bytes of the file or, without a header, of the array. */
static ddpm_status read_bytes(const struct packed *packed, uint64_t place, void *out, size_t bytes)
{
    if (!packed->pixels)
        return ddpm_file_reader_read(&packed->reader, place, out, bytes);
    memcpy(out, packed->pixels + place, bytes);
    return DDPM_OK;
}

static ddpm_status fingerprint(const struct packed *packed, uint64_t *out)
{
    const struct ddpm_npy *npy = &packed->npy;
    uint8_t block[BLOCK_BYTES];
    uint64_t hash = DDPM_FNV64_START;
    for (int i = 0; i < npy->rank; ++i) {
        uint8_t size[8];
        for (int k = 0; k < 8; ++k)
            size[k] = (uint8_t)((uint64_t)npy->shape[i] >> 8 * k);
        hash = ddpm_fnv64(hash, size, sizeof size);
    }
    const bool whole = npy->bytes <= (size_t)BLOCKS * BLOCK_BYTES;
    const size_t step = whole ? BLOCK_BYTES : (npy->bytes - BLOCK_BYTES) / (BLOCKS - 1);
    for (size_t i = 0; i < BLOCKS && i * step < npy->bytes; ++i) {
        const size_t left = npy->bytes - i * step, bytes = left < BLOCK_BYTES ? left : BLOCK_BYTES;
        DDPM_TRY(read_bytes(packed, npy->start + i * step, block, bytes));
        hash = ddpm_fnv64(hash, block, bytes);
    }
    *out = hash;
    return DDPM_OK;
}

static ddpm_status read_head(struct packed *packed)
{
    const struct ddpm_file_reader *reader = &packed->reader;
    const size_t bytes = reader->bytes < HEAD_BYTES ? (size_t)reader->bytes : HEAD_BYTES;
    uint8_t *head;
    DDPM_TRY(ddpm_new_array((void **)&head, bytes + 1, 1, "the head of a packed file"));
    ddpm_status status = ddpm_file_reader_read(reader, 0, head, bytes);
    if (status == DDPM_OK && ddpm_picture_format(head, bytes))
        status = ddpm_raise(DDPM_ERROR_FORMAT,
                            "%s: got a single picture, want a folder of pictures or a file made "
                            "by ddpm pack",
                            reader->path);
    if (status == DDPM_OK)
        status =
            ddpm_npy_parse_head(&packed->npy, head, bytes, (size_t)reader->bytes, reader->path);
    free(head);
    return status;
}

static ddpm_status look_at(const struct packed *packed, struct stat *out)
{
    if (fstat(packed->reader.descriptor, out) == 0)
        return DDPM_OK;
    return ddpm_raise_errno("cannot look at %s", packed->reader.path);
}

static ddpm_status make_packed(struct ddpm_source *source, struct packed **out)
{
    DDPM_TRY(DDPM_NEW(out, "a packed file"));
    pthread_mutex_init(&(*out)->lock, NULL);
    source->data = *out;
    return DDPM_OK;
}

static ddpm_status open_packed(struct ddpm_source *source)
{
    struct packed *packed;
    struct stat about;
    DDPM_TRY(make_packed(source, &packed));
    DDPM_TRY(ddpm_file_reader_open(&packed->reader, source->path));
    packed->open = true;
    DDPM_TRY(look_at(packed, &about));
    packed->changed = about.st_mtim;
    DDPM_TRY(read_head(packed));
    ddpm_npy_add_channel(&packed->npy);
    DDPM_TRY(check_shape(source, &packed->npy));
    source->count = packed->npy.shape[0];
    return fingerprint(packed, &source->fingerprint);
}

static ddpm_status check_array(const struct ddpm_source *source,
                               const struct ddpm_picture_array *array)
{
    const struct ddpm_source_options *options = &source->options;
    const bool same = array->height == options->height && array->width == options->width;
    const bool larger = array->height >= options->height && array->width >= options->width;
    if (same || (larger && options->crop == DDPM_CROP_RANDOM && array->height <= INT32_MAX &&
                 array->width <= INT32_MAX))
        return DDPM_OK;
    return ddpm_raise(
        DDPM_ERROR_MISMATCH, "%s: got pictures of %lldx%lld (height x width), want %dx%d%s",
        source->path, (long long)array->height, (long long)array->width, options->height,
        options->width, larger ? "; resize them, set image-size, or set crop to random" : "");
}

static ddpm_status open_array(struct ddpm_source *source)
{
    const struct ddpm_picture_array *array = source->array;
    struct packed *packed;
    DDPM_TRY(make_packed(source, &packed));
    DDPM_TRY(check_array(source, array));
    packed->pixels = array->pixels;
    packed->npy = (struct ddpm_npy){
        .dtype = DDPM_NPY_U8,
        .rank = 4,
        .shape = {array->count, array->height, array->width, source->options.channels},
        .bytes = array->bytes,
    };
    source->count = array->count;
    return fingerprint(packed, &source->fingerprint);
}

static void close_packed(struct ddpm_source *source)
{
    struct packed *packed = source->data;
    source->data = NULL;
    if (!packed)
        return;
    if (packed->open)
        ddpm_file_reader_close(&packed->reader);
    pthread_mutex_destroy(&packed->lock);
    free(packed);
}

/* The file was written to. Does it still hold the pictures that the run started with? */
static ddpm_status check_again(const struct ddpm_source *source, struct packed *packed)
{
    struct stat about;
    uint64_t now;
    if (packed->pixels)
        return DDPM_OK;
    ddpm_status status = look_at(packed, &about);
    if (status != DDPM_OK || (about.st_mtim.tv_sec == packed->changed.tv_sec &&
                              about.st_mtim.tv_nsec == packed->changed.tv_nsec))
        return status;
    status = fingerprint(packed, &now);
    if (status == DDPM_OK && now != source->fingerprint)
        status = ddpm_raise(DDPM_ERROR_IO,
                            "%s: the pictures changed after it was opened: the file was written "
                            "to while it was read",
                            source->path);
    if (status == DDPM_OK)
        packed->changed = about.st_mtim;
    return status;
}

static ddpm_status check_unchanged(const struct ddpm_source *source)
{
    struct packed *packed = source->data;
    pthread_mutex_lock(&packed->lock);
    ddpm_status status = check_again(source, packed);
    pthread_mutex_unlock(&packed->lock);
    return status;
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
    const struct packed *packed = source->data;
    const int64_t *shape = packed->npy.shape;
    const size_t bytes = (size_t)(shape[1] * shape[2] * shape[3]);
    const uint64_t place = packed->npy.start + (uint64_t)index * bytes;
    *enlarged = false;
    DDPM_TRY(check_unchanged(source));
    if (bytes == source->item_bytes)
        return read_bytes(packed, place, out, bytes);
    struct ddpm_placement placement;
    DDPM_TRY(ddpm_placement_choose(&placement, (int)shape[1], (int)shape[2], options->height,
                                   options->width, options->crop, random));
    if (!reader->pixels)
        DDPM_TRY(ddpm_new_array((void **)&reader->pixels, bytes, 1, "a packed picture"));
    DDPM_TRY(read_bytes(packed, place, reader->pixels, bytes));
    return ddpm_resize_crop(&reader->resizer, reader->pixels, (int)shape[1], (int)shape[2],
                            options->channels, &placement, options->height, options->width, out);
}

static size_t stored_bytes(const struct packed *packed)
{
    const int64_t *shape = packed->npy.shape;
    return (size_t)(shape[1] * shape[2] * shape[3]);
}

static ddpm_status hash(const struct ddpm_source *source, int64_t index, void *buffer, size_t bytes,
                        uint64_t *out)
{
    const struct packed *packed = source->data;
    const size_t all = stored_bytes(packed);
    const uint64_t place = packed->npy.start + (uint64_t)index * all;
    uint64_t hash = DDPM_FNV64_START;
    for (size_t done = 0; done < all; done += bytes) {
        const size_t now = all - done < bytes ? all - done : bytes;
        DDPM_TRY(read_bytes(packed, place + done, buffer, now));
        hash = ddpm_fnv64(hash, buffer, now);
    }
    *out = hash;
    return DDPM_OK;
}

static ddpm_status stamp(const struct ddpm_source *source, int64_t index, uint64_t *out)
{
    const struct packed *packed = source->data;
    const int64_t numbers[] = {index, (int64_t)packed->changed.tv_sec,
                               (int64_t)packed->changed.tv_nsec};
    *out = ddpm_fnv64(source->fingerprint, numbers, sizeof numbers);
    return DDPM_OK;
}

const struct ddpm_source_kind ddpm_source_kind_packed = {
    .name = "packed",
    .one_file = true,
    .claims = claims,
    .open = open_packed,
    .close = close_packed,
    .name_of = name_of,
    .read = read_item,
    .hash = hash,
    .stamp = stamp,
};

const struct ddpm_source_kind ddpm_source_kind_array = {
    .name = "array",
    .one_file = true,
    .open = open_array,
    .close = close_packed,
    .name_of = name_of,
    .read = read_item,
    .hash = hash,
    .stamp = stamp,
};

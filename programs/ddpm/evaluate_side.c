/* Reading one of the sets that are compared. */
#include "evaluate_side.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "data/folder.h"
#include "data/own_output.h"
#include "data/picture.h"
#include "file_kind.h"
#include "formats/file.h"
#include "formats/npy.h"
#include "processes.h"

/* Why an array is neither pictures nor features. */
static ddpm_status refuse_array(const char *path, enum ddpm_npy_dtype dtype, int rank)
{
    if (dtype == DDPM_NPY_F32 && rank == 4)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "%s: got float32 of rank 4, as sample --array writes; want the pictures "
                          "as uint8 [N,H,W,C]: the folder of sample --out, or for values in "
                          "[-1,1] numpy.round(127.5 * (a + 1)).clip(0, 255).astype('uint8')",
                          path);
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "%s: got %s of rank %d, want pictures uint8 [N,H,W,C] or [N,H,W], or "
                      "features float32 [N,D]",
                      path, ddpm_npy_dtype_name(dtype), rank);
}

static ddpm_status look_at_array(struct ddpm_side *side)
{
    struct ddpm_npy npy;
    DDPM_TRY(ddpm_npy_open(&npy, side->path));
    const enum ddpm_npy_dtype dtype = npy.dtype;
    const int rank = npy.rank;
    ddpm_npy_close(&npy);
    if (dtype == DDPM_NPY_U8 && (rank == 3 || rank == 4))
        side->kind = DDPM_SIDE_PICTURES;
    else if ((dtype == DDPM_NPY_F32 || dtype == DDPM_NPY_F64) && rank == 2)
        side->kind = DDPM_SIDE_FEATURES;
    else
        return refuse_array(side->path, dtype, rank);
    return DDPM_OK;
}

/* A file with neither of the usual endings. */
static ddpm_status look_at_file(struct ddpm_side *side)
{
    char found[PATH_MAX];
    const enum ddpm_file_kind kind = ddpm_file_kind(side->path);
    if (kind == DDPM_FILE_UNREADABLE)
        return ddpm_raise_errno("%s: cannot be read", side->path);
    const bool is_model = kind == DDPM_FILE_WEIGHTS ||
                          (ddpm_settle_model(side->path, found, sizeof found) == DDPM_OK &&
                           ddpm_path_is_directory(found)); /* the text file `latest` of a run */
    const bool is_torch = ddpm_ends_with(side->path, ".pth") || ddpm_ends_with(side->path, ".pt");
    if (kind == DDPM_FILE_ARRAY)
        return look_at_array(side);
    side->kind = is_model ? DDPM_SIDE_MODEL : DDPM_SIDE_STATISTICS;
    if (is_model || (kind == DDPM_FILE_ZIP && !is_torch))
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "%s: got %s, want pictures (a folder or .npy file) or their features (.npy), "
                      "or %s",
                      side->path, ddpm_file_kind_text(kind),
                      strcmp(side->which, "generated") == 0 ? "a run or model"
                                                            : "statistics (.npz)");
}

ddpm_status ddpm_side_look(struct ddpm_side *side)
{
    const char *path = side->path;
    if (!ddpm_path_exists(path))
        return ddpm_raise(DDPM_ERROR_IO, "%s: no such folder, run or file", path);
    side->kind = DDPM_SIDE_PICTURES;
    if (ddpm_ends_with(path, ".npz"))
        side->kind = DDPM_SIDE_STATISTICS;
    else if (ddpm_path_is_directory(path))
        side->kind = ddpm_folder_has(path, "config.json") || ddpm_folder_has(path, "checkpoints")
                         ? DDPM_SIDE_MODEL
                         : DDPM_SIDE_PICTURES;
    else if (ddpm_ends_with(path, ".npy"))
        return look_at_array(side);
    else
        return look_at_file(side);
    return DDPM_OK;
}

/* The first picture in a folder that can be decoded. */
static ddpm_status shape_of_folder(const char *path, struct ddpm_side_shape *shape)
{
    struct ddpm_folder folder;
    struct ddpm_picture picture = {0};
    DDPM_TRY(ddpm_folder_scan(&folder, path));
    ddpm_status status = DDPM_ERROR_FORMAT;
    for (size_t i = 0; i < folder.count && status != DDPM_OK; ++i) {
        char *file;
        status = ddpm_folder_file_path(&folder, i, &file);
        if (status == DDPM_OK)
            status = ddpm_picture_load(&picture, file, 3, 0);
        free(file);
    }
    if (folder.count == 0)
        status = ddpm_raise(DDPM_ERROR_FORMAT, "%s: no pictures in this folder", path);
    if (status == DDPM_OK) {
        shape->height = picture.height;
        shape->width = picture.width;
        shape->channels = 3;
    }
    ddpm_picture_free(&picture);
    ddpm_folder_free(&folder);
    return status;
}

ddpm_status ddpm_side_shape(const struct ddpm_side *side, struct ddpm_side_shape *shape)
{
    struct ddpm_npy npy;
    if (ddpm_path_is_directory(side->path))
        return shape_of_folder(side->path, shape);
    DDPM_TRY(ddpm_npy_open(&npy, side->path));
    ddpm_npy_add_channel(&npy);
    const bool fits = npy.shape[1] <= 1 << 16 && npy.shape[2] <= 1 << 16 && npy.shape[3] <= 4;
    if (fits) {
        shape->height = (int)npy.shape[1];
        shape->width = (int)npy.shape[2];
        shape->channels = (int)npy.shape[3];
    }
    const int64_t got[4] = {npy.shape[0], npy.shape[1], npy.shape[2], npy.shape[3]};
    ddpm_npy_close(&npy);
    if (fits && shape->height > 0 && shape->width > 0 && shape->channels > 0 &&
        shape->channels != 2)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "%s: got [%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
                      "], want sides of 1 to 65536 and 1, 3 or 4 channels",
                      side->path, got[0], got[1], got[2], got[3]);
}

/* Is picture `i` the grid that `ddpm sample` wrote into its folder? */
static bool is_grid(const struct ddpm_side *side, bool own, int64_t i)
{
    char room[32];
    return own && strcmp(ddpm_source_name(side->source, i, room, sizeof room), "grid.png") == 0;
}

/* Is this a folder of several pictures written by `ddpm sample`? */
static ddpm_status look_for_own(const struct ddpm_side *side, bool *own)
{
    *own = false;
    if (ddpm_source_count(side->source) < 2 || !ddpm_path_is_directory(side->path))
        return DDPM_OK;
    return ddpm_folder_is_own_output(side->path, own);
}

ddpm_status ddpm_side_list(struct ddpm_side *side, int64_t *count)
{
    bool own;
    const int64_t all = ddpm_source_count(side->source);
    *count = 0;
    DDPM_TRY(look_for_own(side, &own));
    DDPM_TRY(ddpm_new_array((void **)&side->items, (size_t)all, sizeof *side->items,
                            "a list of pictures"));
    for (int64_t i = 0; i < all && (side->most == 0 || *count < side->most); ++i)
        if (!is_grid(side, own, i))
            side->items[(*count)++] = i;
    return DDPM_OK;
}

ddpm_status ddpm_side_check_count(const struct ddpm_side *side, int64_t count)
{
    if (count >= DDPM_EVALUATE_LEAST)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got %" PRId64 " %s pictures, want at least %d",
                      side->path, count, side->which, DDPM_EVALUATE_LEAST);
}

ddpm_status ddpm_side_open(struct ddpm_side *side, const struct ddpm_side_shape *shape)
{
    const struct ddpm_source_options options = {
        .channels = shape->channels,
        .height = shape->height,
        .width = shape->width,
        .crop = DDPM_CROP_CENTRE,
        .threads = shape->threads,
    };
    bool own;
    side->shape = *shape;
    if (side->kind != DDPM_SIDE_PICTURES || side->source)
        return DDPM_OK;
    DDPM_TRY(ddpm_source_open(&side->source, side->path, &options));
    DDPM_TRY(look_for_own(side, &own));
    int64_t count = ddpm_source_count(side->source);
    for (int64_t i = count - 1; i >= 0; --i)
        count -= is_grid(side, own, i);
    return ddpm_side_check_count(side, count);
}

static ddpm_status read_others(struct ddpm_side *side)
{
    const struct ddpm_picture_set_options options = {.size = sizeof options,
                                                     .threads = side->shape.threads};
    if (side->kind == DDPM_SIDE_STATISTICS)
        return ddpm_picture_set_read_statistics(side->path, &side->set);
    DDPM_TRY(ddpm_picture_set_create(&options, &side->set));
    return ddpm_side_give_features(side, side->path);
}

ddpm_status ddpm_side_read(struct ddpm_side *side, const char *features)
{
    switch (side->kind) {
    case DDPM_SIDE_PICTURES:
        return ddpm_side_read_pictures(side, features);
    case DDPM_SIDE_STATISTICS:
    case DDPM_SIDE_FEATURES:
        return ddpm_ranks_agree(ddpm_processes_ranks(),
                                ddpm_processes_lead() ? read_others(side) : DDPM_OK, NULL);
    case DDPM_SIDE_MODEL:
        break;
    }
    return DDPM_OK;
}

/* Rows of a mapped array, which may be unaligned, as floats. */
static ddpm_status copy_rows(const struct ddpm_npy *npy, int64_t rows, float **out)
{
    const int64_t count = rows * npy->shape[1];
    DDPM_TRY(ddpm_new_array((void **)out, (size_t)count, sizeof **out, "features"));
    if (npy->dtype == DDPM_NPY_F32) {
        memcpy(*out, npy->data, (size_t)count * sizeof **out);
        return DDPM_OK;
    }
    for (int64_t i = 0; i < count; ++i) {
        double value;
        memcpy(&value, (const char *)npy->data + (size_t)i * sizeof value, sizeof value);
        (*out)[i] = (float)value;
    }
    return DDPM_OK;
}

static ddpm_status open_features(struct ddpm_npy *npy, const char *path)
{
    DDPM_TRY(ddpm_npy_open(npy, path));
    if ((npy->dtype == DDPM_NPY_F32 || npy->dtype == DDPM_NPY_F64) && npy->rank == 2 &&
        npy->shape[1] > 0)
        return DDPM_OK;
    const ddpm_status status =
        ddpm_raise(DDPM_ERROR_FORMAT, "%s: got %s of rank %d, want features float32 [N,D]", path,
                   ddpm_npy_dtype_name(npy->dtype), npy->rank);
    ddpm_npy_close(npy);
    return status;
}

ddpm_status ddpm_side_look_at_features(const char *path, int64_t *rows, int64_t *width)
{
    struct ddpm_npy npy;
    DDPM_TRY(open_features(&npy, path));
    *rows = npy.shape[0];
    *width = npy.shape[1];
    ddpm_npy_close(&npy);
    return DDPM_OK;
}

ddpm_status ddpm_side_give_features(struct ddpm_side *side, const char *path)
{
    struct ddpm_npy npy;
    float *values = NULL;
    DDPM_TRY(open_features(&npy, path));
    int64_t rows = npy.shape[0];
    if (side->most > 0 && rows > side->most)
        rows = side->most;
    ddpm_status status = ddpm_side_check_count(side, rows);
    if (status == DDPM_OK)
        status = copy_rows(&npy, rows, &values);
    if (status == DDPM_OK)
        status = ddpm_picture_set_give(side->set, values, rows, npy.shape[1],
                                       (size_t)(rows * npy.shape[1]));
    if (status != DDPM_OK && status != DDPM_ERROR_FORMAT)
        (void)ddpm_raise_context(status, "%s: ", path);
    ddpm_npy_close(&npy);
    free(values);
    return status;
}

ddpm_status ddpm_side_picture(struct ddpm_side *side, int64_t index, uint8_t *out)
{
    const struct ddpm_side_shape *shape = &side->shape;
    const size_t bytes = (size_t)shape->height * (size_t)shape->width * (size_t)shape->channels;
    struct ddpm_source_reader *reader;
    if (side->drawn) {
        memcpy(out, side->drawn + (size_t)index * bytes, bytes);
        return DDPM_OK;
    }
    DDPM_TRY(ddpm_source_reader_create(&reader, side->source));
    ddpm_status status = ddpm_source_read(reader, side->items[index], NULL, out, NULL);
    ddpm_source_reader_destroy(&reader);
    return status;
}

const char *ddpm_side_name(const struct ddpm_side *side, int64_t index, char *buffer, size_t bytes)
{
    if (side->source)
        return ddpm_source_name(side->source, side->items[index], buffer, bytes);
    snprintf(buffer, bytes, "#%" PRId64, index);
    return buffer;
}

void ddpm_side_close(struct ddpm_side *side)
{
    ddpm_picture_set_destroy(&side->set);
    ddpm_source_close(&side->source);
    free(side->items);
    free(side->drawn);
    side->items = NULL;
    side->drawn = NULL;
}

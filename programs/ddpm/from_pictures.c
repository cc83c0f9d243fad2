/* Pictures and masks that drawing starts from. */
#include "from_pictures.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "data/own_output.h"
#include "formats/file.h"
#include "picture_file.h"
#include "progress.h"

/* Mask pixels from this value on are drawn. */
enum { WHITE = 128, MOST_TIMES = 1000000 };

/* Keeps the layout of the picture with every spacing (docs/samplers.md). */
#define USUAL_STRENGTH 0.3

/* Options that mean nothing without another option. */
static ddpm_status check_company(const struct ddpm_arguments *arguments)
{
    static const char *const needed[][2] = {{"strength", "from"}, {"mask", "from"},
                                            {"invert", "from"},   {"resample", "mask"},
                                            {"jump", "mask"},     {"invert", "array"}};
    static const char *const apart[][2] = {
        {"from", "init"}, {"invert", "strength"}, {"invert", "mask"}, {"invert", "out"}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; ++i)
        if (ddpm_arguments_get(arguments, needed[i][0]) &&
            !ddpm_arguments_get(arguments, needed[i][1]))
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --%s: got it without --%s", needed[i][0],
                              needed[i][1]);
    for (size_t i = 0; i < sizeof apart / sizeof *apart; ++i)
        if (ddpm_arguments_get(arguments, apart[i][0]) &&
            ddpm_arguments_get(arguments, apart[i][1]))
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "option --%s: got it with --%s, want one of them", apart[i][0],
                              apart[i][1]);
    return DDPM_OK;
}

ddpm_status ddpm_leave_out_grid(struct ddpm_folder *folder)
{
    bool own;
    size_t kept = 0;
    DDPM_TRY(ddpm_folder_is_own_output(folder->path, &own));
    for (size_t i = 0; i < folder->count; ++i) {
        if (own && folder->count > 1 && strcmp(folder->files[i].name, "grid.png") == 0)
            free(folder->files[i].name);
        else
            folder->files[kept++] = folder->files[i];
    }
    folder->count = kept;
    return DDPM_OK;
}

static ddpm_status find_files(struct ddpm_from *from)
{
    from->files = 1;
    if (!ddpm_path_exists(from->path))
        return ddpm_raise(DDPM_ERROR_IO, "%s: no such picture or folder", from->path);
    if (!ddpm_path_is_directory(from->path))
        return DDPM_OK;
    DDPM_TRY(ddpm_folder_scan(&from->folder, from->path));
    DDPM_TRY(ddpm_leave_out_grid(&from->folder));
    from->files = (int64_t)from->folder.count;
    if (from->files == 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: no pictures found", from->path);
    return DDPM_OK;
}

ddpm_status ddpm_from_read_options(struct ddpm_from *from, const struct ddpm_arguments *arguments)
{
    from->path = ddpm_arguments_get(arguments, "from");
    from->mask_path = ddpm_arguments_get(arguments, "mask");
    from->invert = ddpm_arguments_get(arguments, "invert") != NULL;
    DDPM_TRY(check_company(arguments));
    DDPM_TRY(ddpm_arguments_number(arguments, "strength", 0, 1,
                                   from->mask_path ? 1 : USUAL_STRENGTH, &from->strength));
    DDPM_TRY(ddpm_arguments_integer(arguments, "resample", 1, MOST_TIMES, 0, &from->resample));
    DDPM_TRY(ddpm_arguments_integer(arguments, "jump", 1, MOST_TIMES, 0, &from->jump));
    return from->path ? find_files(from) : DDPM_OK;
}

int64_t ddpm_from_usual_count(const struct ddpm_from *from)
{
    return from->path && (from->folder.path || from->invert) ? from->files : 0;
}

static int64_t pictures_held(const struct ddpm_from *from, int64_t count)
{
    return count < from->files ? count : from->files;
}

uint64_t ddpm_from_bytes(const struct ddpm_from *from, int64_t count, int64_t chunk,
                         uint64_t values)
{
    if (!from->path)
        return 0;
    return (uint64_t)pictures_held(from, count) * values +
           (uint64_t)(chunk + 1) * values * sizeof(float);
}

void ddpm_from_plan(const struct ddpm_from *from, const struct ddpm_arguments *arguments,
                    struct ddpm_sampler_options *options)
{
    if (!from->path)
        return;
    options->from = !from->invert;
    options->invert = from->invert;
    options->strength = from->invert ? 0 : from->strength;
    options->mask = from->mask_path != NULL;
    options->resample = from->resample;
    options->jump = from->jump;
    static const char *const noisy[] = {"sampler", "eta", "churn"};
    for (size_t i = 0; i < sizeof noisy / sizeof *noisy; ++i)
        if (!from->invert || ddpm_arguments_has_setting(arguments, noisy[i]))
            return;
    /* Inversion must add no noise; the command line did not ask for any. */
    options->sampler = NULL;
    options->eta = options->churn = options->churn_min = options->churn_max = 0;
    options->order = 0;
}

static ddpm_status read_picture(struct ddpm_from *from, int64_t place, int64_t number,
                                struct ddpm_picture_file *file)
{
    char *path = NULL;
    const size_t each = (size_t)from->height * (size_t)from->width * (size_t)from->channels;
    const size_t index = (size_t)(number % from->files);
    if (from->folder.path)
        DDPM_TRY(ddpm_folder_file_path(&from->folder, index, &path));
    *file = (struct ddpm_picture_file){.path = path ? path : from->path};
    ddpm_status status =
        ddpm_picture_file_read(file, from->channels, from->height, from->width,
                               from->mask_path != NULL, from->pictures + (size_t)place * each);
    file->path = from->folder.path ? from->folder.files[index].name : from->path;
    free(path);
    return status;
}

static ddpm_status read_pictures(struct ddpm_from *from, int64_t first)
{
    struct ddpm_picture_file file, other = {0};
    int64_t others = 0;
    for (int64_t i = 0; i < from->held; ++i) {
        DDPM_TRY(read_picture(from, i, first + i, &file));
        if (file.height == from->height && file.width == from->width)
            continue;
        other = others++ ? other : file;
    }
    if (others == 1)
        ddpm_progress_remark("%s: %dx%d pixels (height x width), resized and cropped to %dx%d",
                             other.path, other.height, other.width, from->height, from->width);
    else if (others)
        ddpm_progress_remark(
            "%" PRId64 " of %" PRId64
            " pictures are not of %dx%d pixels (%s, for example): resized and cropped",
            others, from->held, from->height, from->width, other.path);
    return DDPM_OK;
}

static ddpm_status read_mask(struct ddpm_from *from)
{
    const size_t area = (size_t)from->height * (size_t)from->width;
    struct ddpm_picture_file file = {.path = from->mask_path};
    uint8_t *grey;
    size_t drawn = 0;
    DDPM_TRY(ddpm_new_array((void **)&from->mask, area, sizeof *from->mask, "a mask"));
    DDPM_TRY(ddpm_new_array((void **)&grey, area, 1, "a mask"));
    ddpm_status status = ddpm_picture_file_read(&file, 1, from->height, from->width, true, grey);
    for (size_t i = 0; i < area && status == DDPM_OK; ++i) {
        from->mask[i] = grey[i] >= WHITE;
        drawn += grey[i] >= WHITE;
    }
    free(grey);
    if (status == DDPM_OK && (drawn == 0 || drawn == area))
        return ddpm_raise(
            DDPM_ERROR_FORMAT,
            "%s: the mask keeps %s; want white (%d and more of 255) where to draw and "
            "black where to keep",
            from->mask_path, drawn ? "nothing" : "everything", WHITE);
    return status;
}

ddpm_status ddpm_from_read(struct ddpm_from *from, const struct ddpm_picture_shape *shape,
                           int64_t first, int64_t count)
{
    const int channels = shape->channels;
    if (!from->path)
        return DDPM_OK;
    if (channels != 1 && channels != 3 && channels != 4)
        return ddpm_raise(
            DDPM_ERROR_UNSUPPORTED,
            "option --from: got a model of %d channels, want 1, 3 or 4, as picture files have",
            channels);
    from->height = shape->height;
    from->width = shape->width;
    from->channels = channels;
    from->held = pictures_held(from, count);
    DDPM_TRY(ddpm_new_array((void **)&from->pictures, (size_t)from->held,
                            (size_t)shape->height * (size_t)shape->width * (size_t)channels,
                            "pictures to begin from"));
    DDPM_TRY(read_pictures(from, first));
    return from->mask_path ? read_mask(from) : DDPM_OK;
}

ddpm_status ddpm_from_begin(struct ddpm_from *from, int64_t chunk)
{
    const size_t each = (size_t)from->height * (size_t)from->width * (size_t)from->channels;
    if (!from->path)
        return DDPM_OK;
    return ddpm_new_array((void **)&from->values, (size_t)chunk * each, sizeof *from->values,
                          "pictures to begin from");
}

void ddpm_from_give(struct ddpm_from *from, int64_t done, struct ddpm_draw *draw)
{
    const size_t area = (size_t)from->height * (size_t)from->width;
    const size_t channels = (size_t)from->channels, each = area * channels;
    if (!from->path)
        return;
    for (int64_t k = 0; k < draw->count; ++k) {
        const uint8_t *picture = from->pictures + (size_t)((done + k) % from->held) * each;
        float *values = from->values + (size_t)k * each;
        for (size_t c = 0; c < channels; ++c)
            for (size_t p = 0; p < area; ++p)
                values[c * area + p] = 2 * (float)picture[p * channels + c] / 255 - 1;
    }
    draw->from = from->values;
    draw->from_count = (size_t)draw->count * each;
    draw->mask = from->mask;
    draw->mask_count = from->mask ? area : 0;
}

void ddpm_from_clear(struct ddpm_from *from)
{
    ddpm_folder_free(&from->folder);
    free(from->pictures);
    free(from->values);
    free(from->mask);
    *from = (struct ddpm_from){0};
}

/* The output of ddpm sample. */
#include "sample_output.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/memory.h"
#include "data/endings.h"
#include "formats/file.h"
#include "formats/png_write.h"
#include "tensor/layout.h"

/* How many pictures a grid shows at most. */
enum { MOST_IN_GRID = 1024 };

/* How long an animation shows each frame, and its first and last. */
enum { FRAME_MILLISECONDS = 60, END_MILLISECONDS = 1000 };

uint64_t ddpm_grid_cells(int64_t count)
{
    return (uint64_t)(count < MOST_IN_GRID ? count : MOST_IN_GRID);
}

size_t ddpm_sample_output_values(const struct ddpm_sample_output *output)
{
    return (size_t)(output->height * output->width * output->channels);
}

static struct ddpm_grid_shape grid_shape(const struct ddpm_sample_output *output)
{
    return (struct ddpm_grid_shape){(int)output->grid, (int)output->height, (int)output->width,
                                    (int)output->channels, output->scale};
}

/* Is it named like a picture or a film, and not yet a folder? */
static bool looks_like_picture(const char *path)
{
    static const char *const films[] = {".gif", ".apng", ".mp4", ".webm"};
    const char *ending = strrchr(path, '.');
    bool film = false;
    for (size_t i = 0; ending && i < sizeof films / sizeof *films; ++i)
        film |= strcmp(ending, films[i]) == 0;
    return (film || ddpm_is_picture_name(path)) && !ddpm_path_is_directory(path);
}

ddpm_status ddpm_sample_output_read_options(struct ddpm_sample_output *output,
                                            const struct ddpm_arguments *arguments)
{
    const char *out = ddpm_arguments_get(arguments, "out");
    const bool frames =
        ddpm_arguments_get(arguments, "interpolate") && out && ddpm_is_png_name(out);
    output->folder = frames ? NULL : out;
    output->animation = frames ? out : NULL;
    output->array = ddpm_arguments_get(arguments, "array");
    output->trajectory = ddpm_arguments_get(arguments, "trajectory");
    if (!out && !output->array)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --out DIR is missing: the folder for the pictures");
    if (output->folder && looks_like_picture(output->folder))
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "option --out: got %s, want a folder for the pictures; with --interpolate "
            "FILE.png becomes one animated PNG",
            output->folder);
    if (output->trajectory && !ddpm_is_png_name(output->trajectory) &&
        looks_like_picture(output->trajectory))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option --trajectory: got %s, want FILE.png for an animated PNG, or a "
                          "folder for its frames",
                          output->trajectory);
    return DDPM_OK;
}

ddpm_status ddpm_sample_output_check(struct ddpm_sample_output *output)
{
    output->grid = (int64_t)ddpm_grid_cells(output->count);
    const struct ddpm_grid_shape shape = grid_shape(output);
    if (!output->folder && !output->animation && !output->trajectory)
        return DDPM_OK;
    if (output->channels > DDPM_PNG_MOST_CHANNELS)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "got a model of %" PRId64 " channels, want at most %d for PNG files; "
                          "--array without --out and --trajectory takes any number",
                          output->channels, DDPM_PNG_MOST_CHANNELS);
    return output->folder ? ddpm_grid_check(&shape) : DDPM_OK;
}

ddpm_status ddpm_sample_output_stand_in(struct ddpm_sample_output *output)
{
    const size_t values = ddpm_sample_output_values(output), chunk = (size_t)output->chunk;
    DDPM_TRY(ddpm_sample_output_check(output));
    DDPM_TRY(ddpm_new_array((void **)&output->pictures, chunk, values, "pictures"));
    return output->array ? ddpm_new_array((void **)&output->values, chunk * values, sizeof(float),
                                          "values of pictures")
                         : DDPM_OK;
}

ddpm_status ddpm_sample_output_begin(struct ddpm_sample_output *output, bool force)
{
    const size_t values = ddpm_sample_output_values(output);
    const int64_t shape[3] = {output->channels, output->height, output->width};
    DDPM_TRY(ddpm_sample_output_stand_in(output));
    if (output->folder)
        DDPM_TRY(ddpm_new_array((void **)&output->cells, (size_t)output->grid, values, "pictures"));
    if (output->folder) { /* first, because the array may go into it */
        output->is_new = !ddpm_path_exists(output->folder);
        DDPM_TRY(ddpm_make_output_folder(output->folder, force));
    }
    if (output->array)
        DDPM_TRY(ddpm_npy_writer_create(&output->writer, output->array, DDPM_NPY_F32, 3, shape));
    if (output->animation) {
        ddpm_metadata_set_picture(output->metadata, output->first, output->count);
        DDPM_TRY(ddpm_apng_create(&output->frames, output->animation, (int)output->height,
                                  (int)output->width, (int)output->channels, 0,
                                  output->metadata->texts, output->metadata->count));
    }
    return DDPM_OK;
}

static ddpm_status write_picture(struct ddpm_sample_output *output, int64_t index)
{
    char *path;
    const int64_t number = output->first + output->done + index;
    DDPM_TRY(ddpm_format(&path, "%s/%04" PRId64 ".png", output->folder, number));
    ddpm_metadata_set_picture(output->metadata, number, 1);
    ddpm_status status =
        ddpm_png_write(path, output->pictures + (size_t)index * ddpm_sample_output_values(output),
                       (int)output->height, (int)output->width, (int)output->channels,
                       output->metadata->texts, output->metadata->count);
    free(path);
    return status;
}

static ddpm_status write_frame(struct ddpm_sample_output *output, int64_t index)
{
    const int64_t number = output->done + index;
    const bool end = number == 0 || number == output->count - 1;
    return ddpm_apng_append(output->frames,
                            output->pictures + (size_t)index * ddpm_sample_output_values(output),
                            end ? END_MILLISECONDS : FRAME_MILLISECONDS);
}

/* Convert `values` to `pictures`. */
static ddpm_status round_values(struct ddpm_sample_output *output, int64_t count)
{
    const int64_t each = (int64_t)ddpm_sample_output_values(output);
    for (int64_t i = 0; i < count * each; ++i)
        if (!isfinite(output->values[i]))
            return ddpm_raise(DDPM_ERROR_NOT_FINITE,
                              "picture %" PRId64 ": the chain diverged to a value that is not "
                              "finite; try clip on, or check the weights",
                              output->first + output->done + i / each);
    ddpm_bytes_of_planes(output->pictures, output->values, count, output->channels,
                         output->height * output->width);
    return DDPM_OK;
}

ddpm_status ddpm_sample_output_add(struct ddpm_sample_output *output, int64_t count)
{
    const size_t each = ddpm_sample_output_values(output);
    if (output->writer) {
        DDPM_TRY(round_values(output, count));
        DDPM_TRY(ddpm_npy_writer_append(output->writer, output->values, count));
    }
    for (int64_t i = 0; i < count; ++i) {
        const uint8_t *picture = output->pictures + (size_t)i * each;
        if (output->folder)
            DDPM_TRY(write_picture(output, i));
        if (output->frames)
            DDPM_TRY(write_frame(output, i));
        if (output->channels <= DDPM_PNG_MOST_CHANNELS)
            ++output->kinds[ddpm_picture_kind_of(picture, (int)output->height, (int)output->width,
                                                 (int)output->channels)];
        if (output->folder && output->done + i < output->grid)
            memcpy(output->cells + (size_t)(output->done + i) * each, picture, each);
    }
    output->done += count;
    return DDPM_OK;
}

ddpm_status ddpm_sample_output_finish(struct ddpm_sample_output *output)
{
    char *path;
    const struct ddpm_grid_shape shape = grid_shape(output);
    if (output->writer)
        DDPM_TRY(ddpm_npy_writer_finish(&output->writer));
    if (output->frames)
        DDPM_TRY(ddpm_apng_finish(&output->frames));
    if (!output->folder)
        return DDPM_OK;
    DDPM_TRY(ddpm_format(&path, "%s/grid.png", output->folder));
    ddpm_metadata_set_picture(output->metadata, output->first, shape.count);
    ddpm_status status = ddpm_grid_write(path, &shape, output->cells, output->metadata);
    free(path);
    return status;
}

void ddpm_sample_output_clear(struct ddpm_sample_output *output)
{
    ddpm_npy_writer_abandon(&output->writer);
    ddpm_apng_abandon(&output->frames);
    if (output->is_new && output->done == 0)
        (void)rmdir(output->folder); /* only if it is empty */
    free(output->pictures);
    free(output->values);
    free(output->cells);
    *output = (struct ddpm_sample_output){0};
}

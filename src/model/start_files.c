/* Reading and writing start.safetensors. */
#include "model/start_files.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/text.h"
#include "formats/file.h"
#include "formats/safetensors.h"

ddpm_status ddpm_start_write(const struct ddpm_start *start, const char *path)
{
    const struct ddpm_start_shape *shape = &start->shape;
    char height[32], width[32], level[40];
    snprintf(height, sizeof height, "%lld", (long long)shape->height);
    snprintf(width, sizeof width, "%lld", (long long)shape->width);
    ddpm_print(level, sizeof level, "%.17g", start->level);
    const struct ddpm_safetensors_entry entries[] = {
        {.name = "mean",
         .dtype = DDPM_SAFETENSORS_F32,
         .rank = 3,
         .shape = {shape->rows, shape->columns, shape->channels},
         .data = start->mean},
        {.name = "deviations",
         .dtype = DDPM_SAFETENSORS_F32,
         .rank = 1,
         .shape = {start->components},
         .data = start->deviations},
        {.name = "directions",
         .dtype = DDPM_SAFETENSORS_F32,
         .rank = 4,
         .shape = {start->components, shape->rows, shape->columns, shape->channels},
         .data = start->directions},
    };
    const struct ddpm_safetensors_text metadata[] = {
        {"height", height}, {"width", width}, {"level", level}};
    return ddpm_safetensors_write(path, entries, 3, metadata, 3);
}

/* A number above 0 from the metadata. */
static bool read_number(const struct ddpm_safetensors *file, const char *key, double *out)
{
    const char *text = ddpm_safetensors_metadata(file, key);
    char *end;
    *out = text ? ddpm_parse_double(text, &end) : 0;
    return text && end != text && *end == '\0' && *out > 0;
}

static ddpm_status read_values(const struct ddpm_safetensors_tensor *tensor, float *out,
                               int64_t count, const char *path)
{
    DDPM_TRY(ddpm_safetensors_read_f32(tensor, out, count));
    for (int64_t i = 0; i < count; ++i)
        if (!isfinite(out[i]))
            return ddpm_raise(DDPM_ERROR_NOT_FINITE, "%s: %s: got %g, want finite numbers", path,
                              tensor->name, (double)out[i]);
    return DDPM_OK;
}

static ddpm_status read_start(const struct ddpm_safetensors *file, const char *path,
                              struct ddpm_start **out)
{
    const struct ddpm_safetensors_tensor *mean = ddpm_safetensors_find(file, "mean"),
                                         *deviations = ddpm_safetensors_find(file, "deviations"),
                                         *directions = ddpm_safetensors_find(file, "directions");
    double height = 0, width = 0, level = 0;
    const bool numbers = read_number(file, "height", &height) && height <= 65536 &&
                         read_number(file, "width", &width) && width <= 65536 &&
                         read_number(file, "level", &level);
    const bool tensors = mean && deviations && directions && mean->rank == 3 &&
                         deviations->rank == 1 && mean->count <= DDPM_START_VALUES;
    if (!numbers || !tensors)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: this is not a fitted start", path);
    const struct ddpm_start_shape shape = {(int64_t)height, (int64_t)width, mean->shape[2],
                                           mean->shape[0], mean->shape[1]};
    const int64_t values = mean->count, components = deviations->count;
    if (values < 1 || components < 1 || components > DDPM_START_COMPONENTS ||
        shape.height % shape.rows != 0 || shape.width % shape.columns != 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: this is not a fitted start", path);
    DDPM_TRY(ddpm_start_new(&shape, components, out));
    (*out)->level = level;
    DDPM_TRY(read_values(mean, (*out)->mean, values, path));
    DDPM_TRY(read_values(deviations, (*out)->deviations, components, path));
    return read_values(directions, (*out)->directions, components * values, path);
}

ddpm_status ddpm_start_read(const char *path, struct ddpm_start **out)
{
    struct ddpm_safetensors *file;
    *out = NULL;
    DDPM_TRY(ddpm_safetensors_open(&file, path));
    ddpm_status status = read_start(file, path, out);
    ddpm_safetensors_close(&file);
    if (status != DDPM_OK)
        ddpm_start_free(out);
    return status;
}

ddpm_status ddpm_start_load(const char *folder, struct ddpm_start **out)
{
    char path[PATH_MAX];
    *out = NULL;
    DDPM_TRY(ddpm_path_format(path, sizeof path, "%s/" DDPM_START_FILE, folder));
    return ddpm_path_exists(path) ? ddpm_start_read(path, out) : DDPM_OK;
}

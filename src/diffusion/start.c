/* Drawing from a fitted start. */
#include "diffusion/start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

/* The largest number of equal parts, up to `most`, that a side divides into. */
static int64_t parts_of(int64_t side, int64_t most)
{
    int64_t parts = side < most ? side : most;
    while (side % parts != 0)
        --parts;
    return parts;
}

struct ddpm_start_shape ddpm_start_shape_of(int64_t height, int64_t width, int64_t channels)
{
    int64_t most = DDPM_START_GRID;
    while (most > 1 && most * most * channels > DDPM_START_VALUES)
        --most;
    return (struct ddpm_start_shape){height, width, channels, parts_of(height, most),
                                     parts_of(width, most)};
}

int64_t ddpm_start_values(const struct ddpm_start_shape *shape)
{
    return shape->rows * shape->columns * shape->channels;
}

/* Where the block of pixel (h, w) starts in a reduced picture. */
static int64_t block_of(const struct ddpm_start_shape *shape, int64_t h, int64_t w)
{
    const int64_t row = h / (shape->height / shape->rows);
    const int64_t column = w / (shape->width / shape->columns);
    return (row * shape->columns + column) * shape->channels;
}

/* White noise keeps its variance if a block's sum is multiplied by this. */
static double block_scale(const struct ddpm_start_shape *shape)
{
    const int64_t pixels = shape->height / shape->rows * (shape->width / shape->columns);
    return 1 / sqrt((double)pixels);
}

void ddpm_start_reduce(const struct ddpm_start_shape *shape, const uint8_t *picture, float *out)
{
    const float scale = (float)block_scale(shape);
    memset(out, 0, (size_t)ddpm_start_values(shape) * sizeof *out);
    for (int64_t h = 0; h < shape->height; ++h)
        for (int64_t w = 0; w < shape->width; ++w) {
            float *block = out + block_of(shape, h, w);
            for (int64_t c = 0; c < shape->channels; ++c)
                block[c] += scale * ((float)(2 * *picture++) / 255.0f - 1.0f);
        }
}

ddpm_status ddpm_start_new(const struct ddpm_start_shape *shape, int64_t components,
                           struct ddpm_start **out)
{
    const size_t values = (size_t)ddpm_start_values(shape), count = (size_t)components;
    struct ddpm_start *start;
    *out = NULL;
    DDPM_TRY(DDPM_NEW(&start, "a fitted start"));
    start->shape = *shape;
    start->components = components;
    ddpm_status status =
        ddpm_new_array((void **)&start->mean, values, sizeof(float), "a fitted start");
    if (status == DDPM_OK)
        status =
            ddpm_new_array((void **)&start->deviations, count, sizeof(float), "a fitted start");
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&start->directions, count * values, sizeof(float),
                                "a fitted start");
    if (status != DDPM_OK)
        ddpm_start_free(&start);
    *out = start;
    return status;
}

void ddpm_start_free(struct ddpm_start **start)
{
    if (!*start)
        return;
    free((*start)->mean);
    free((*start)->deviations);
    free((*start)->directions);
    free(*start);
    *start = NULL;
}

ddpm_status ddpm_start_copy(const struct ddpm_start *start, struct ddpm_start **out)
{
    const size_t values = (size_t)ddpm_start_values(&start->shape);
    const size_t count = (size_t)start->components;
    DDPM_TRY(ddpm_start_new(&start->shape, start->components, out));
    (*out)->level = start->level;
    memcpy((*out)->mean, start->mean, values * sizeof *start->mean);
    memcpy((*out)->deviations, start->deviations, count * sizeof *start->deviations);
    memcpy((*out)->directions, start->directions, count * values * sizeof *start->directions);
    return DDPM_OK;
}

void ddpm_start_picture(const struct ddpm_start *start, double ratio, const float *z, float *out)
{
    const struct ddpm_start_shape *shape = &start->shape;
    const int64_t values = ddpm_start_values(shape), channels = shape->channels;
    const double scale = block_scale(shape);
    float reduced[DDPM_START_VALUES] = {0}, sum[DDPM_START_VALUES];
    for (int64_t h = 0; h < shape->height; ++h)
        for (int64_t w = 0; w < shape->width; ++w) {
            float *block = reduced + block_of(shape, h, w);
            for (int64_t c = 0; c < channels; ++c)
                block[c] += *z++;
        }
    memcpy(sum, start->mean, (size_t)values * sizeof *sum);
    for (int64_t k = 0; k < start->components; ++k) {
        const float *direction = start->directions + k * values;
        const double deviation = (double)start->deviations[k];
        double along = 0;
        for (int64_t i = 0; i < values; ++i)
            along += (double)(direction[i] * reduced[i]);
        const float part = (float)((hypot(deviation, ratio) - ratio) * scale * along);
        for (int64_t i = 0; i < values; ++i)
            sum[i] += part * direction[i];
    }
    for (int64_t h = 0; h < shape->height; ++h)
        for (int64_t w = 0; w < shape->width; ++w) {
            const float *block = sum + block_of(shape, h, w);
            for (int64_t c = 0; c < channels; ++c)
                *out++ = (float)scale * block[c];
        }
}

/* Pillow's bilinear resampling and torchvision's resize-and-crop geometry. */
#include "data/resize.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

#define FRACTION_BITS 22
#define HALF ((int32_t)1 << (FRACTION_BITS - 1))
#define SIDE_LIMIT ((int64_t)1 << 28)

void ddpm_resizer_free(struct ddpm_resizer *resizer)
{
    free(resizer->horizontal.first);
    free(resizer->horizontal.used);
    free(resizer->horizontal.weights);
    free(resizer->vertical.first);
    free(resizer->vertical.used);
    free(resizer->vertical.weights);
    free(resizer->between);
    free(resizer->premultiplied);
    free(resizer->sums);
    memset(resizer, 0, sizeof *resizer);
}

/* torchvision's int(round((size - target) / 2.0)); Python rounds halves to even. */
static int centre_offset(int size, int target)
{
    int twice = size - target, half = twice / 2;
    return twice % 2 == 0 ? half : half + (half & 1);
}

ddpm_status ddpm_placement_choose(struct ddpm_placement *placement, int height, int width,
                                  int target_height, int target_width, enum ddpm_crop crop,
                                  const struct ddpm_random4 *random)
{
    int64_t new_height = height, new_width = width;
    bool covers = height >= target_height && width >= target_width;
    if (crop == DDPM_CROP_CENTRE || !covers) {
        /* The side that needs the larger scale becomes its target; the other one follows, rounded
         * down. */
        if ((int64_t)target_height * width >= (int64_t)target_width * height) {
            new_height = target_height;
            new_width = (int64_t)target_height * width / height;
        } else {
            new_width = target_width;
            new_height = (int64_t)target_width * height / width;
        }
    }
    if (new_height > SIDE_LIMIT || new_width > SIDE_LIMIT)
        return ddpm_raise(DDPM_ERROR_FORMAT, "a picture of %dx%d is too narrow for %dx%d", height,
                          width, target_height, target_width);
    *placement = (struct ddpm_placement){.height = (int)new_height, .width = (int)new_width};
    if (crop == DDPM_CROP_CENTRE) {
        placement->top = centre_offset(placement->height, target_height);
        placement->left = centre_offset(placement->width, target_width);
    } else {
        uint32_t rows = (uint32_t)(placement->height - target_height) + 1;
        uint32_t columns = (uint32_t)(placement->width - target_width) + 1;
        placement->top = (int)ddpm_below(random->v[1], rows);
        placement->left = (int)ddpm_below(random->v[2], columns);
    }
    return DDPM_OK;
}

static ddpm_status reserve(void **buffer, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return DDPM_OK;
    free(*buffer);
    *capacity = 0;
    DDPM_TRY(ddpm_new_array(buffer, count, size, "resizing"));
    *capacity = count;
    return DDPM_OK;
}

static ddpm_status reserve_axis(struct ddpm_resize_axis *axis, int taps, int count)
{
    if ((size_t)count > axis->place_capacity) {
        free(axis->first);
        free(axis->used);
        axis->first = NULL;
        axis->used = NULL;
        axis->place_capacity = 0;
        DDPM_TRY(ddpm_new_array((void **)&axis->first, (size_t)count, sizeof(int), "resizing"));
        DDPM_TRY(ddpm_new_array((void **)&axis->used, (size_t)count, sizeof(int), "resizing"));
        axis->place_capacity = (size_t)count;
    }
    return reserve((void **)&axis->weights, &axis->weight_capacity, (size_t)count * (size_t)taps,
                   sizeof *axis->weights);
}

/* Weights of output pixels [begin, begin + count) of a resize from `in` to `out` pixels; unchanged
 * if they are still valid. */
static ddpm_status prepare_axis(struct ddpm_resize_axis *axis, int in, int out, int begin,
                                int count)
{
    if (axis->in == in && axis->out == out && axis->begin == begin && axis->count == count)
        return DDPM_OK;
    axis->in = 0; /* not valid until finished */
    double scale = (double)in / out, filter_scale = scale < 1 ? 1 : scale, support = filter_scale;
    int taps = (int)ceil(support) * 2 + 1;
    double *exact = NULL;
    DDPM_TRY(reserve_axis(axis, taps, count));
    DDPM_TRY(ddpm_new_array((void **)&exact, (size_t)taps, sizeof *exact, "resizing"));
    for (int i = 0; i < count; ++i) {
        double centre = (begin + i + 0.5) * scale, inverse = 1.0 / filter_scale, total = 0;
        int low = (int)(centre - support + 0.5), high = (int)(centre + support + 0.5);
        low = low < 0 ? 0 : low;
        high = high > in ? in : high;
        for (int k = 0; k < high - low; ++k) {
            double distance = fabs((k + low - centre + 0.5) * inverse);
            exact[k] = distance < 1 ? 1 - distance : 0;
            total += exact[k];
        }
        int32_t *weights = axis->weights + (size_t)i * (size_t)taps;
        for (int k = 0; k < high - low; ++k) {
            double weight = total != 0 ? exact[k] / total : exact[k];
            weights[k] = (int32_t)(0.5 + weight * (1 << FRACTION_BITS));
        }
        axis->first[i] = low;
        axis->used[i] = high - low;
    }
    free(exact);
    axis->in = in;
    axis->out = out;
    axis->begin = begin;
    axis->count = count;
    axis->taps = taps;
    return DDPM_OK;
}

static inline uint8_t to_byte(int32_t sum)
{
    int32_t value = sum >> FRACTION_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* The channel count is a constant in each caller, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void resize_row(const struct ddpm_resize_axis *axis,
                                                             const uint8_t *row, uint8_t *out,
                                                             const int channels)
{
    for (int x = 0; x < axis->count; ++x) {
        const uint8_t *from = row + (ptrdiff_t)axis->first[x] * channels;
        const int32_t *weights = axis->weights + (size_t)x * (size_t)axis->taps;
        int32_t sums[4] = {HALF, HALF, HALF, HALF};
        for (int k = 0; k < axis->used[x]; ++k)
            for (int c = 0; c < channels; ++c)
                sums[c] += from[k * channels + c] * weights[k];
        for (int c = 0; c < channels; ++c)
            *out++ = to_byte(sums[c]);
    }
}

static void resize_rows(const struct ddpm_resize_axis *axis, const uint8_t *pixels, int rows,
                        int channels, uint8_t *out)
{
    const size_t in_stride = (size_t)axis->in * (size_t)channels;
    const size_t out_stride = (size_t)axis->count * (size_t)channels;
    for (int y = 0; y < rows; ++y, pixels += in_stride, out += out_stride)
        switch (channels) {
        case 1:
            resize_row(axis, pixels, out, 1);
            break;
        case 2:
            resize_row(axis, pixels, out, 2);
            break;
        case 3:
            resize_row(axis, pixels, out, 3);
            break;
        default:
            resize_row(axis, pixels, out, 4);
            break;
        }
}

/* `rows` starts at input row `offset`; `stride` bytes a row. */
static void resize_columns(const struct ddpm_resize_axis *axis, const uint8_t *rows, int offset,
                           size_t stride, int32_t *restrict sums, uint8_t *restrict out)
{
    for (int y = 0; y < axis->count; ++y, out += stride) {
        const int32_t *weights = axis->weights + (size_t)y * (size_t)axis->taps;
        for (size_t i = 0; i < stride; ++i)
            sums[i] = HALF;
        for (int k = 0; k < axis->used[y]; ++k) {
            const uint8_t *restrict row = rows + (size_t)(axis->first[y] + k - offset) * stride;
            const int32_t weight = weights[k];
            for (size_t i = 0; i < stride; ++i)
                sums[i] += row[i] * weight;
        }
        for (size_t i = 0; i < stride; ++i)
            out[i] = to_byte(sums[i]);
    }
}

static void multiply_by_alpha(const uint8_t *from, uint8_t *to, size_t pixels)
{
    for (; pixels > 0; --pixels, from += 4, to += 4) {
        unsigned alpha = from[3];
        for (int c = 0; c < 3; ++c) {
            unsigned product = from[c] * alpha + 128;
            to[c] = (uint8_t)((product + (product >> 8)) >> 8);
        }
        to[3] = (uint8_t)alpha;
    }
}

static void divide_by_alpha(uint8_t *at, size_t pixels)
{
    for (; pixels > 0; --pixels, at += 4) {
        unsigned alpha = at[3];
        for (int c = 0; c < 3 && alpha != 0 && alpha != 255; ++c) {
            unsigned value = 255u * at[c] / alpha;
            at[c] = (uint8_t)(value < 255 ? value : 255);
        }
    }
}

static void copy_part(const uint8_t *pixels, int width, int channels,
                      const struct ddpm_placement *place, int target_height, int target_width,
                      uint8_t *out)
{
    size_t stride = (size_t)target_width * (size_t)channels;
    for (int y = 0; y < target_height; ++y)
        memcpy(out + (size_t)y * stride,
               pixels + ((size_t)(place->top + y) * (size_t)width + (size_t)place->left) *
                            (size_t)channels,
               stride);
}

ddpm_status ddpm_resize_crop(struct ddpm_resizer *resizer, const uint8_t *pixels, int height,
                             int width, int channels, const struct ddpm_placement *place,
                             int target_height, int target_width, uint8_t *out)
{
    if (place->height == height && place->width == width) {
        copy_part(pixels, width, channels, place, target_height, target_width, out);
        return DDPM_OK;
    }
    struct ddpm_resize_axis *across = &resizer->horizontal, *down = &resizer->vertical;
    DDPM_TRY(prepare_axis(across, width, place->width, place->left, target_width));
    DDPM_TRY(prepare_axis(down, height, place->height, place->top, target_height));
    int first = down->first[0];
    int rows = down->first[target_height - 1] + down->used[target_height - 1] - first;
    const bool columns_first =
        height > place->height && height - place->height > 2 * (width - place->width);
    size_t in_stride = (size_t)width * (size_t)channels;
    size_t stride = (size_t)target_width * (size_t)channels;
    size_t between = columns_first ? (size_t)target_height * in_stride : (size_t)rows * stride;
    const uint8_t *from = pixels + (size_t)first * in_stride;
    if (channels == 4) {
        DDPM_TRY(reserve((void **)&resizer->premultiplied, &resizer->premultiplied_capacity,
                         (size_t)rows * in_stride, 1));
        multiply_by_alpha(from, resizer->premultiplied, (size_t)rows * (size_t)width);
        from = resizer->premultiplied;
    }
    DDPM_TRY(reserve((void **)&resizer->between, &resizer->between_capacity, between, 1));
    DDPM_TRY(reserve((void **)&resizer->sums, &resizer->sums_capacity,
                     columns_first ? in_stride : stride, sizeof *resizer->sums));
    /* With equal sizes the weights are exactly one and zero, so no pass needs to be skipped. */
    if (columns_first) {
        resize_columns(down, from, first, in_stride, resizer->sums, resizer->between);
        resize_rows(across, resizer->between, target_height, channels, out);
    } else {
        resize_rows(across, from, rows, channels, resizer->between);
        resize_columns(down, resizer->between, first, stride, resizer->sums, out);
    }
    if (channels == 4)
        divide_by_alpha(out, (size_t)target_height * (size_t)target_width);
    return DDPM_OK;
}

void ddpm_flip_horizontal(uint8_t *pixels, int height, int width, int channels)
{
    for (int y = 0; y < height; ++y) {
        uint8_t *left = pixels + (size_t)y * (size_t)width * (size_t)channels;
        uint8_t *right = left + (size_t)(width - 1) * (size_t)channels;
        for (; left < right; left += channels, right -= channels)
            for (int c = 0; c < channels; ++c) {
                uint8_t kept = left[c];
                left[c] = right[c];
                right[c] = kept;
            }
    }
}

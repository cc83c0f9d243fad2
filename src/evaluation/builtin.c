/* Features "builtin": statistics of colours and of differences between pixels, at four scales. They
 * need no weights. docs/evaluation.md explains how they were chosen.
 *
 * For each of the planes (R+G+B)/3, R-G and (R+G)/2-B, in units of the full range:
 *
 *     mean, standard deviation, cube root of the third moment
 *     means of six areas: top, middle and bottom third, the sides and the centre of each
 *     at full size, 1/2, 1/4 and 1/8, for five differences (first and second, along rows and
 *     columns, and the mixed one): the logarithm of their root mean square, and mean size / root
 *     mean square, which tells dense texture from a few edges
 *
 * Mirroring a picture left to right changes none of them, since models are trained on mirrored
 * pictures too. RGBA pictures are blended over mid-grey. */
#include <math.h>

#include "evaluation/features.h"

enum { PLANES = 3, SCALES = 4, FILTERS = 5, MOMENTS = 3, AREAS = 6 };
enum { WIDTH = PLANES * (MOMENTS + AREAS + SCALES * FILTERS * 2) };

/* Weights of the groups of features. OFFSET makes differences below a few levels of 255 count as
 * almost nothing. */
#define WEIGHT_AREA 0.5
#define WEIGHT_COLOUR_ENERGY 0.25
#define WEIGHT_DENSITY 0.5
#define OFFSET 0.03

/* A plane [height, width]. */
struct plane {
    float *values;
    int height, width;
};

static size_t room(const struct ddpm_feature_network *network, int height, int width, int channels)
{
    (void)network;
    (void)channels;
    return (size_t)height * (size_t)width * PLANES * sizeof(float);
}

static void fill_planes(const uint8_t *pixels, int64_t count, int channels,
                        const struct plane planes[PLANES])
{
    for (int64_t i = 0; i < count; ++i) {
        const uint8_t *p = pixels + i * channels;
        float rgb[3];
        for (int c = 0; c < 3; ++c)
            rgb[c] = (float)p[channels == 1 ? 0 : c] / 255.0f;
        if (channels == 4)
            for (int c = 0; c < 3; ++c)
                rgb[c] = 0.5f + (rgb[c] - 0.5f) * ((float)p[3] / 255.0f);
        planes[0].values[i] = (rgb[0] + rgb[1] + rgb[2]) / 3.0f;
        planes[1].values[i] = rgb[0] - rgb[1];
        planes[2].values[i] = (rgb[0] + rgb[1]) / 2.0f - rgb[2];
    }
}

static float *add_moments(const struct plane *plane, float *out)
{
    const int64_t count = (int64_t)plane->height * plane->width;
    double sum = 0, squares = 0, cubes = 0;
    for (int64_t i = 0; i < count; ++i)
        sum += (double)plane->values[i];
    const double mean = sum / (double)count;
    for (int64_t i = 0; i < count; ++i) {
        const double d = (double)plane->values[i] - mean;
        squares += d * d;
        cubes += d * d * d;
    }
    *out++ = (float)mean;
    *out++ = (float)sqrt(squares / (double)count);
    *out++ = (float)cbrt(cubes / (double)count);
    return out;
}

/* Sum of rows [top, bottom), columns [left, right). */
static double sum_of(const struct plane *plane, int top, int bottom, int left, int right)
{
    double sum = 0;
    for (int y = top; y < bottom; ++y)
        for (int x = left; x < right; ++x)
            sum += (double)plane->values[(int64_t)y * plane->width + x];
    return sum;
}

/* With fewer than three rows or columns, areas share them. */
static float *add_areas(const struct plane *plane, float *out)
{
    const int height = plane->height, width = plane->width, left = width / 3, right = width - left;
    for (int third = 0; third < 3; ++third) {
        int top = (int)((int64_t)third * height / 3);
        const int bottom = (int)((int64_t)(third + 1) * height / 3);
        top = top < bottom ? top : bottom - (bottom > 0);
        const int rows = bottom > top ? bottom - top : 1, end = top + rows;
        const double centre = sum_of(plane, top, end, left, right);
        const double sides =
            sum_of(plane, top, end, 0, left) + sum_of(plane, top, end, right, width);
        const double middle = centre / ((double)rows * (right - left));
        *out++ = (float)(WEIGHT_AREA * (left ? sides / (2.0 * left * rows) : middle));
        *out++ = (float)(WEIGHT_AREA * middle);
    }
    return out;
}

/* Difference `filter` at a pixel; the next row is `row` values further. */
static inline float filtered(const float *v, int64_t row, int filter)
{
    switch (filter) {
    case 0:
        return v[1] - v[0];
    case 1:
        return v[row] - v[0];
    case 2:
        return v[2] - 2.0f * v[1] + v[0];
    case 3:
        return v[2 * row] - 2.0f * v[row] + v[0];
    default:
        return v[row + 1] - v[row] - v[1] + v[0];
    }
}

/* Both features of one difference; `reach` is how far it extends to the right and down. */
static float *add_energy(const struct plane *plane, int filter, const int reach[2], double weight,
                         float *out)
{
    const int height = plane->height - reach[1], width = plane->width - reach[0];
    double sum = 0, squares = 0;
    for (int y = 0; y < height; ++y) {
        float line = 0, line_squares = 0;
        for (int x = 0; x < width; ++x) {
            const float *v = plane->values + (int64_t)y * plane->width + x;
            const float d = filtered(v, plane->width, filter);
            line += fabsf(d);
            line_squares += d * d;
        }
        sum += (double)line;
        squares += (double)line_squares;
    }
    const double count = height > 0 && width > 0 ? (double)height * width : 1;
    const double root = sqrt(squares / count);
    *out++ = (float)(weight * log(root + OFFSET));
    *out++ = (float)(WEIGHT_DENSITY * (sum / count) / (root + OFFSET));
    return out;
}

static float *add_energies(const struct plane *plane, double weight, float *out)
{
    static const int reach[FILTERS][2] = {{1, 0}, {0, 1}, {2, 0}, {0, 2}, {1, 1}};
    for (int filter = 0; filter < FILTERS; ++filter)
        out = add_energy(plane, filter, reach[filter], weight, out);
    return out;
}

/* Halve in place: means of 2x2 pixels. With odd sizes, the last row and the middle column have no
 * partner. It is the middle column so that mirroring a picture mirrors the result. */
static void halve(struct plane *plane)
{
    const int height = plane->height / 2, width = plane->width / 2, odd = plane->width % 2;
    for (int y = 0; y < height; ++y) {
        const float *upper = plane->values + (int64_t)2 * y * plane->width;
        const float *lower = upper + plane->width;
        for (int x = 0; x < width; ++x) {
            const int left = 2 * x < width ? 2 * x : 2 * x + odd;
            const int right = 2 * x + 1 < width ? 2 * x + 1 : 2 * x + 1 + odd;
            plane->values[(int64_t)y * width + x] =
                ((upper[left] + upper[right]) + (lower[left] + lower[right])) / 4.0f;
        }
    }
    plane->height = height;
    plane->width = width;
}

static ddpm_status compute(const struct ddpm_feature_network *network, const uint8_t *pixels,
                           int height, int width, int channels, void *room_given, float *out)
{
    (void)network;
    struct plane planes[PLANES];
    const int64_t count = (int64_t)height * width;
    for (int p = 0; p < PLANES; ++p)
        planes[p] = (struct plane){(float *)room_given + p * count, height, width};
    fill_planes(pixels, count, channels, planes);
    for (int p = 0; p < PLANES; ++p) {
        out = add_moments(&planes[p], out);
        out = add_areas(&planes[p], out);
        for (int scale = 0; scale < SCALES; ++scale) {
            out = add_energies(&planes[p], p ? WEIGHT_COLOUR_ENERGY : 1, out);
            halve(&planes[p]);
        }
    }
    return DDPM_OK;
}

const struct ddpm_features_kind ddpm_features_builtin = {
    .name = "builtin",
    .help = "statistics of colours and differences at four scales; needs no weights",
    .width = WIDTH,
    .room = room,
    .compute = compute,
};

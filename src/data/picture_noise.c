/* Detecting white noise by the correlations of neighbouring pixels. */
#include <math.h>
#include <stddef.h>

#include "data/picture_kind.h"

#define LEAST_CORRELATION 0.1
#define MOST_KURTOSIS 6.0
#define MOST_ACROSS 0.5 /* correlation of channels; real pictures have 0.9 */
#define DEVIATIONS 4.0  /* that chance allows; for n pairs, one is 1/√n */
enum { LEAST_SIDE = 12, LEAST_GREY_SIDE = 24 };

/* The pairs of pixels that are compared. */
static const struct {
    int dy, dx;
} apart[] = {{0, 1}, {1, 0}, {1, 1}, {0, 2}, {2, 0}};
#define PAIRS (sizeof apart / sizeof *apart)

/* One channel of a picture, minus its mean. */
struct plane {
    const uint8_t *values; /* of the channel, in the first pixel */
    int height, width, stride;
    double mean;
};

static double at(const struct plane *plane, int y, int x)
{
    return plane->values[((int64_t)y * plane->width + x) * plane->stride] - plane->mean;
}

/* Mean product of two channels of one picture. */
static double across(const struct plane *a, const struct plane *b)
{
    double sum = 0;
    for (int y = 0; y < a->height; ++y)
        for (int x = 0; x < a->width; ++x)
            sum += at(a, y, x) * at(b, y, x);
    return sum / ((double)a->height * a->width);
}

/* Mean product of pixels that are (dy, dx) apart. */
static double covariance(const struct plane *plane, int dy, int dx)
{
    double sum = 0;
    for (int y = dy; y < plane->height; ++y)
        for (int x = dx; x < plane->width; ++x)
            sum += at(plane, y, x) * at(plane, y - dy, x - dx);
    return sum / ((double)(plane->height - dy) * (plane->width - dx));
}

static double fourth_moment(const struct plane *plane)
{
    double sum = 0;
    for (int y = 0; y < plane->height; ++y)
        for (int x = 0; x < plane->width; ++x) {
            const double square = at(plane, y, x) * at(plane, y, x);
            sum += square * square;
        }
    return sum / ((double)plane->height * plane->width);
}

static double mean_of(const struct plane *plane)
{
    double sum = 0;
    for (int y = 0; y < plane->height; ++y)
        for (int x = 0; x < plane->width; ++x)
            sum += at(plane, y, x);
    return sum / ((double)plane->height * plane->width);
}

/* Sums over the channels: of variances, their squares, fourth moments, covariances. */
struct sums {
    double variance, squared, fourth, together[PAIRS];
    double colours; /* mean product of neighbouring channels */
};

static struct sums add_up(const uint8_t *values, int height, int width, int channels, int colours)
{
    struct sums sums = {0};
    struct plane before = {0};
    for (int c = 0; c < colours; ++c) {
        struct plane plane = {values + c, height, width, channels, 0};
        plane.mean = mean_of(&plane);
        const double own = covariance(&plane, 0, 0);
        sums.variance += own;
        sums.squared += own * own;
        sums.fourth += fourth_moment(&plane);
        for (size_t i = 0; i < PAIRS; ++i)
            sums.together[i] += covariance(&plane, apart[i].dy, apart[i].dx);
        if (c > 0)
            sums.colours += across(&before, &plane) / (colours - 1) * colours;
        before = plane;
    }
    return sums;
}

bool ddpm_picture_is_noise(const uint8_t *values, int height, int width, int channels)
{
    const int colours = channels == 2 || channels == 4 ? channels - 1 : channels;
    const int side = height < width ? height : width;
    if (side < LEAST_SIDE || (colours == 1 && side < LEAST_GREY_SIDE))
        return false;
    const struct sums sums = add_up(values, height, width, channels, colours);
    const double chance = DEVIATIONS / sqrt((double)height * width);
    const double bound = chance > LEAST_CORRELATION ? chance : LEAST_CORRELATION;
    for (size_t i = 0; i < PAIRS; ++i)
        if (fabs(sums.together[i]) >= bound * sums.variance)
            return false;
    if (side < LEAST_GREY_SIDE && fabs(sums.colours) >= MOST_ACROSS * sums.variance)
        return false;
    return sums.variance > 0 && sums.fourth < MOST_KURTOSIS * sums.squared;
}

enum ddpm_picture_kind ddpm_picture_kind_of(const uint8_t *values, int height, int width,
                                            int channels)
{
    const enum ddpm_picture_kind kind =
        ddpm_picture_kind(values, (int64_t)height * width, channels);
    if (kind == DDPM_PICTURE_USUAL && ddpm_picture_is_noise(values, height, width, channels))
        return DDPM_PICTURE_NOISE;
    return kind;
}

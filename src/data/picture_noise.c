/* White noise, told by the correlations of neighbours. */
#include <math.h>
#include <stddef.h>

#include "data/picture_kind.h"

#define LEAST_CORRELATION 0.1
#define MOST_KURTOSIS 6.0
#define DEVIATIONS 4.0 /* of chance: the standard deviation of a correlation of n pairs is 1/√n */
enum { LEAST_SIDE = 12 };

/* One channel of a picture, its mean taken away. */
struct plane {
    const uint8_t *values; /* of the channel, in the first pixel */
    int height, width, stride;
    double mean;
};

static double at(const struct plane *plane, int y, int x)
{
    return plane->values[((int64_t)y * plane->width + x) * plane->stride] - plane->mean;
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

bool ddpm_picture_is_noise(const uint8_t *values, int height, int width, int channels)
{
    static const struct {
        int dy, dx;
    } apart[] = {{0, 1}, {1, 0}, {1, 1}, {0, 2}, {2, 0}};
    const int colours = channels == 2 || channels == 4 ? channels - 1 : channels;
    double variance = 0, squared = 0, fourth = 0;
    double together[sizeof apart / sizeof *apart] = {0};
    if (height < LEAST_SIDE || width < LEAST_SIDE)
        return false;
    for (int c = 0; c < colours; ++c) {
        struct plane plane = {values + c, height, width, channels, 0};
        plane.mean = mean_of(&plane);
        const double own = covariance(&plane, 0, 0);
        variance += own;
        squared += own * own;
        fourth += fourth_moment(&plane);
        for (size_t i = 0; i < sizeof apart / sizeof *apart; ++i)
            together[i] += covariance(&plane, apart[i].dy, apart[i].dx);
    }
    const double chance = DEVIATIONS / sqrt((double)height * width);
    const double bound = chance > LEAST_CORRELATION ? chance : LEAST_CORRELATION;
    for (size_t i = 0; i < sizeof apart / sizeof *apart; ++i)
        if (fabs(together[i]) >= bound * variance)
            return false;
    return variance > 0 && fourth < MOST_KURTOSIS * squared;
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

/* Counts of dark, bright and extreme values, and each channel's standard deviation. */
#include "data/picture_kind.h"

#include <stdbool.h>

#define DARK 8
#define BRIGHT 247
#define NEARLY_ALL 0.99
#define LEAST_VARIANCE (2.0 * 2.0)

static bool varies(const uint8_t *values, int64_t pixels, int channels, int channel)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < pixels; ++i) {
        const double value = values[i * channels + channel];
        sum += value;
        squares += value * value;
    }
    const double mean = sum / (double)pixels;
    return squares / (double)pixels - mean * mean > LEAST_VARIANCE;
}

enum ddpm_picture_kind ddpm_picture_kind(const uint8_t *values, int64_t pixels, int channels)
{
    const int colours = channels == 2 || channels == 4 ? channels - 1 : channels;
    const double count = (double)(pixels * colours);
    int64_t dark = 0, bright = 0, extreme = 0;
    bool any = false;
    for (int64_t i = 0; i < pixels; ++i)
        for (int c = 0; c < colours; ++c) {
            const uint8_t value = values[i * channels + c];
            dark += value <= DARK;
            bright += value >= BRIGHT;
            extreme += value == 0 || value == 255;
        }
    for (int c = 0; c < colours && !any; ++c)
        any = varies(values, pixels, channels, c);
    if ((double)dark >= NEARLY_ALL * count)
        return DDPM_PICTURE_BLACK;
    if ((double)bright >= NEARLY_ALL * count)
        return DDPM_PICTURE_WHITE;
    if (!any)
        return DDPM_PICTURE_ONE_COLOUR;
    return (double)extreme > 0.5 * count ? DDPM_PICTURE_SATURATED : DDPM_PICTURE_USUAL;
}

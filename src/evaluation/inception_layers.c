/* The operations of FID's Inception other than convolutions. Each result is summed in a fixed
 * order, whatever the thread. */
#include <string.h>

#include "evaluation/inception.h"

/* Where an output pixel reads: between `low` and `high`, `share` of the way. */
struct place {
    int low, high;
    float share;
};

/* PyTorch's bilinear with align_corners=False. */
static struct place place_of(int index, int size)
{
    const double at = (index + 0.5) * size / DDPM_INCEPTION_SIDE - 0.5;
    struct place place = {.low = at > 0 ? (int)at : 0};
    place.high = place.low + 1 < size ? place.low + 1 : place.low;
    place.share = at > 0 ? (float)(at - place.low) : 0;
    return place;
}

void ddpm_inception_picture(const uint8_t *pixels, int height, int width, int channels, float *out)
{
    struct place columns[DDPM_INCEPTION_SIDE];
    const size_t pixel = (size_t)channels, row = (size_t)width * pixel;
    for (int x = 0; x < DDPM_INCEPTION_SIDE; ++x)
        columns[x] = place_of(x, width);
    for (int y = 0; y < DDPM_INCEPTION_SIDE; ++y) {
        const struct place line = place_of(y, height);
        const uint8_t *upper = pixels + (size_t)line.low * row;
        const uint8_t *lower = pixels + (size_t)line.high * row;
        for (int x = 0; x < DDPM_INCEPTION_SIDE; ++x) {
            const size_t left = (size_t)columns[x].low * pixel;
            const size_t right = (size_t)columns[x].high * pixel;
            const float share = columns[x].share;
            for (int c = 0; c < 3; ++c) {
                const size_t at = channels == 1 ? 0 : (size_t)c;
                const float above =
                    (1 - share) * (float)upper[left + at] + share * (float)upper[right + at];
                const float below =
                    (1 - share) * (float)lower[left + at] + share * (float)lower[right + at];
                *out++ = 2 * (((1 - line.share) * above + line.share * below) / 255) - 1;
            }
        }
    }
}

/* The part of [first, first + kernel) inside [0, size). */
static void clip(int first, int kernel, int size, int *begin, int *end)
{
    *begin = first > 0 ? first : 0;
    *end = first + kernel < size ? first + kernel : size;
}

static void add(float *restrict to, const float *restrict from, int count)
{
    for (int c = 0; c < count; ++c)
        to[c] += from[c];
}

/* NaN if one of them is. */
static void take_larger(float *restrict to, const float *restrict from, int count)
{
    for (int c = 0; c < count; ++c)
        to[c] = from[c] > to[c] || from[c] != from[c] ? from[c] : to[c];
}

void ddpm_inception_pool(const struct ddpm_inception_step *step, const float *from, float *to)
{
    const struct ddpm_inception_shape *in = &step->input, *out = &step->output;
    const int channels = out->channels;
    int top, bottom, left, right;
    to += step->first;
    for (int y = 0; y < out->height; ++y) {
        clip(y * step->stride - step->padding_h, step->kernel_h, in->height, &top, &bottom);
        for (int x = 0; x < out->width; ++x, to += step->all) {
            clip(x * step->stride - step->padding_w, step->kernel_w, in->width, &left, &right);
            for (int i = top; i < bottom; ++i)
                for (int k = left; k < right; ++k) {
                    const float *pixel = from + ((int64_t)i * in->width + k) * channels;
                    if (i == top && k == left)
                        memcpy(to, pixel, (size_t)channels * sizeof *to);
                    else if (step->kind == DDPM_INCEPTION_MAX)
                        take_larger(to, pixel, channels);
                    else
                        add(to, pixel, channels);
                }
            const float count = (float)((bottom - top) * (right - left));
            for (int c = 0; c < channels && step->kind == DDPM_INCEPTION_AVERAGE; ++c)
                to[c] /= count;
        }
    }
}

void ddpm_inception_border(const struct ddpm_inception_step *step, const float *from, float *to)
{
    const struct ddpm_inception_shape *in = &step->input;
    const size_t row = (size_t)in->width * (size_t)in->channels;
    const size_t side = (size_t)step->padding_w * (size_t)in->channels, whole = row + 2 * side;
    memset(to, 0, whole * (size_t)(in->height + 2 * step->padding_h) * sizeof *to);
    to += (size_t)step->padding_h * whole + side;
    for (int y = 0; y < in->height; ++y, from += row, to += whole)
        memcpy(to, from, row * sizeof *to);
}

void ddpm_inception_relu(const struct ddpm_inception_step *step, float *to)
{
    const int64_t pixels = (int64_t)step->output.height * step->output.width;
    to += step->first;
    for (int64_t i = 0; i < pixels; ++i, to += step->all)
        for (int c = 0; c < step->output.channels; ++c)
            to[c] = to[c] < 0 ? 0 : to[c];
}

void ddpm_inception_means(const struct ddpm_inception_shape *shape, const float *from, float *out)
{
    const int64_t pixels = (int64_t)shape->height * shape->width;
    for (int c = 0; c < shape->channels; ++c) {
        double sum = 0;
        for (int64_t i = 0; i < pixels; ++i)
            sum += (double)from[i * shape->channels + c];
        out[c] = (float)(sum / (double)pixels);
    }
}

/* Dynamic thresholding of each picture, see THRESHOLD in kernels/ops.inc.
 *
 * Magnitudes have the same order as their bit patterns, so the k-th smallest is found by 31
 * bisections of the range of patterns, counting each time: exact, without sorting, and the same on
 * every machine. */
#include <math.h>
#include <string.h>

#include "core/threads.h"
#include "kernels/backend.h"
#include "kernels/cpu/levels.h"

struct picture {
    const struct ddpm_tensor *x;
    const float *data;
    int64_t pixels, count;
};

static uint32_t magnitude(const float *value)
{
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    return bits & 0x7fffffffu;
}

/* How many magnitudes are at most `bits`, and the smallest above. */
static int64_t count_up_to(const struct picture *picture, uint32_t bits, uint32_t *next)
{
    int64_t count = 0;
    *next = 0x7fffffffu;
    for (int64_t p = 0; p < picture->pixels; ++p) {
        const float *pixel = picture->data + p * picture->x->pixel_stride;
        for (int64_t c = 0; c < picture->x->c; ++c) {
            const uint32_t m = magnitude(pixel + c);
            count += m <= bits;
            *next = m > bits && m < *next ? m : *next;
        }
    }
    return count;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The quantile q of the magnitudes, linear between neighbours like torch.quantile's. */
static float quantile(const struct picture *picture, double q)
{
    const double at = q * (double)(picture->count - 1);
    const int64_t k = (int64_t)at;
    uint32_t low = 0, high = 0x7fffffffu, next;
    while (low < high) { /* the smallest pattern with more than k magnitudes up to it */
        const uint32_t middle = low + (high - low) / 2;
        if (count_up_to(picture, middle, &next) > k)
            high = middle;
        else
            low = middle + 1;
    }
    const float below = from_bits(low);
    const float above = count_up_to(picture, low, &next) > k + 1 ? below : from_bits(next);
    const float between = (float)(at - (double)k);
    return between > 0 ? below + between * (above - below) : below;
}

static void threshold_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    const int64_t pixels = x->h * x->w;
    for (int64_t b = begin; b < end; ++b) {
        const struct picture picture = {x, (const float *)x->data + b * pixels * x->pixel_stride,
                                        pixels, pixels * x->c};
        const float found = quantile(&picture, call->attributes.quantile);
        const float s = found > 1 ? found : 1;
        for (int64_t p = 0; p < pixels; ++p)
            for (int64_t c = 0; c < x->c; ++c) {
                const float value = picture.data[p * x->pixel_stride + c];
                const float clipped = value < -s ? -s : value > s ? s : value;
                ((float *)y->data)[(b * pixels + p) * y->pixel_stride + c] = clipped / s;
            }
    }
}

static ddpm_status threshold_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, call->out[0].n, 1, threshold_range, (void *)call);
    return DDPM_OK;
}

static bool threshold_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 && call->out[0].dtype == DDPM_F32;
}

static const struct ddpm_kernel threshold_kernel = {
    .name = "threshold_cpu", .supports = threshold_supports, .run = threshold_run};
KERNELS_OF_ALL_LEVELS(threshold, &threshold_kernel);

/* Layout conversions on the host. */
#include "tensor/layout.h"

#include <math.h>

void ddpm_nchw_to_nhwc(const struct ddpm_tensor *shape, const float *nchw, void *nhwc)
{
    const int64_t area = shape->h * shape->w, channels = shape->c;
    for (int64_t b = 0; b < shape->n; ++b)
        for (int64_t p = 0; p < area; ++p)
            for (int64_t c = 0; c < channels; ++c) {
                const float value = nchw[(b * channels + c) * area + p];
                const int64_t to = (b * area + p) * channels + c;
                if (shape->dtype == DDPM_F32)
                    ((float *)nhwc)[to] = value;
                else
                    ddpm_store(nhwc, shape->dtype, to, (double)value);
            }
}

void ddpm_nhwc_to_nchw(const struct ddpm_tensor *shape, const void *nhwc, float *nchw)
{
    const int64_t area = shape->h * shape->w, channels = shape->c;
    for (int64_t b = 0; b < shape->n; ++b)
        for (int64_t p = 0; p < area; ++p)
            for (int64_t c = 0; c < channels; ++c) {
                const int64_t from = (b * area + p) * channels + c;
                nchw[(b * channels + c) * area + p] =
                    shape->dtype == DDPM_F32 ? ((const float *)nhwc)[from]
                                             : (float)ddpm_load(nhwc, shape->dtype, from);
            }
}

uint8_t ddpm_byte_of(float value)
{
    const float scaled = roundf((value + 1.0f) * 127.5f);
    return (uint8_t)(scaled >= 255 ? 255 : scaled > 0 ? scaled : 0);
}

void ddpm_bytes_of_planes(uint8_t *out, const float *values, int64_t count, int64_t channels,
                          int64_t area)
{
    for (int64_t k = 0; k < count; ++k)
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t p = 0; p < area; ++p)
                out[(k * area + p) * channels + c] =
                    ddpm_byte_of(values[(k * channels + c) * area + p]);
}

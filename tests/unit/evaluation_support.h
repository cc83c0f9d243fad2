/* Shared by the tests of src/evaluation: made-up pictures and sets of them. */
#ifndef EVALUATION_SUPPORT_H
#define EVALUATION_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ddpm/evaluate.h>

#include "core/random.h"

static inline void assert_ok(ddpm_status status)
{
    if (status != DDPM_OK)
        fail_msg("%s: %s", ddpm_status_name(status), ddpm_error_message());
}

/* Pictures [count, side, side, channels]: a few random waves each, so that neighbouring pixels
 * correlate. Free with free(). */
static inline uint8_t *make_waves(int64_t count, int side, int channels, uint32_t seed)
{
    const size_t bytes = (size_t)side * (size_t)side * (size_t)channels;
    uint8_t *pictures = malloc((size_t)count * bytes);
    assert_non_null(pictures);
    for (int64_t i = 0; i < count; ++i)
        for (size_t k = 0; k < bytes; ++k) {
            const int channel = (int)(k % (size_t)channels);
            const double x = (double)(k / (size_t)channels % (size_t)side) / side;
            const double y = (double)(k / (size_t)channels / (size_t)side) / side;
            double value = 127;
            for (int wave = 0; wave < 4; ++wave) {
                float r[4];
                ddpm_normal4(ddpm_philox(seed, (uint32_t)wave, (uint32_t)i, 0, 9), r);
                value += 25 * sin(9 * (double)r[0] * x + 9 * (double)r[1] * y + 3 * (double)r[2] +
                                  (double)(r[3] * (float)channel));
            }
            pictures[(size_t)i * bytes + k] = (uint8_t)fmin(255, fmax(0, value));
        }
    return pictures;
}

static inline struct ddpm_picture_set *set_of(const uint8_t *pictures, int64_t count, int side,
                                              int channels, int threads)
{
    struct ddpm_picture_set *set;
    const struct ddpm_picture_set_options options = {
        .size = sizeof options,
        .features = "builtin",
        .height = side,
        .width = side,
        .channels = channels,
        .threads = threads,
    };
    const size_t bytes = (size_t)side * (size_t)side * (size_t)channels;
    assert_ok(ddpm_picture_set_create(&options, &set));
    assert_ok(ddpm_picture_set_add(set, pictures, count, (size_t)count * bytes));
    return set;
}

static inline struct ddpm_evaluation *compare(const struct ddpm_picture_set *generated,
                                              const struct ddpm_picture_set *real)
{
    struct ddpm_evaluation *found;
    const struct ddpm_evaluate_options options = {.size = sizeof options, .threads = 2};
    assert_ok(ddpm_evaluate(generated, real, &options, &found));
    return found;
}

#endif

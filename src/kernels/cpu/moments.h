/* Mean and variance of many values: Σ and Σ² of blocks in fp32, shifted by a pivot near the mean to
 * avoid cancellation, combined in fp64 with the formula of Chan, Golub & LeVeque (1979). */
#ifndef DDPM_KERNELS_CPU_MOMENTS_H
#define DDPM_KERNELS_CPU_MOMENTS_H

#include <math.h>

#include "kernels/cpu/element.h"

struct moments {
    double count, mean, m2; /* m2 = Σ(a - mean)² */
};

static inline void moments_join(struct moments *a, struct moments b)
{
    if (b.count <= 0)
        return;
    const double count = a->count + b.count, delta = b.mean - a->mean;
    a->mean += delta * (b.count / count);
    a->m2 += b.m2 + delta * delta * (a->count * b.count / count);
    a->count = count;
}

/* For a block: n values, whose differences from the pivot sum to `sum`, their squares to `squares`.
 * */
static inline struct moments moments_of_block(double n, float pivot, double sum, double squares)
{
    const double m2 = squares - sum * sum / n;
    return (struct moments){n, (double)pivot + sum / n, m2 < 0 ? 0 : m2};
}

/* With eight significant bits, the difference from numbers that are themselves rounded is exact. */
static inline float moments_pivot(float mean)
{
    return ddpm_bf16_to_float(ddpm_float_to_bf16(mean));
}

/* stats = (mean, 1/√(var + eps)) of `count` parts, combined in order. */
static inline void moments_finish(const struct moments *parts, int64_t count, float eps,
                                  float *stats)
{
    struct moments total = {0, 0, 0};
    for (int64_t i = 0; i < count; ++i)
        moments_join(&total, parts[i]);
    stats[0] = (float)total.mean;
    stats[1] = (float)(1 / sqrt(total.m2 / total.count + (double)eps));
}

/* The same for every image of a call, whose scratch begins with [B][count] parts. */
static inline void moments_finish_images(const struct ddpm_call *call, int64_t count,
                                         const struct ddpm_tensor *stats)
{
    const struct moments *parts = call->scratch;
    for (int64_t n = 0; n < stats->n; ++n)
        moments_finish(parts + n * count, count, call->attributes.eps,
                       (float *)stats->data + 2 * n);
}

#endif

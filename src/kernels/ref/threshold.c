/* Dynamic thresholding, scalar. The k-th smallest magnitude is found by bisection over bit
 * patterns, which have the same order as the magnitudes. */
#include <math.h>
#include <string.h>

#include "kernels/ref/ref.h"

/* The bit pattern of |x|: NaN is the largest. */
static uint64_t magnitude(const struct ddpm_tensor *x, int64_t b, int64_t i)
{
    const double value = fabs(ref_get(x, b * x->h * x->w + i / x->c, i % x->c));
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* How many magnitudes of picture b are at most `most`, and the smallest one above it. */
static int64_t count_up_to(const struct ddpm_tensor *x, int64_t b, uint64_t most, uint64_t *next)
{
    int64_t count = 0;
    *next = UINT64_C(0x7fffffffffffffff);
    for (int64_t i = 0; i < x->h * x->w * x->c; ++i) {
        const uint64_t m = magnitude(x, b, i);
        count += m <= most;
        *next = m > most && m < *next ? m : *next;
    }
    return count;
}

static double quantile(const struct ddpm_tensor *x, int64_t b, double q)
{
    const double at = q * (double)(x->h * x->w * x->c - 1);
    const int64_t k = (int64_t)at;
    uint64_t low = 0, high = UINT64_C(0x7fffffffffffffff), next;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (count_up_to(x, b, middle, &next) > k)
            high = middle;
        else
            low = middle + 1;
    }
    const double below = from_bits(low);
    const double above = count_up_to(x, b, low, &next) > k + 1 ? below : from_bits(next);
    return at > (double)k ? below + (at - (double)k) * (above - below) : below;
}

static double clipped(double value, double s)
{
    return value < -s ? -s : value > s ? s : value;
}

/* y[b] = clamp(x[b], -s, s)/s, s = max(1, quantile of |x[b]|). in: x [B,H,W,C]; out: y (may be x)
 */
ddpm_status ddpm_ref_threshold(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    const int64_t pixels = x->h * x->w;
    for (int64_t b = 0; b < x->n; ++b) {
        const double found = quantile(x, b, call->attributes.quantile), s = found > 1 ? found : 1;
        for (int64_t p = b * pixels; p < (b + 1) * pixels; ++p)
            for (int64_t c = 0; c < x->c; ++c)
                ref_set(y, p, c, clipped(ref_get(x, p, c), s) / s);
    }
    return DDPM_OK;
}

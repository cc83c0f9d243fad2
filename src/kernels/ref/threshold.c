/* Dynamic thresholding: scalar. The k-th smallest magnitude is found by halving the range of bit
 * patterns, whose order is that of the magnitudes. */
#include <math.h>
#include <string.h>

#include "kernels/ref/ref.h"

static double magnitude(const struct ddpm_tensor *x, int64_t b, int64_t i)
{
    return fabs(ref_get(x, b * x->h * x->w + i / x->c, i % x->c));
}

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* How many magnitudes of picture b are at most `most`, and the smallest beyond. */
static int64_t count_up_to(const struct ddpm_tensor *x, int64_t b, double most, double *next)
{
    int64_t count = 0;
    *next = INFINITY;
    for (int64_t i = 0; i < x->h * x->w * x->c; ++i) {
        const double m = magnitude(x, b, i);
        count += m <= most;
        *next = m > most && m < *next ? m : *next;
    }
    return count;
}

static double quantile(const struct ddpm_tensor *x, int64_t b, double q)
{
    const double at = q * (double)(x->h * x->w * x->c - 1);
    const int64_t k = (int64_t)at;
    uint64_t low = 0, high = UINT64_C(0x7ff0000000000000);
    double next;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (count_up_to(x, b, from_bits(middle), &next) > k)
            high = middle;
        else
            low = middle + 1;
    }
    const double below = from_bits(low);
    const double above = count_up_to(x, b, below, &next) > k + 1 ? below : next;
    return at > (double)k ? below + (at - (double)k) * (above - below) : below;
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
                ref_set(y, p, c, fmin(fmax(ref_get(x, p, c), -s), s) / s);
    }
    return DDPM_OK;
}

/* Moving averages whose length is a fraction of the run so far. */
#include "training/ema.h"

#include <math.h>

static double length_of(double exponent)
{
    return sqrt((exponent + 1) / (exponent + 3)) / (exponent + 2);
}

/* Between γ = 0 and a γ that is too large: σ_rel falls as γ grows, and is below 1/(γ+2). */
double ddpm_ema_exponent(double length)
{
    double low = 0, high = 1 / length;
    for (;;) {
        const double middle = 0.5 * (low + high);
        if (middle <= low || middle >= high)
            return middle;
        if (length_of(middle) > length)
            low = middle;
        else
            high = middle;
    }
}

double ddpm_power_decay(double length, int64_t t, int64_t every)
{
    if (t <= every)
        return 0;
    return pow(1 - (double)every / (double)t, ddpm_ema_exponent(length) + 1);
}

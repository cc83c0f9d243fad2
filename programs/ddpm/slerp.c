/* Interpolation on a sphere. */
#include "slerp.h"

#include <math.h>
#include <stdbool.h>

void ddpm_slerp(const float *a, const float *b, size_t count, double t, float *out)
{
    double product = 0, of_a = 0, of_b = 0;
    for (size_t i = 0; i < count; ++i) {
        product += (double)a[i] * (double)b[i];
        of_a += (double)a[i] * (double)a[i];
        of_b += (double)b[i] * (double)b[i];
    }
    const double lengths = sqrt(of_a) * sqrt(of_b);
    const double angle = lengths > 0 ? acos(fmin(fmax(product / lengths, -1), 1)) : 0;
    const bool flat = sin(angle) < 1e-6;
    const double from = flat ? 1 - t : sin((1 - t) * angle) / sin(angle);
    const double to = flat ? t : sin(t * angle) / sin(angle);
    for (size_t i = 0; i < count; ++i)
        out[i] = (float)(from * (double)a[i] + to * (double)b[i]);
}

/* Learned variances: the bounds of a step's variance, and the coefficients of the loss that trains
 * it. */
#include "diffusion/variance.h"

#include <math.h>

struct ddpm_variance ddpm_variance_between(double beta, double bar, double bar_before)
{
    return (struct ddpm_variance){.lowest = log(beta * (1 - bar_before) / (1 - bar)),
                                  .highest = log(beta)};
}

void ddpm_variance_rows(const struct ddpm_path *path, float *rows, int64_t stride)
{
    for (int64_t t = 0; t < path->timesteps; ++t, rows += stride) {
        const int64_t low = t ? t : 1;
        const double beta = path->betas[t], bar = path->alpha_bars[t];
        rows[DDPM_VARIANCE_LOWEST] =
            (float)ddpm_variance_between(path->betas[low], path->alpha_bars[low],
                                         path->alpha_bars[low - 1])
                .lowest;
        rows[DDPM_VARIANCE_HIGHEST] = (float)log(beta);
        /* both means share x_t; their x_0 and x̂_0 differ by the error of the noise */
        rows[DDPM_VARIANCE_MEAN] = (float)(beta / (sqrt(1 - beta) * sqrt(1 - bar)));
        rows[DDPM_VARIANCE_DECODER] = t == 0;
        rows[DDPM_VARIANCE_WEIGHT] = (float)((double)path->timesteps / 1000);
    }
}

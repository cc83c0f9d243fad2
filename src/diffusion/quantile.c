/* Quantiles of the noise levels of training; the distributions are those of objective.c. */
#include "diffusion/quantile.h"

#include <math.h>

/* The x below which a standard normal lies with probability `quantile`, by bisection. */
static double normal_quantile(double quantile)
{
    double low = -10, high = 10;
    for (int i = 0; i < 64; ++i) {
        const double middle = (low + high) / 2;
        *(erfc(-middle / sqrt(2.0)) / 2 < quantile ? &low : &high) = middle;
    }
    return (low + high) / 2;
}

struct ddpm_level ddpm_training_quantile(const struct ddpm_diffusion_config *model,
                                         const struct ddpm_path *path, double quantile)
{
    const double shift = path->shift;
    double t = quantile;
    if (path->kind == DDPM_PATH_SCHEDULE)
        return ddpm_path_level(path, floor(quantile * (double)path->timesteps));
    if (path->kind == DDPM_PATH_EDM)
        return ddpm_path_level_of_sigma(
            path, shift * exp(model->edm_mean + model->edm_deviation * normal_quantile(quantile)));
    if (model->flow_times == DDPM_FLOW_LOGIT_NORMAL)
        t = 1 / (1 + exp(-(model->flow_mean + model->flow_deviation * normal_quantile(quantile))));
    return ddpm_path_level_of_sigma(path, shift * t / (1 + (shift - 1) * t));
}

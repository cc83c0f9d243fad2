/* Noise levels: a schedule's path, read between its timesteps too. */
#include "diffusion/level.h"

#include <math.h>

double ddpm_level_ratio(const struct ddpm_level *level)
{
    return level->alpha > 0 ? level->sigma / level->alpha : INFINITY;
}

double ddpm_level_lambda(const struct ddpm_level *level)
{
    return log(level->alpha) - log(level->sigma);
}

/* ln(sigma/alpha) at a whole t. */
static double log_ratio(const struct ddpm_path *path, int64_t t)
{
    const double bar = path->alpha_bars[t];
    return (log1p(-bar) - log(bar)) / 2;
}

static struct ddpm_level level_of_log_ratio(double logarithm, double time)
{
    const double ratio = exp(logarithm), alpha = 1 / sqrt(1 + ratio * ratio);
    return (struct ddpm_level){
        .time = time, .alpha = alpha, .sigma = ratio * alpha, .alpha_bar = alpha * alpha};
}

struct ddpm_level ddpm_path_level(const struct ddpm_path *path, double t)
{
    const int64_t last = path->timesteps - 1;
    t = t < 0 ? 0 : t > (double)last ? (double)last : t;
    const int64_t below = (int64_t)t;
    const double part = t - (double)below;
    if (part > 0) {
        double low = log_ratio(path, below), high = log_ratio(path, below + 1);
        return level_of_log_ratio(low + part * (high - low), t);
    }
    const double bar = path->alpha_bars[below];
    return (struct ddpm_level){
        .time = t, .alpha = sqrt(bar), .sigma = sqrt(1 - bar), .alpha_bar = bar};
}

double ddpm_path_time(const struct ddpm_path *path, double ratio)
{
    const double wanted = log(ratio);
    int64_t low = 0, high = path->timesteps - 1;
    if (wanted <= log_ratio(path, low))
        return (double)low;
    if (wanted >= log_ratio(path, high))
        return (double)high;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        *(log_ratio(path, middle) <= wanted ? &low : &high) = middle;
    }
    const double below = log_ratio(path, low), above = log_ratio(path, high);
    return (double)low + (wanted - below) / (above - below);
}

struct ddpm_level ddpm_path_level_at(const struct ddpm_path *path, double ratio)
{
    if (path)
        return ddpm_path_level(path, ddpm_path_time(path, ratio));
    return (struct ddpm_level){.time = ratio, .alpha = 1, .sigma = ratio, .alpha_bar = 1};
}

/* Noise levels and the paths they lie on. */
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

/* ln(sigma/alpha) at a whole t; infinite at pure noise. */
static double log_ratio(const struct ddpm_path *path, int64_t t)
{
    const double bar = path->alpha_bars[t];
    return bar > 0 ? (log1p(-bar) - log(bar)) / 2 : INFINITY;
}

/* The level with alpha² + sigma² = 1. */
static struct ddpm_level level_of_alpha_bar(double bar, double time)
{
    return (struct ddpm_level){
        .time = time, .alpha = sqrt(bar), .sigma = sqrt(1 - bar), .alpha_bar = bar};
}

static struct ddpm_level level_of_log_ratio(double logarithm, double time)
{
    const double ratio = exp(logarithm), alpha = 1 / sqrt(1 + ratio * ratio);
    return (struct ddpm_level){
        .time = time, .alpha = alpha, .sigma = ratio * alpha, .alpha_bar = alpha * alpha};
}

static struct ddpm_level schedule_level(const struct ddpm_path *path, double t)
{
    const int64_t below = (int64_t)t;
    const double part = t - (double)below;
    if (part == 0)
        return level_of_alpha_bar(path->alpha_bars[below], t);
    const double low = log_ratio(path, below), high = log_ratio(path, below + 1);
    if (isfinite(high))
        return level_of_log_ratio(low + part * (high - low), t);
    /* towards pure noise alpha is linear */
    const double alpha = (1 - part) * sqrt(path->alpha_bars[below]);
    return level_of_alpha_bar(alpha * alpha, t);
}

static double schedule_time(const struct ddpm_path *path, double ratio)
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
    if (isfinite(above))
        return (double)low + (wanted - below) / (above - below);
    return (double)low + 1 - 1 / sqrt((1 + ratio * ratio) * path->alpha_bars[low]);
}

static struct ddpm_level flow_level(const struct ddpm_path *path, double sigma)
{
    return (struct ddpm_level){.time = (double)path->timesteps * sigma,
                               .alpha = 1 - sigma,
                               .sigma = sigma,
                               .alpha_bar = (1 - sigma) * (1 - sigma)};
}

static struct ddpm_level edm_level(double sigma)
{
    return (struct ddpm_level){.time = log(sigma) / 4, .alpha = 1, .sigma = sigma, .alpha_bar = 1};
}

struct ddpm_level ddpm_path_level_of_sigma(const struct ddpm_path *path, double sigma)
{
    return path->kind == DDPM_PATH_FLOW ? flow_level(path, sigma) : edm_level(sigma);
}

static const double rho = 7; /* Karras et al. 2022, equation 5 */

static double root(double sigma)
{
    return pow(sigma, 1 / rho);
}

/* sigma at t of a continuous path. */
static double sigma_at(const struct ddpm_path *path, double t)
{
    const double u = t / (double)path->timesteps, shift = path->shift;
    if (path->kind == DDPM_PATH_FLOW)
        return shift * u / (1 + (shift - 1) * u);
    const double low = root(path->sigma_min), high = root(path->sigma_max);
    return shift * pow(low + u * (high - low), rho);
}

static double time_of_sigma(const struct ddpm_path *path, double sigma)
{
    const double last = (double)path->timesteps, shift = path->shift;
    if (path->kind == DDPM_PATH_FLOW)
        return last * sigma / (shift - (shift - 1) * sigma);
    const double low = root(path->sigma_min), high = root(path->sigma_max);
    return last * (root(sigma / shift) - low) / (high - low);
}

double ddpm_path_begin(const struct ddpm_path *path)
{
    return path->kind == DDPM_PATH_FLOW ? (double)path->timesteps / 1000 : 0;
}

static double own_end(const struct ddpm_path *path)
{
    return (double)(path->kind == DDPM_PATH_SCHEDULE ? path->timesteps - 1 : path->timesteps);
}

double ddpm_path_end(const struct ddpm_path *path)
{
    return path->end > 0 ? path->end : own_end(path);
}

void ddpm_path_cut(struct ddpm_path *path, double ratio)
{
    const double t = ddpm_path_time(path, ratio);
    if (t > ddpm_path_begin(path) && t < ddpm_path_end(path))
        path->end = t;
}

static double clamp(double t, double end)
{
    return t < 0 ? 0 : t > end ? end : t;
}

struct ddpm_level ddpm_path_level(const struct ddpm_path *path, double t)
{
    t = clamp(t, ddpm_path_end(path));
    return path->kind == DDPM_PATH_SCHEDULE ? schedule_level(path, t)
                                            : ddpm_path_level_of_sigma(path, sigma_at(path, t));
}

double ddpm_path_time(const struct ddpm_path *path, double ratio)
{
    if (path->kind == DDPM_PATH_SCHEDULE)
        return clamp(schedule_time(path, ratio), ddpm_path_end(path));
    if (isinf(ratio))
        return ddpm_path_end(path);
    const double sigma = path->kind == DDPM_PATH_FLOW ? ratio / (1 + ratio) : ratio;
    return clamp(time_of_sigma(path, sigma), ddpm_path_end(path));
}

struct ddpm_level ddpm_path_level_at(const struct ddpm_path *path, double ratio)
{
    if (path)
        return ddpm_path_level(path, ddpm_path_time(path, ratio));
    return (struct ddpm_level){.time = ratio, .alpha = 1, .sigma = ratio, .alpha_bar = 1};
}

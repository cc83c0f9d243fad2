#include "unit/diffusion_support.h"

#include <math.h>
#include <stdlib.h>

struct ddpm_diffusion_config schedule_config(int schedule, int64_t timesteps)
{
    return (struct ddpm_diffusion_config){.timesteps = timesteps,
                                          .schedule = schedule,
                                          .cosine_s = 0.008,
                                          .sigmoid_start = -3,
                                          .sigmoid_end = 3,
                                          .sigmoid_tau = 1};
}

struct ddpm_path make_path(const struct ddpm_diffusion_config *config)
{
    const int64_t count = config->timesteps;
    double *betas = calloc(2 * (size_t)count, sizeof *betas), *bars = betas + count, product = 1;
    assert_non_null(betas);
    ddpm_schedules[config->schedule].betas(config, betas);
    for (int64_t t = 0; t < count; ++t)
        bars[t] = product *= 1 - betas[t];
    return (struct ddpm_path){.timesteps = count, .betas = betas, .alpha_bars = bars};
}

void clear_path(struct ddpm_path *path)
{
    free((void *)path->betas);
    *path = (struct ddpm_path){0};
}

struct ddpm_turns make_turns(const char *name, const struct ddpm_sampler_request *request)
{
    const struct ddpm_sampler_kind *kind;
    struct ddpm_turns turns = {0};
    assert_ok(ddpm_sampler_find(name, &kind));
    assert_ok(ddpm_sampler_turns(kind, request, &turns));
    return turns;
}

struct affine exact_denoiser(const struct ddpm_level *level)
{
    const double variance = DATA_DEVIATION * DATA_DEVIATION;
    const double slope = level->alpha * variance /
                         (level->alpha * level->alpha * variance + level->sigma * level->sigma);
    return (struct affine){.slope = slope, .offset = DATA_MEAN * (1 - level->alpha * slope)};
}

void even_levels(struct ddpm_level *levels, size_t steps, bool variance_preserving)
{
    const double first = log(80), last = log(0.002);
    for (size_t i = 0; i <= steps; ++i) {
        double ratio = exp(first + (last - first) * (double)i / (double)steps);
        double alpha = variance_preserving ? 1 / sqrt(1 + ratio * ratio) : 1;
        levels[i] = (struct ddpm_level){
            .time = ratio, .alpha = alpha, .sigma = ratio * alpha, .alpha_bar = alpha * alpha};
    }
}

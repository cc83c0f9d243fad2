/* Pairs of noise levels for Easy Consistency Tuning (Geng et al. 2024). */
#include "diffusion/consistency.h"

#include <math.h>

#include "core/random.h"

/* The authors' values for pictures: ln(sigma) ~ N(-1.1, 2²), here shifted to less noise if more
 * than one step is drawn (measured: docs/distillation.md). The gap is t·n(t)/2^stage with n(t) = 1
 * + 8/(1 + e^t), so that at first the cleaner levels are compared with the picture itself. */
static const double mean_of_one = -1.1, mean_of_more = -1.9, deviation = 2, widening = 8;

/* Drawing starts at the noisy end, which those levels hardly ever reach. So some are log-uniform
 * (measured too); they end at the model's drawing level, or where almost nothing of a picture is
 * left. */
static const double wide_share = 0.25, wide_least = 0.5, wide_most = 160;

enum { STAGES = 8 };

int ddpm_consistency_stage(int64_t done, int64_t steps)
{
    const int64_t stage = 1 + STAGES * done / steps;
    return stage < STAGES ? (int)stage : STAGES;
}

struct ddpm_consistency_pair ddpm_consistency_pair_at(const struct ddpm_path *path, double noisy,
                                                      int stage)
{
    const struct ddpm_level most = ddpm_path_level(path, ddpm_path_end(path));
    const struct ddpm_level least = ddpm_path_level(path, ddpm_path_begin(path));
    const double lowest = ddpm_level_ratio(&least);
    const double t = fmin(fmax(noisy, lowest), ddpm_level_ratio(&most));
    const double near = t * (1 - ldexp(1 + widening / (1 + exp(t)), -stage));
    return (struct ddpm_consistency_pair){.noisy = t, .near = near > lowest ? near : 0};
}

double ddpm_consistency_draw(const struct ddpm_diffusion_config *model, uint64_t seed,
                             uint32_t step, uint32_t place)
{
    const bool cut = model->drawing_level > 0;
    const double mean = model->drawing_steps == 1 && !cut ? mean_of_one : mean_of_more;
    const struct ddpm_random4 random = ddpm_philox(seed, 0, place, step, DDPM_STREAM_TIMESTEP);
    float normal[4];
    if ((double)ddpm_uniform(random.v[2]) < wide_share) {
        const double wide =
            wide_least * pow(wide_most / wide_least, (double)ddpm_uniform(random.v[3]));
        if (!cut || wide <= model->drawing_level)
            return wide;
    }
    ddpm_normal4(random, normal);
    return exp(mean + deviation * (double)normal[0]);
}

/* Six columns starting at x_0's, in the order of both levels. */
static void fill_level(const struct ddpm_diffusion_config *model, const struct ddpm_level *level,
                       float *row)
{
    struct ddpm_objective_row of;
    ddpm_objective_fill(model, level, &of);
    row[DDPM_CONSISTENCY_NOISY_X0] = (float)level->alpha;
    row[DDPM_CONSISTENCY_NOISY_NOISE] = (float)level->sigma;
    row[DDPM_CONSISTENCY_NOISY_INPUT] = (float)of.c_in;
    row[DDPM_CONSISTENCY_NOISY_TIME] = (float)of.c_noise;
    row[DDPM_CONSISTENCY_NOISY_X] = (float)of.x0_x;
    row[DDPM_CONSISTENCY_NOISY_OUT] = (float)of.x0_out;
}

void ddpm_consistency_row(const struct ddpm_diffusion_config *model, const struct ddpm_path *path,
                          const struct ddpm_consistency_pair *pair,
                          float row[DDPM_CONSISTENCY_COLUMNS])
{
    const struct ddpm_level noisy = ddpm_path_level_at(path, pair->noisy);
    const struct ddpm_level near =
        pair->near > 0 ? ddpm_path_level_at(path, pair->near)
                       : ddpm_path_level(path, ddpm_path_begin(path)); /* evaluated, not used */
    fill_level(model, &noisy, row);
    fill_level(model, &near, row + DDPM_CONSISTENCY_NEAR_X0);
    row[DDPM_CONSISTENCY_WEIGHT] = (float)(1 / (pair->noisy - pair->near));
    row[DDPM_CONSISTENCY_CLEAN] = pair->near > 0 ? 0 : 1;
    if (pair->near > 0)
        return;
    row[DDPM_CONSISTENCY_NEAR_X] = 0;
    row[DDPM_CONSISTENCY_NEAR_OUT] = 0;
}

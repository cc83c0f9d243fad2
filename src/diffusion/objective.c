/* The objectives. */
#include "diffusion/objective.h"

#include <math.h>

#include "core/memory.h"

/* ε (Ho et al. 2020, eq. 14): x̂_0 = x/√ᾱ - √(1/ᾱ - 1)·ε̂ */
static void fill_noise(const struct ddpm_level *level, struct ddpm_objective_row *row)
{
    *row = (struct ddpm_objective_row){
        .c_in = 1,
        .c_noise = level->time,
        .target_noise = 1,
        .x0_x = sqrt(1 / level->alpha_bar),
        .x0_out = -sqrt(1 / level->alpha_bar - 1),
        .weight = 1,
    };
}

const struct ddpm_objective ddpm_objectives[] = {
    [DDPM_OBJECTIVE_NOISE] = {"noise", "the noise (Ho et al. 2020)", 1, false, true, false,
                              fill_noise},
};
const size_t ddpm_objective_count = sizeof ddpm_objectives / sizeof *ddpm_objectives;

ddpm_status ddpm_training_rows(const struct ddpm_objective *objective, const struct ddpm_path *path,
                               float **rows)
{
    DDPM_TRY(ddpm_new_array((void **)rows, (size_t)path->timesteps,
                            DDPM_TRAINING_COLUMNS * sizeof **rows, "coefficients by timestep"));
    for (int64_t t = 0; t < path->timesteps; ++t) {
        const struct ddpm_level level = ddpm_path_level(path, (double)t);
        float *row = *rows + t * DDPM_TRAINING_COLUMNS;
        struct ddpm_objective_row of;
        objective->fill(&level, &of);
        row[DDPM_TRAINING_X0] = (float)level.alpha;
        row[DDPM_TRAINING_NOISE] = (float)level.sigma;
        row[DDPM_TRAINING_INPUT] = (float)of.c_in;
        row[DDPM_TRAINING_TIME] = (float)of.c_noise;
        row[DDPM_TRAINING_TARGET_X0] = (float)of.target_x0;
        row[DDPM_TRAINING_TARGET_NOISE] = (float)of.target_noise;
        row[DDPM_TRAINING_WEIGHT] = (float)of.weight;
    }
    return DDPM_OK;
}

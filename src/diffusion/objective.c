/* The objectives, and the levels they are trained at. */
#include "diffusion/objective.h"

#include <math.h>

#include "core/memory.h"
#include "core/random.h"

/* ε (Ho et al. 2020, eq. 14): x̂_0 = x/√ᾱ - √(1/ᾱ - 1)·ε̂ (eq. 15) */
static void noise_row(const struct ddpm_level *level, double sigma_data,
                      struct ddpm_objective_row *row)
{
    (void)sigma_data;
    *row = (struct ddpm_objective_row){
        .c_in = 1,
        .target_noise = 1,
        .x0_x = sqrt(1 / level->alpha_bar),
        .x0_out = -sqrt(1 / level->alpha_bar - 1),
    };
}

/* x_0 (Ho et al. 2020, section 3.2) */
static void x0_row(const struct ddpm_level *level, double sigma_data,
                   struct ddpm_objective_row *row)
{
    (void)level;
    (void)sigma_data;
    *row = (struct ddpm_objective_row){.c_in = 1, .target_x0 = 1, .x0_out = 1};
}

/* v = α·ε - σ·x_0, where α² + σ² = 1 (Salimans & Ho 2022, appendix D): x̂_0 = α·x - σ·v̂ */
static void v_row(const struct ddpm_level *level, double sigma_data, struct ddpm_objective_row *row)
{
    (void)sigma_data;
    *row = (struct ddpm_objective_row){
        .c_in = 1,
        .target_x0 = -level->sigma,
        .target_noise = level->alpha,
        .x0_x = level->alpha,
        .x0_out = -level->sigma,
    };
}

/* ε - x_0, the velocity of x_t = (1-t)·x_0 + t·ε (Liu et al. 2022, eq. 1): x̂_0 = x - t·v̂ */
static void flow_row(const struct ddpm_level *level, double sigma_data,
                     struct ddpm_objective_row *row)
{
    (void)sigma_data;
    *row = (struct ddpm_objective_row){
        .c_in = 1, .target_x0 = -1, .target_noise = 1, .x0_x = 1, .x0_out = -level->sigma};
}

/* Karras et al. 2022, table 1: x̂_0 = c_skip·x + c_out·F(c_in·x), with x = x_0 + σ·ε. The target of
 * F is (x_0 - c_skip·x)/c_out, where 1 - c_skip = σ²/(σ² + σ_data²). */
static void edm_row(const struct ddpm_level *level, double sigma_data,
                    struct ddpm_objective_row *row)
{
    const double sigma = level->sigma, norm = sqrt(sigma * sigma + sigma_data * sigma_data);
    const double skip = sigma_data * sigma_data / (norm * norm), out = sigma * sigma_data / norm;
    *row = (struct ddpm_objective_row){
        .c_in = 1 / norm,
        .target_x0 = sigma / (sigma_data * norm),
        .target_noise = -sigma_data / norm,
        .x0_x = skip,
        .x0_out = out,
    };
}

const struct ddpm_objective ddpm_objectives[DDPM_OBJECTIVE_COUNT] = {
#define OBJECTIVE(id, name_, alias_, help_, fill_, ...)                                            \
    [DDPM_OBJECTIVE_##                                                                             \
        id] = {.name = name_, .alias = alias_, .help = help_, .fill = fill_, __VA_ARGS__},
#include "config/objectives.inc"
#undef OBJECTIVE
};

/* The weight of ‖x̂_0 - x_0‖², as a function of the signal-to-noise ratio (Hang et al. 2023; soft
 * form: Crowson et al. 2024). */
static double snr_weight(const struct ddpm_diffusion_config *model, const struct ddpm_level *level)
{
    const double gamma = model->min_snr_gamma;
    const double snr = level->alpha * level->alpha / (level->sigma * level->sigma);
    return model->loss_weight == DDPM_WEIGHT_MIN_SNR ? fmin(snr, gamma)
                                                     : gamma * snr / (gamma + snr);
}

void ddpm_objective_fill(const struct ddpm_diffusion_config *model, const struct ddpm_level *level,
                         struct ddpm_objective_row *row)
{
    ddpm_objectives[model->objective].fill(level, model->sigma_data, row);
    row->c_noise = level->time;
    /* x̂_0 - x_0 = x0_out·(out - target) */
    const bool by_snr =
        model->loss_weight == DDPM_WEIGHT_MIN_SNR || model->loss_weight == DDPM_WEIGHT_SOFT_MIN_SNR;
    row->weight = by_snr ? snr_weight(model, level) * row->x0_out * row->x0_out : 1;
}

ddpm_status ddpm_objective_check(const struct ddpm_diffusion_config *model)
{
    if (model->objective != DDPM_OBJECTIVE_EDM || model->sigma_data > 0)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option sigma-data: got 0 with objective edm, want the standard deviation "
                      "of the pixel values in [-1,1]; training on pictures measures it");
}

void ddpm_objective_times(const struct ddpm_diffusion_config *model, double *least, double *most)
{
    const enum ddpm_path_kind path = ddpm_objectives[model->objective].path;
    *least = path == DDPM_PATH_EDM ? -22 : 0; /* ln(1e38)/4 */
    *most = path == DDPM_PATH_EDM ? 22 : (double)(model->timesteps - (path == DDPM_PATH_SCHEDULE));
}

/* Input of learned weights: the highest of their frequencies has a period of 2 in
 * ln(sigma/alpha). */
static double weighed_level(const struct ddpm_level *level)
{
    const double pi = 3.14159265358979323846, most = 12;
    const double log_ratio = level->alpha > 0 ? log(level->sigma / level->alpha) : most;
    return pi * fmin(fmax(log_ratio, -most), most);
}

void ddpm_training_row(const struct ddpm_diffusion_config *model, const struct ddpm_level *level,
                       float row[DDPM_TRAINING_COLUMNS])
{
    struct ddpm_objective_row of;
    ddpm_objective_fill(model, level, &of);
    row[DDPM_TRAINING_X0] = (float)level->alpha;
    row[DDPM_TRAINING_NOISE] = (float)level->sigma;
    row[DDPM_TRAINING_INPUT] = (float)of.c_in;
    row[DDPM_TRAINING_TIME] = (float)of.c_noise;
    row[DDPM_TRAINING_TARGET_X0] = (float)of.target_x0;
    row[DDPM_TRAINING_TARGET_NOISE] = (float)of.target_noise;
    row[DDPM_TRAINING_WEIGHT] = (float)of.weight;
    row[DDPM_TRAINING_LEVEL] = (float)weighed_level(level);
    for (int k = DDPM_TRAINING_VARIANCE; k < DDPM_TRAINING_COLUMNS; ++k)
        row[k] = 0;
}

ddpm_status ddpm_training_rows(const struct ddpm_diffusion_config *model,
                               const struct ddpm_path *path, float **rows)
{
    DDPM_TRY(ddpm_new_array((void **)rows, (size_t)path->timesteps,
                            DDPM_TRAINING_COLUMNS * sizeof **rows, "coefficients by timestep"));
    for (int64_t t = 0; t < path->timesteps; ++t) {
        const struct ddpm_level level = ddpm_path_level(path, (double)t);
        ddpm_training_row(model, &level, *rows + t * DDPM_TRAINING_COLUMNS);
    }
    return DDPM_OK;
}

struct ddpm_level ddpm_training_level(const struct ddpm_diffusion_config *model,
                                      const struct ddpm_path *path, uint64_t seed, uint32_t step,
                                      uint32_t place)
{
    const struct ddpm_random4 random = ddpm_philox(seed, 0, place, step, DDPM_STREAM_TIMESTEP);
    const double shift = path->shift;
    float normal[4];
    ddpm_normal4(random, normal);
    if (path->kind == DDPM_PATH_EDM)
        return ddpm_path_level_of_sigma(
            path, shift * exp(model->edm_mean + model->edm_deviation * (double)normal[0]));
    double t = (double)ddpm_uniform(random.v[0]);
    if (model->flow_times == DDPM_FLOW_LOGIT_NORMAL)
        t = 1 / (1 + exp(-(model->flow_mean + model->flow_deviation * (double)normal[0])));
    return ddpm_path_level_of_sigma(path, shift * t / (1 + (shift - 1) * t));
}

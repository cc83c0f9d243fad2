/* Objectives: the network's input at a noise level, what it learns to predict, and how a picture
 * follows from the prediction. One row per objective: config/objectives.inc. */
#ifndef DDPM_DIFFUSION_OBJECTIVE_H
#define DDPM_DIFFUSION_OBJECTIVE_H

#include "diffusion/level.h"
#include "diffusion/variance.h"

/* The coefficients of one noise level, x = alpha·x_0 + sigma·ε:
 *
 *     out = network(c_in·x, c_noise)      is trained towards    target_x0·x_0 + target_noise·ε
 *     x̂_0 = x0_x·x + x0_out·out           loss of a picture     weight·loss */
struct ddpm_objective_row {
    double c_in, c_noise;
    double target_x0, target_noise;
    double x0_x, x0_out;
    double weight;
};

struct ddpm_objective {
    const char *name, *alias, *help; /* alias may be NULL */
    enum ddpm_path_kind path;        /* the path of its levels */
    bool scales_input;               /* c_in is not 1 everywhere */
    bool learns_noise;               /* the target is ε itself */
    /* All but c_noise and weight. */
    void (*fill)(const struct ddpm_level *level, double sigma_data, struct ddpm_objective_row *row);
};

extern const struct ddpm_objective ddpm_objectives[DDPM_OBJECTIVE_COUNT];

/* The coefficients of a model at a level, with its weight in the loss. */
void ddpm_objective_fill(const struct ddpm_diffusion_config *model, const struct ddpm_level *level,
                         struct ddpm_objective_row *row);

/* DDPM_ERROR_ARGUMENT for objective edm with a sigma_data that has not been measured. */
ddpm_status ddpm_objective_check(const struct ddpm_diffusion_config *model);

/* Valid times for the network: a schedule's 0 … T-1, flow's 0 … T, edm's ln(sigma)/4 for any sigma
 * that a float holds. */
void ddpm_objective_times(const struct ddpm_diffusion_config *model, double *least, double *most);

/* Columns of a picture's coefficients in training:
 *
 *     x_t = X0·x_0 + NOISE·ε        network input INPUT·x_t at time TIME
 *     target = TARGET_X0·x_0 + TARGET_NOISE·ε        loss of the picture times WEIGHT
 *
 * Learned weights are a function of LEVEL = π·ln(sigma/alpha), clamped to ±12π, so that pure noise
 * and clean pictures are finite.
 *
 * From VARIANCE on follow those of a learned variance (enum ddpm_variance_column), which
 * ddpm_variance_rows() fills in. */
enum ddpm_training_column {
    DDPM_TRAINING_X0,
    DDPM_TRAINING_NOISE,
    DDPM_TRAINING_INPUT,
    DDPM_TRAINING_TIME,
    DDPM_TRAINING_TARGET_X0,
    DDPM_TRAINING_TARGET_NOISE,
    DDPM_TRAINING_WEIGHT,
    DDPM_TRAINING_LEVEL,
    DDPM_TRAINING_VARIANCE,
    DDPM_TRAINING_COLUMNS = DDPM_TRAINING_VARIANCE + DDPM_VARIANCE_COLUMNS,
};

/* The coefficients of one level. */
void ddpm_training_row(const struct ddpm_diffusion_config *model, const struct ddpm_level *level,
                       float row[DDPM_TRAINING_COLUMNS]);

/* The table of a schedule, fp32 [T, DDPM_TRAINING_COLUMNS]. Free it with free(). */
ddpm_status ddpm_training_rows(const struct ddpm_diffusion_config *model,
                               const struct ddpm_path *path, float **rows);

/* The level for position `place` in the batch of a step, on a continuous path: flow's t is uniform
 * or logit-normal, edm's ln(sigma) is normal. */
struct ddpm_level ddpm_training_level(const struct ddpm_diffusion_config *model,
                                      const struct ddpm_path *path, uint64_t seed, uint32_t step,
                                      uint32_t place);

#endif

/* Objectives: what the network is given at a noise level, what it learns to answer, and how a
 * picture follows from its answer. One row per objective: config/objectives.inc. */
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
    enum ddpm_path_kind path;        /* where its levels lie */
    bool scales_input;               /* c_in is not 1 everywhere */
    bool learns_noise;               /* the target is ε itself */
    /* All but c_noise and weight. */
    void (*fill)(const struct ddpm_level *level, double sigma_data, struct ddpm_objective_row *row);
};

extern const struct ddpm_objective ddpm_objectives[DDPM_OBJECTIVE_COUNT];

/* The coefficients of a model at a level, its weight of the loss included. */
void ddpm_objective_fill(const struct ddpm_diffusion_config *model, const struct ddpm_level *level,
                         struct ddpm_objective_row *row);

/* DDPM_ERROR_ARGUMENT for a model of objective edm whose sigma_data has not been measured. */
ddpm_status ddpm_objective_check(const struct ddpm_diffusion_config *model);

/* What a network may be told as its time: a schedule's 0 … T-1, flow's 0 … T, edm's ln(sigma)/4 of
 * any sigma that a float holds. */
void ddpm_objective_times(const struct ddpm_diffusion_config *model, double *least, double *most);

/* Columns of the coefficients of a picture in training:
 *
 *     x_t = X0·x_0 + NOISE·ε        network input INPUT·x_t at time TIME
 *     target = TARGET_X0·x_0 + TARGET_NOISE·ε        loss of the picture times WEIGHT
 *
 * Where weights are learned, they are a function of LEVEL = π·ln(sigma/alpha), which is kept within
 * ±12π: pure noise and clean pictures are finite.
 *
 * From VARIANCE on come those of a learned variance (enum ddpm_variance_column), which
 * ddpm_variance_rows() fills. */
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

/* The table of a schedule, fp32 [T, DDPM_TRAINING_COLUMNS]; free() it. */
ddpm_status ddpm_training_rows(const struct ddpm_diffusion_config *model,
                               const struct ddpm_path *path, float **rows);

/* The level of place `place` in the batch of a step, on a continuous path: flow's t is uniform or
 * logit-normal, edm's ln(sigma) normal. */
struct ddpm_level ddpm_training_level(const struct ddpm_diffusion_config *model,
                                      const struct ddpm_path *path, uint64_t seed, uint32_t step,
                                      uint32_t place);

#endif

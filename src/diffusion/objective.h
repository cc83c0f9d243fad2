/* Objectives: what the network is given at a noise level, what it learns to answer, and how a
 * picture follows from its answer. One row per objective. */
#ifndef DDPM_DIFFUSION_OBJECTIVE_H
#define DDPM_DIFFUSION_OBJECTIVE_H

#include "diffusion/level.h"

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
    const char *name; /* "noise" */
    const char *help;
    int outputs;       /* per channel of the pictures */
    bool scales_input; /* c_in is not 1 everywhere */
    bool learns_noise; /* the target is ε itself */
    bool weighted;     /* weight is not 1 everywhere */
    void (*fill)(const struct ddpm_level *level, struct ddpm_objective_row *row);
};

enum ddpm_objective_kind { DDPM_OBJECTIVE_NOISE };
extern const struct ddpm_objective ddpm_objectives[]; /* by enum ddpm_objective_kind */
extern const size_t ddpm_objective_count;

/* Columns of the table that training gathers its coefficients from, one row per timestep:
 *
 *     x_t = X0·x_0 + NOISE·ε        network input INPUT·x_t at time TIME
 *     target = TARGET_X0·x_0 + TARGET_NOISE·ε        loss of the picture times WEIGHT */
enum ddpm_training_column {
    DDPM_TRAINING_X0,
    DDPM_TRAINING_NOISE,
    DDPM_TRAINING_INPUT,
    DDPM_TRAINING_TIME,
    DDPM_TRAINING_TARGET_X0,
    DDPM_TRAINING_TARGET_NOISE,
    DDPM_TRAINING_WEIGHT,
    DDPM_TRAINING_COLUMNS = 8,
};

/* The table of a discrete path, fp32 [T, DDPM_TRAINING_COLUMNS]; free() it. */
ddpm_status ddpm_training_rows(const struct ddpm_objective *objective, const struct ddpm_path *path,
                               float **rows);

#endif

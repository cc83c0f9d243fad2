/* The inside of struct ddpm_sampler, shared by sampler.c (options, turns), sampler_graph.c and
 * draw.c. */
#ifndef DDPM_MODEL_SAMPLER_STATE_H
#define DDPM_MODEL_SAMPLER_STATE_H

#include <ddpm/sampler.h>

#include "diffusion/chain.h"
#include "diffusion/objective.h"
#include "diffusion/sampler.h"
#include "graph/recording.h"
#include "model/model.h"

/* The coefficients of a turn, one row per picture; all pictures of a batch are at the same turn. */
enum ddpm_turn_column {
    DDPM_TURN_INPUT, /* the network is given INPUT·x at TIME */
    DDPM_TURN_TIME,
    DDPM_TURN_X0_X, /* x̂_0 = X0_X·x + X0_OUT·out */
    DDPM_TURN_X0_OUT,
    DDPM_TURN_X0, /* x' = X0·x̂_0 + X·x + OUT·out + Σ KEPT·k + NOISE·z */
    DDPM_TURN_X,
    DDPM_TURN_OUT,
    DDPM_TURN_KEPT,
    DDPM_TURN_NOISE = DDPM_TURN_KEPT + DDPM_SAMPLER_SLOTS,
    DDPM_TURN_START, /* deviation of the first x, off a schedule */
    DDPM_TURN_ONE,   /* 1, for copies */
    DDPM_TURN_COLUMNS,
};

/* What a turn runs: [evaluate], then step or noisy step, then [keep]. */
struct ddpm_sampler_parts {
    int start; /* x = noise */
    int evaluate;
    int step, noisy_step;
    int keep[DDPM_SAMPLER_SLOTS];
};

struct ddpm_sampler {
    struct ddpm_network *network;        /* borrowed */
    struct ddpm_sampler_options options; /* with defaults filled in */
    struct ddpm_chain chain;
    const struct ddpm_objective *objective;
    struct ddpm_turns turns;
    int64_t steps, evaluations;
    char description[DDPM_CHAIN_BYTES];

    struct ddpm_graph *graph;
    struct ddpm_sampler_parts parts;
    struct ddpm_value *counters, *rows, *x;
    struct ddpm_recording recordings[2][2][1 + DDPM_SAMPLER_SLOTS]; /* by kind of turn */

    int32_t *host_counters; /* [batch][4] */
    float *host_rows;       /* [batch][DDPM_TURN_COLUMNS] */
    float *host_x;          /* [batch,H,W,C] as it comes from the device */
    float *planar_x;        /* [batch,C,H,W] */
};

/* Build the graph of the sampler's turns. */
ddpm_status ddpm_sampler_build(struct ddpm_sampler *sampler);

/* Run one turn, as a recording where the device has them. */
ddpm_status ddpm_sampler_run_turn(struct ddpm_sampler *sampler, const struct ddpm_turn *turn);

void ddpm_sampler_release_recordings(struct ddpm_sampler *sampler);

#endif

/* The inside of struct ddpm_sampler, shared by sampler.c (options, turns), sampler_graph.c, draw.c
 * and given.c (the inputs of a draw). */
#ifndef DDPM_MODEL_SAMPLER_STATE_H
#define DDPM_MODEL_SAMPLER_STATE_H

#include <ddpm/sampler.h>

#include "diffusion/chain.h"
#include "diffusion/objective.h"
#include "diffusion/sampler.h"
#include "diffusion/start.h"
#include "graph/recording.h"
#include "model/model.h"

/* The coefficients of a turn, one row per picture. All pictures of a batch are at the same turn. */
enum ddpm_turn_column {
    DDPM_TURN_INPUT, /* the network's input is INPUT·x at TIME */
    DDPM_TURN_TIME,
    DDPM_TURN_X0_X, /* x̂_0 = X0_X·x + X0_OUT·out */
    DDPM_TURN_X0_OUT,
    DDPM_TURN_X0, /* x' = X0·x̂_0 + X·x + OUT·out + Σ KEPT·k + NOISE·z */
    DDPM_TURN_X,
    DDPM_TURN_OUT,
    DDPM_TURN_KEPT,
    DDPM_TURN_NOISE = DDPM_TURN_KEPT + DDPM_SAMPLER_SLOTS,
    DDPM_TURN_START, /* standard deviation of the first x, without a schedule */
    DDPM_TURN_ONE,   /* 1, for copies */
    DDPM_TURN_KNOWN, /* KNOWN·picture + KNOWN_NOISE·z: the start of a chain, or outside a mask */
    DDPM_TURN_KNOWN_NOISE,
    DDPM_TURN_LOWEST, /* lower bound of ln variance, if it is learned */
    DDPM_TURN_HIGHEST,
    DDPM_TURN_COLUMNS,
};

/* The parts that a turn runs: [evaluate], then step or noisy step, then [keep], then [blend]. */
struct ddpm_sampler_parts {
    int start;         /* x = noise */
    int start_picture; /* x = a noised picture */
    int evaluate;
    int step, noisy_step;
    int keep[DDPM_SAMPLER_SLOTS];
    int blend; /* outside the mask, x = a noised picture */
};

struct ddpm_sampler {
    struct ddpm_network *network;        /* borrowed */
    struct ddpm_sampler_options options; /* with defaults filled in */
    struct ddpm_chain chain;
    struct ddpm_start *start; /* a copy: a trainer may replace the network's; NULL: from noise */
    const struct ddpm_objective *objective;
    struct ddpm_turns turns;
    int64_t steps, evaluations;
    char description[DDPM_CHAIN_BYTES];

    struct ddpm_graph *graph;
    struct ddpm_sampler_parts parts;
    struct ddpm_value *counters, *rows, *x;
    struct ddpm_value *picture, *mask; /* of the draw; NULL if no turn uses them */
    struct ddpm_recording recordings[2][2][1 + DDPM_SAMPLER_SLOTS][2]; /* by kind of turn */

    int32_t *host_counters; /* [batch][4] */
    float *host_rows;       /* [batch][DDPM_TURN_COLUMNS] */
    float *host_x;          /* [batch,H,W,C] as copied from the device */
    float *planar_x;        /* [batch,C,H,W] */
};

/* Build the graph of the sampler's turns. */
ddpm_status ddpm_sampler_build(struct ddpm_sampler *sampler);

/* Run one turn, as a recording if the device can record. */
ddpm_status ddpm_sampler_run_turn(struct ddpm_sampler *sampler, const struct ddpm_turn *turn);

/* Check that a draw has exactly the x, pictures and masks that the sampler was planned for. */
ddpm_status ddpm_sampler_check_given(const struct ddpm_sampler *sampler,
                                     const struct ddpm_draw *draw);

/* Copy the draw's inputs for `count` pictures, starting at its picture `offset`, to the graph. */
ddpm_status ddpm_sampler_write_given(struct ddpm_sampler *sampler, const struct ddpm_draw *draw,
                                     int64_t offset, int64_t count);

void ddpm_sampler_release_recordings(struct ddpm_sampler *sampler);

#endif

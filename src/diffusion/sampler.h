/* Samplers as arithmetic on the host: given the noise levels of a chain, a sampler fills a list of
 * turns, and whoever has a network runs them. docs/samplers.md states each sampler's formulas. */
#ifndef DDPM_DIFFUSION_SAMPLER_H
#define DDPM_DIFFUSION_SAMPLER_H

#include "diffusion/level.h"

#define DDPM_SAMPLER_SLOTS 3

/* One turn:
 *
 *     x' = x0·x̂_0 + x·x + out·out + Σ kept[j]·k_j + noise·z        added in that order
 *
 * x̂_0 and out, the network's raw result, come from an evaluation at `at` on the current x; z is
 * fresh noise. k_j is what slot j held before this turn: a turn may read a slot and fill it. A
 * weight of exactly 0 means that its term is not there, and a slot that was never filled is read
 * with weight 0 only. */
struct ddpm_turn {
    bool evaluate;        /* run the network first; else x0 and out are 0 and keep_x0 is -1 */
    struct ddpm_level at; /* of the current x, when the network is run */
    double x0, x, out, kept[DDPM_SAMPLER_SLOTS], noise;
    int keep_x0; /* the slot that x̂_0 goes into after the sum; -1: none */
    size_t step; /* the step this turn belongs to, from 0; its last turn completes it */
};

struct ddpm_turns {
    struct ddpm_turn *items;
    size_t count, capacity;
};

/* The turns that follow turn `index`: the number of its noise z. The last turn's is 0, and with one
 * turn per timestep it is t. */
static inline uint32_t ddpm_turns_left(const struct ddpm_turns *turns, size_t index)
{
    return (uint32_t)(turns->count - 1 - index);
}

void ddpm_turns_clear(struct ddpm_turns *turns);

struct ddpm_sampler_request {
    /* steps + 1, noise falling strictly; drawing ends at the last. */
    const struct ddpm_level *levels;
    size_t count;
    /* The path that the levels lie on; NULL: none, alpha is 1. */
    const struct ddpm_path *path;
    bool clip;           /* x̂_0 is clipped or otherwise changed before it is used */
    bool predicts_noise; /* the network's raw result is ε̂ */
    double eta;          /* ddim: noise added, 0 none … 1 as much as ancestral */
    int order;           /* unipc: 2 or 3; 0: the sampler's own */
    /* heun: S_churn, S_min, S_max and S_noise of Karras et al. 2022. The bounds are of
     * sigma/alpha; churn_max 0: none; churn_noise 0: 1. */
    double churn, churn_min, churn_max, churn_noise;
};

struct ddpm_sampler_kind {
    const char *name, *alias, *help; /* alias may be NULL */
    int64_t usual_steps;             /* unless a number is given; 0: one per timestep */
    bool discrete;   /* needs a path and whole timesteps: `whole` of ddpm_levels_space() */
    bool stochastic; /* always draws noise; ddim and heun do with eta and churn */
    bool takes_eta, takes_churn;
    int orders[2];            /* smallest and largest order; 0: no choice */
    int evaluations_per_step; /* at most */
    int slots;                /* 0 … DDPM_SAMPLER_SLOTS */
    ddpm_status (*fill)(const struct ddpm_sampler_request *request, struct ddpm_turns *turns);
};

extern const struct ddpm_sampler_kind ddpm_samplers[]; /* by enum ddpm_sampler_choice */
extern const size_t ddpm_samplers_count;

/* The sampler of this name or alias, or DDPM_ERROR_ARGUMENT naming the nearest. */
ddpm_status ddpm_sampler_find(const char *name, const struct ddpm_sampler_kind **out);

/* Check the request and fill `turns` anew. DDPM_ERROR_ARGUMENT where the levels do not fall, a
 * parameter is out of range, or the sampler does not have it. Free with ddpm_turns_clear(), also
 * after a failure. */
ddpm_status ddpm_sampler_turns(const struct ddpm_sampler_kind *kind,
                               const struct ddpm_sampler_request *request,
                               struct ddpm_turns *turns);

/* How often the turns run the network. */
size_t ddpm_turns_evaluations(const struct ddpm_turns *turns);

#endif

/* Samplers as arithmetic on the host: given the noise levels of a chain, a sampler fills a list of
 * turns, and whoever has a network runs them. docs/samplers.md states each sampler's formulas. */
#ifndef DDPM_DIFFUSION_SAMPLER_H
#define DDPM_DIFFUSION_SAMPLER_H

#include "diffusion/level.h"
#include "diffusion/variance.h"

#define DDPM_SAMPLER_SLOTS 3

/* One turn:
 *
 *     x' = x0·x̂_0 + x·x + out·out + Σ kept[j]·k_j + noise·z        added in that order
 *
 * x̂_0 and out, the network's raw result, come from an evaluation at `at` on the current x; z is
 * fresh noise. Where a variance is learned, z is multiplied by its deviation, element by element
 * (diffusion/variance.h). k_j is what slot j held before this turn: a turn may read a slot and fill
 * it. A weight of exactly 0 means that its term is not there, and a slot that was never filled is
 * read with weight 0 only.
 *
 * Where a picture is drawn inside a mask, the last turn of a step also has `blend`. Then, outside
 * the mask, x' = known·picture + known_noise·z' instead, with noise z' of a stream of its own. */
struct ddpm_turn {
    bool evaluate;        /* run the network first; else x0 and out are 0 and keep_x0 is -1 */
    struct ddpm_level at; /* of the current x, when the network is run */
    double x0, x, out, kept[DDPM_SAMPLER_SLOTS], noise;
    struct ddpm_variance variance; /* of z; both 0: none is learned */
    int keep_x0;                   /* the slot that x̂_0 goes into after the sum; -1: none */
    size_t step; /* the step this turn belongs to, from 0; its last turn completes it */
    bool blend;
    double known, known_noise;
};

struct ddpm_turns {
    struct ddpm_turn *items;
    size_t count, capacity;
    /* Where a chain begins from a picture, x is picture·(the picture) + noise·z before the first
     * turn, with the z that it begins from otherwise. Both 0: it does not. */
    double picture, noise;
    double start; /* deviation of x before the first turn where it begins from noise alone */
};

/* The turns that follow turn `index`: the number of its noise z. The last turn's is 0, and with one
 * turn per timestep it is t. */
static inline uint32_t ddpm_turns_left(const struct ddpm_turns *turns, size_t index)
{
    return (uint32_t)(turns->count - 1 - index);
}

/* Take all turns out, but keep the memory; free it. */
void ddpm_turns_empty(struct ddpm_turns *turns);
void ddpm_turns_clear(struct ddpm_turns *turns);

struct ddpm_sampler_request {
    /* steps + 1, noise falling strictly; drawing ends at the last. */
    const struct ddpm_level *levels;
    size_t count;
    /* The path that the levels lie on; NULL: none, alpha is 1. */
    const struct ddpm_path *path;
    bool clip;           /* x̂_0 is clipped or otherwise changed before it is used */
    bool predicts_noise; /* the network's raw result is ε̂ */
    bool
        learned_variance; /* beside ε̂ it says the variance of a step, for who reads it: ancestral */
    double eta;           /* ddim: noise added, 0 none … 1 as much as ancestral */
    int order;            /* unipc: 2 or 3; 0: the sampler's own */
    /* heun: S_churn, S_min, S_max and S_noise of Karras et al. 2022. The bounds are of
     * sigma/alpha; churn_max 0: none; churn_noise 0: 1. */
    double churn, churn_min, churn_max, churn_noise;
};

struct ddpm_sampler_kind {
    const char *name, *alias, *help; /* alias may be NULL */
    int64_t usual_steps;             /* unless a number is given; 0: one per timestep */
    bool discrete;   /* needs a path and whole timesteps: `whole` of ddpm_levels_space() */
    bool distilled;  /* for models of ddpm distill, and no other is */
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

/* Check a request for turns, as ddpm_sampler_turns() does. */
ddpm_status ddpm_sampler_check(const struct ddpm_sampler_kind *kind,
                               const struct ddpm_sampler_request *request);

/* Fill in the turns of a checked request, or of some successive levels of one, behind those that
 * are there. Its steps are counted from `step`. */
ddpm_status ddpm_sampler_append(const struct ddpm_sampler_kind *kind,
                                const struct ddpm_sampler_request *request, size_t step,
                                struct ddpm_turns *turns);

/* Fill `turns` anew with ddim run backwards, from the last level to the first: x is a picture, and
 * becomes the x that ddim would draw it from. Its steps are as many. */
ddpm_status ddpm_sampler_invert(const struct ddpm_sampler_request *request,
                                struct ddpm_turns *turns);

/* How often the turns run the network. */
size_t ddpm_turns_evaluations(const struct ddpm_turns *turns);

#endif

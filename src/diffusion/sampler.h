/* Samplers as arithmetic on the host: given the noise levels of a chain, a sampler fills a list of
 * turns, and the caller, who has the network, runs them. docs/samplers.md states each sampler's
 * formulas. */
#ifndef DDPM_DIFFUSION_SAMPLER_H
#define DDPM_DIFFUSION_SAMPLER_H

#include "diffusion/level.h"
#include "diffusion/variance.h"

#define DDPM_SAMPLER_SLOTS 3

/* One turn:
 *
 *     x' = x0·x̂_0 + x·x + out·out + Σ kept[j]·k_j + noise·z        added in that order
 *
 * x̂_0 and out, the network's raw output, come from an evaluation at `at` on the current x; z is new
 * noise. With a learned variance, z is multiplied element by element by the predicted deviation
 * (diffusion/variance.h). k_j is what slot j held before this turn: a turn may read a slot and fill
 * it. A term whose weight is exactly 0 is skipped, and a slot that was never filled is only read
 * with weight 0.
 *
 * If a picture is drawn inside a mask, the last turn of a step also has `blend`: then, outside the
 * mask, x' = known·picture + known_noise·z', with noise z' from a stream of its own. */
struct ddpm_turn {
    bool evaluate;        /* run the network first; otherwise x0 and out are 0 and keep_x0 is -1 */
    struct ddpm_level at; /* level of the current x, if the network is run */
    double x0, x, out, kept[DDPM_SAMPLER_SLOTS], noise;
    struct ddpm_variance variance; /* for z; both 0: no learned variance */
    int keep_x0;                   /* the slot that stores x̂_0 after the sum; -1: none */
    size_t step; /* step this turn belongs to, from 0; its last turn completes it */
    bool blend;
    double known, known_noise;
};

struct ddpm_turns {
    struct ddpm_turn *items;
    size_t count, capacity;
    /* If a chain starts from a picture, x is picture·(the picture) + noise·z before the first turn,
     * with the z that it would start from otherwise. Both 0: it does not. */
    double picture, noise;
    double start; /* standard deviation of x before the first turn, if it starts from noise alone */
};

/* The number of turns after turn `index`, which numbers its noise z. It is 0 for the last turn, and
 * with one turn per timestep it is t. */
static inline uint32_t ddpm_turns_left(const struct ddpm_turns *turns, size_t index)
{
    return (uint32_t)(turns->count - 1 - index);
}

/* Remove all turns but keep the memory; free the memory. */
void ddpm_turns_empty(struct ddpm_turns *turns);
void ddpm_turns_clear(struct ddpm_turns *turns);

struct ddpm_sampler_request {
    /* steps + 1 levels, with strictly falling noise; drawing ends at the last. */
    const struct ddpm_level *levels;
    size_t count;
    /* The path of the levels; NULL: none, alpha is 1. */
    const struct ddpm_path *path;
    bool clip;             /* x̂_0 is clipped or otherwise changed before use */
    bool predicts_noise;   /* the network's raw output is ε̂ */
    bool learned_variance; /* it also predicts the variance of a step, which ancestral uses */
    double eta;            /* ddim: added noise, from 0, none, to 1, as much as ancestral */
    int order;             /* unipc: 2 or 3; 0: the default */
    /* heun: S_churn, S_min, S_max and S_noise of Karras et al. 2022. The bounds are on sigma/alpha;
     * churn_max 0: none; churn_noise 0: 1. */
    double churn, churn_min, churn_max, churn_noise;
};

struct ddpm_sampler_kind {
    const char *name, *alias, *help; /* alias may be NULL */
    int64_t usual_steps;             /* default number of steps; 0: one per timestep */
    bool discrete;   /* needs a path and whole timesteps: `whole` of ddpm_levels_space() */
    bool distilled;  /* only for models made by ddpm distill, which take no other */
    bool stochastic; /* always adds noise; ddim and heun do with eta and churn */
    bool takes_eta, takes_churn;
    int orders[2];            /* lowest and highest order; 0: fixed */
    int evaluations_per_step; /* at most */
    int slots;                /* 0 … DDPM_SAMPLER_SLOTS */
    ddpm_status (*fill)(const struct ddpm_sampler_request *request, struct ddpm_turns *turns);
};

extern const struct ddpm_sampler_kind ddpm_samplers[]; /* indexed by enum ddpm_sampler_choice */
extern const size_t ddpm_samplers_count;

/* The sampler of this name or alias, or DDPM_ERROR_ARGUMENT naming the nearest. */
ddpm_status ddpm_sampler_find(const char *name, const struct ddpm_sampler_kind **out);

/* Check the request and fill `turns`. DDPM_ERROR_ARGUMENT if the levels do not fall, a parameter is
 * out of range, or the sampler does not have it. Free with ddpm_turns_clear(), also after a
 * failure. */
ddpm_status ddpm_sampler_turns(const struct ddpm_sampler_kind *kind,
                               const struct ddpm_sampler_request *request,
                               struct ddpm_turns *turns);

/* Check a request, as ddpm_sampler_turns() does. */
ddpm_status ddpm_sampler_check(const struct ddpm_sampler_kind *kind,
                               const struct ddpm_sampler_request *request);

/* Append the turns of a checked request, or of consecutive levels of one. Its steps are counted
 * from `step`. */
ddpm_status ddpm_sampler_append(const struct ddpm_sampler_kind *kind,
                                const struct ddpm_sampler_request *request, size_t step,
                                struct ddpm_turns *turns);

/* Fill `turns` with ddim run backwards, from the last level to the first: x is a picture, and
 * becomes the x from which ddim would draw it, in the same number of steps. */
ddpm_status ddpm_sampler_invert(const struct ddpm_sampler_request *request,
                                struct ddpm_turns *turns);

/* How many times the turns run the network. */
size_t ddpm_turns_evaluations(const struct ddpm_turns *turns);

#endif

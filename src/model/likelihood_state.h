/* The inside of struct ddpm_likelihood, shared by likelihood.c (options, means), likelihood_graph.c
 * (the network), likelihood_bound.c and likelihood_flow.c. Pictures are [H,W,C] throughout. */
#ifndef DDPM_MODEL_LIKELIHOOD_STATE_H
#define DDPM_MODEL_LIKELIHOOD_STATE_H

#include <ddpm/likelihood.h>

#include "diffusion/bound.h"
#include "diffusion/objective.h"
#include "model/model.h"

#define DDPM_LIKELIHOOD_BANDS 10

/* A mean and the sum of squares about it (Welford 1962). */
struct ddpm_running_mean {
    double mean, squares;
};

struct ddpm_likelihood {
    struct ddpm_network *network;           /* borrowed */
    struct ddpm_likelihood_options options; /* with defaults filled in */
    struct ddpm_path path;
    bool clip;
    int64_t values, answers; /* per picture, and per output of the network */

    struct ddpm_graph *graph;
    struct ddpm_value *x, *times, *answer;
    struct ddpm_value *seed, *pulled; /* flow: vᵀ, and vᵀJ */
    int backward;                     /* index of the backward part; -1: none */
    void *staging;                    /* host: buffer to transfer any of these */
    float *host_times;                /* [batch] */
    float *host_x, *host_answer;      /* [batch][values], [batch][answers] */
    float *probes, *host_pulled;      /* flow: [probes][batch][values], [batch][values] */

    /* The bound: its strata, their terms for the current picture in bits per dimension, and the
     * level of each place of the batch. */
    struct ddpm_bound_stratum *strata;
    int64_t stratum_count;
    double *terms; /* [stratum_count] */
    struct ddpm_bound_term *places;

    /* Results for the pictures so far. */
    double *of_pictures;
    size_t capacity;
    struct ddpm_running_mean total, prior, *of_strata, of_bands[DDPM_LIKELIHOOD_BANDS];
    struct ddpm_likelihood_level *levels, bands[DDPM_LIKELIHOOD_BANDS];
    struct ddpm_likelihood_result result;

    /* Progress of the current call of ddpm_likelihood_add(). */
    const uint8_t *pictures;
    int64_t done, to_do; /* evaluations */
};

/* Plan the graph: the forward pass, and for the flow also a backward pass to the network's input.
 * Halves the batch until it fits, if allowed. */
ddpm_status ddpm_likelihood_plan(struct ddpm_likelihood *likelihood, bool may_shrink);

/* How much memory that needs, without allocating anything large. */
ddpm_status ddpm_likelihood_lay_out(struct ddpm_likelihood *likelihood,
                                    struct ddpm_memory_plan *out);

/* Run the network on host_x [batch][values] at host_times; the result is in host_answer. */
ddpm_status ddpm_likelihood_answer(struct ddpm_likelihood *likelihood);

/* At most once after each such run: host_pulled = probeᵀ·∂answer/∂x [batch][values], for the answer
 * without its variance channels. Overwrites host_answer. */
ddpm_status ddpm_likelihood_pull(struct ddpm_likelihood *likelihood, const float *probe);

/* Count evaluations, and ask the callback whether to continue. */
ddpm_status ddpm_likelihood_report(struct ddpm_likelihood *likelihood, int64_t evaluations);

/* The number of pictures done, which is the next picture's number. */
int64_t ddpm_likelihood_count(const struct ddpm_likelihood *likelihood);

/* Record the next picture, with its bits per dimension. For the bound, `terms` holds all parts
 * except the prior's. DDPM_ERROR_NOT_FINITE if the number is not finite. */
ddpm_status ddpm_likelihood_count_picture(struct ddpm_likelihood *likelihood, double bits,
                                          double prior);

/* Measure `count` of the pictures. */
ddpm_status ddpm_likelihood_bound(struct ddpm_likelihood *likelihood, int64_t count);
ddpm_status ddpm_likelihood_flow(struct ddpm_likelihood *likelihood, int64_t count);

#endif

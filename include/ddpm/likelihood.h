/** @file
 * How likely pictures are under a network, in bits per dimension: what a lossless coder that knows
 * the network would need for each value.
 *
 * ddpm_likelihood_create() plans the measurement. ddpm_likelihood_add() measures pictures; call it
 * as often as you like. ddpm_likelihood_result() gives the result so far. docs/evaluation.md has
 * the formulas.
 *
 * Every function checks its arguments as those of network.h do. */
#ifndef DDPM_LIKELIHOOD_H
#define DDPM_LIKELIHOOD_H

#include <stddef.h>
#include <stdint.h>

#include <ddpm/network.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How a likelihood is measured. */
enum ddpm_likelihood_method {
    DDPM_LIKELIHOOD_AUTO,  /**< the bound for models with a schedule, the flow for others */
    DDPM_LIKELIHOOD_BOUND, /**< the variational bound of the ancestral chain; needs a schedule */
    DDPM_LIKELIHOOD_FLOW   /**< the probability flow, by Hutchinson's estimate of its divergence */
};

/** Called after every evaluation of the network. `done` and `total` count evaluations times
 * pictures in this call of ddpm_likelihood_add(). Return 0 to continue; any other value stops, and
 * the call returns DDPM_STOPPED. */
typedef int ddpm_likelihood_callback(void *user, int64_t done, int64_t total);

/** How to measure. Zero the struct, then set `size` and what should differ from the default. */
struct ddpm_likelihood_options {
    size_t size;                        /**< sizeof(struct ddpm_likelihood_options) */
    enum ddpm_likelihood_method method; /**< see above */
    /** Bound: timesteps measured for each picture, 2 or more; T or more: all; 0: 50. */
    int64_t levels;
    int64_t steps;             /**< flow: steps of the solver, four evaluations each; 0: 32 */
    int64_t probes;            /**< flow: random directions for each picture; 0: 1 */
    int64_t batch;             /**< as in ddpm_sampler_options */
    int64_t pictures;          /**< as in ddpm_sampler_options */
    int64_t height;            /**< pixels; 0: the configuration's */
    int64_t width;             /**< pixels; 0: the configuration's */
    enum ddpm_weights weights; /**< which weights to measure */
    int clip;                  /**< bound: clip predicted x_0: 1 yes, 0 no, -1 as configured */
    /** Picture k's random numbers depend only on (seed, k), where k counts the pictures added.
     * Batch size and threads do not change them. */
    uint64_t seed;
    ddpm_likelihood_callback *callback; /**< may be NULL */
    void *user;                         /**< for the callback */
};

/** A measurement of one network. */
struct ddpm_likelihood;

/** Plan a measurement of `network` (borrowed; must outlive it). On success the caller owns *out and
 * frees it with ddpm_likelihood_destroy(). On failure *out is NULL. Fails with DDPM_ERROR_ARGUMENT
 * for options that make no sense, or DDPM_ERROR_MEMORY. */
DDPM_API ddpm_status ddpm_likelihood_create(struct ddpm_network *network,
                                            const struct ddpm_likelihood_options *options,
                                            struct ddpm_likelihood **out);

/** How much memory a measurement would need on top of the network's (weights: 0; a step is one
 * evaluation of a batch). The network may be one without weights (ddpm_network_declare()). *out is
 * written on success only. Errors are those of ddpm_likelihood_create(). */
DDPM_API ddpm_status ddpm_likelihood_measure(struct ddpm_network *network,
                                             const struct ddpm_likelihood_options *options,
                                             struct ddpm_memory_plan *out);

/** Free a measurement and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_likelihood_destroy(struct ddpm_likelihood **likelihood);

/** Measure pictures uint8 [count, height, width, channels]; `bytes` must be their size. After a
 * failure, the pictures finished before it still count. DDPM_ERROR_NOT_FINITE names a picture for
 * which the network's output is not finite; DDPM_STOPPED if the callback asks to stop. */
DDPM_API ddpm_status ddpm_likelihood_add(struct ddpm_likelihood *likelihood,
                                         const uint8_t *pictures, int64_t count, size_t bytes);

/** A mean over pictures, in bits per dimension. */
struct ddpm_likelihood_mean {
    double bits;  /**< 0 without pictures */
    double error; /**< standard error over the choice of pictures; 0 with fewer than two */
};

/** What a range of timesteps adds to the bound. */
struct ddpm_likelihood_level {
    int64_t first;                    /**< timestep */
    int64_t last;                     /**< timestep, not below first */
    struct ddpm_likelihood_mean mean; /**< of the whole range */
};

/** The result of a measurement. */
struct ddpm_likelihood_result {
    enum ddpm_likelihood_method method;         /**< not DDPM_LIKELIHOOD_AUTO */
    int64_t pictures;                           /**< how many */
    int64_t evaluations;                        /**< of the network, for each picture */
    struct ddpm_likelihood_mean total;          /**< the bound, or the estimate of the flow */
    struct ddpm_likelihood_mean prior;          /**< bound: the part that the noisiest level adds */
    const struct ddpm_likelihood_level *levels; /**< bound: the other levels, from timestep 0 on */
    size_t level_count;                         /**< 0 for the flow */
    const struct ddpm_likelihood_level *bands;  /**< the same in fewer, wider ranges */
    size_t band_count;                          /**< at most 10 */
    const double *of_pictures;                  /**< [pictures], each picture's total */
};

/** The result so far. It and what it points to belong to the measurement and are valid until you
 * add pictures; NULL for NULL. */
DDPM_API const struct ddpm_likelihood_result *
ddpm_likelihood_result(struct ddpm_likelihood *likelihood);

/** The options of the measurement, with every default filled in. Valid as long as the measurement;
 * NULL for NULL. */
DDPM_API const struct ddpm_likelihood_options *
ddpm_likelihood_in_force(const struct ddpm_likelihood *likelihood);

#ifdef __cplusplus
}
#endif
#endif

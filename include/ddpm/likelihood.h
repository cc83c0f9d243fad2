/** @file
 * How likely a network holds given pictures to be, in bits per dimension: what a lossless coder
 * that knows the network would need for each value.
 *
 * ddpm_likelihood_create() plans the measurement, ddpm_likelihood_add() measures pictures, as often
 * as wanted, ddpm_likelihood_result() says what has come out so far. docs/evaluation.md has the
 * formulas.
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
    DDPM_LIKELIHOOD_AUTO,  /**< the bound on a schedule, the flow elsewhere */
    DDPM_LIKELIHOOD_BOUND, /**< the variational bound of the ancestral chain; on a schedule only */
    DDPM_LIKELIHOOD_FLOW   /**< the probability flow, by Hutchinson's estimate of its divergence */
};

/** Called after every run of the network. `done` and `total` count evaluations of the network for a
 * picture, of this call of ddpm_likelihood_add(). Return 0 to go on; anything else stops, and the
 * call returns DDPM_STOPPED. */
typedef int ddpm_likelihood_callback(void *user, int64_t done, int64_t total);

/** How it is measured. Zero the struct, then set `size` and what should differ from the default. */
struct ddpm_likelihood_options {
    size_t size;                        /**< sizeof(struct ddpm_likelihood_options) */
    enum ddpm_likelihood_method method; /**< see there */
    int64_t levels;            /**< bound: timesteps at which each picture is looked at, 2 or more;
                                  T or more: all; 0: 50 */
    int64_t steps;             /**< flow: steps of the solver, four evaluations each; 0: 32 */
    int64_t probes;            /**< flow: random directions for each picture; 0: 1 */
    int64_t batch;             /**< as in ddpm_sampler_options */
    int64_t pictures;          /**< as in ddpm_sampler_options */
    int64_t height;            /**< pixels; 0: the configuration's */
    int64_t width;             /**< pixels; 0: the configuration's */
    enum ddpm_weights weights; /**< whose weights are measured */
    int clip;                  /**< bound: clip predicted x_0: 1 yes, 0 no, -1 as configured */
    /** Picture k's random numbers depend on (seed, k) alone, where k counts the pictures added:
     * neither batch nor threads change a number. */
    uint64_t seed;
    ddpm_likelihood_callback *callback; /**< may be NULL */
    void *user;                         /**< for the callback */
};

/** A measurement of one network. */
struct ddpm_likelihood;

/** Plan a measurement of `network` (borrowed; must outlive it). On success *out is owned by the
 * caller: free it with ddpm_likelihood_destroy(). On failure *out is NULL: DDPM_ERROR_ARGUMENT for
 * options that make no sense, DDPM_ERROR_MEMORY. */
DDPM_API ddpm_status ddpm_likelihood_create(struct ddpm_network *network,
                                            const struct ddpm_likelihood_options *options,
                                            struct ddpm_likelihood **out);

/** What a measurement would take beside the network (weights: 0; a step is one evaluation of a
 * batch). The network may be one without weights (ddpm_network_declare()). *out is written on
 * success only. Errors are those of ddpm_likelihood_create(). */
DDPM_API ddpm_status ddpm_likelihood_measure(struct ddpm_network *network,
                                             const struct ddpm_likelihood_options *options,
                                             struct ddpm_memory_plan *out);

/** Free a measurement and set the pointer to NULL. A pointer to NULL, or NULL, does nothing. */
DDPM_API void ddpm_likelihood_destroy(struct ddpm_likelihood **likelihood);

/** Measure pictures uint8 [count, height, width, channels]; `bytes` must be their size. After a
 * failure the pictures that were finished before it count. DDPM_ERROR_NOT_FINITE names a picture of
 * which the network makes no finite number; DDPM_STOPPED when the callback asks to. */
DDPM_API ddpm_status ddpm_likelihood_add(struct ddpm_likelihood *likelihood,
                                         const uint8_t *pictures, int64_t count, size_t bytes);

/** A mean over pictures, in bits per dimension. */
struct ddpm_likelihood_mean {
    double bits;  /**< 0 without pictures */
    double error; /**< standard error over the choice of pictures; 0 with fewer than two */
};

/** What some successive timesteps add to the bound. */
struct ddpm_likelihood_level {
    int64_t first;                    /**< timestep */
    int64_t last;                     /**< timestep, not below first */
    struct ddpm_likelihood_mean mean; /**< of all of them together */
};

/** What has been measured. */
struct ddpm_likelihood_result {
    enum ddpm_likelihood_method method;         /**< not DDPM_LIKELIHOOD_AUTO */
    int64_t pictures;                           /**< how many */
    int64_t evaluations;                        /**< of the network for each picture */
    struct ddpm_likelihood_mean total;          /**< the bound, or the estimate of the flow */
    struct ddpm_likelihood_mean prior;          /**< bound: of it, what the noisiest level adds */
    const struct ddpm_likelihood_level *levels; /**< bound: the others, from timestep 0 on */
    size_t level_count;                         /**< 0 for the flow */
    const struct ddpm_likelihood_level *bands;  /**< the same put together to a few */
    size_t band_count;                          /**< at most 10 */
    const double *of_pictures;                  /**< [pictures], each picture's total */
};

/** What has come out so far. It and what it points to belong to the measurement, and are valid
 * until pictures are added; NULL for NULL. */
DDPM_API const struct ddpm_likelihood_result *
ddpm_likelihood_result(struct ddpm_likelihood *likelihood);

/** What the measurement was planned with, every default filled in. Valid as long as it; NULL for
 * NULL. */
DDPM_API const struct ddpm_likelihood_options *
ddpm_likelihood_in_force(const struct ddpm_likelihood *likelihood);

#ifdef __cplusplus
}
#endif
#endif

/** @file
 * Drawing pictures from a network.
 *
 * ddpm_sampler_create() plans a chain once: its levels, its graph, its memory. ddpm_sampler_draw()
 * then draws as often as you like, without allocating or planning anything. ddpm_sample() does both
 * in one call. */
#ifndef DDPM_SAMPLER_H
#define DDPM_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include <ddpm/network.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Progress of a draw, for progress bars and trajectories. All of it is valid only during the
 * callback. */
struct ddpm_sample_progress {
    double time; /**< the noise level that the last step started from: T-1 … 0 for the ancestral
                    chain */
    int64_t timestep; /**< how many steps are left. The ancestral chain has one step per timestep,
                           so there this is also the timestep just done: T-1 … 0 */
    int64_t done;     /**< steps done, over all batches */
    int64_t total;    /**< steps in total, over all batches */
    int64_t first;    /**< pictures [first, first+count) of the request are in x */
    int64_t count;    /**< see first */
    int64_t channels; /**< of x */
    int64_t height;   /**< of x, in pixels */
    int64_t width;    /**< of x, in pixels */
    /** fp32 [count, channels, height, width], nominally in [-1,1]; NULL for steps that
     * ddpm_draw.every does not select. */
    const float *x;
    int64_t evaluations; /**< evaluations of the network so far, over all batches; a better measure
                            of time than steps, since a step may take one or two */
    int64_t evaluations_total; /**< evaluations in total */
};

/** Called after every step. Return 0 to continue. Any other value stops the draw, which then
 * returns DDPM_STOPPED. */
typedef int ddpm_sample_callback(void *user, const struct ddpm_sample_progress *progress);

/** How a sampler draws. Start from DDPM_SAMPLER_OPTIONS_INIT, then set what should differ from the
 * default. If you zero the struct instead: set `size`, set `clip` to -1 (as configured) and
 * `weights` to DDPM_WEIGHTS_EMA; zero means no clipping and the raw weights.
 *
 * With `sampler` NULL, the chain comes from the configuration; options that are not 0 or NULL here
 * override it. With a sampler's name or "auto", the configured chain is ignored, and 0 and NULL
 * mean that sampler's own defaults. */
struct ddpm_sampler_options {
    size_t size;         /**< sizeof(struct ddpm_sampler_options) */
    const char *sampler; /**< a name of ddpm_sampler_at(), or "auto"; NULL: as configured */
    int64_t steps;       /**< 0: see above */
    const char *spacing; /**< which noise levels the steps visit; NULL: see above */
    int64_t batch;       /**< pictures drawn at once; 0: up to 16 */
    /** The most that one draw will ask for, 0: unknown. A larger `batch` is lowered to this; with
     *  `batch` 0, they are split into batches of equal size. */
    int64_t pictures;
    int64_t height;            /**< pixels; 0: the configuration's */
    int64_t width;             /**< pixels; 0: the configuration's */
    enum ddpm_weights weights; /**< which weights draw */
    int clip;                  /**< clip predicted x_0: 1 yes, 0 no, -1 as configured */
    double eta;                /**< ddim: how much noise to add, 0 … 1 */
    int order;                 /**< unipc: 2 or 3; 0: see above */
    double churn;       /**< heun: noise added over all steps, S_churn of Karras et al. 2022 */
    double churn_min;   /**< heun: smallest sigma/alpha at which churn adds noise */
    double churn_max;   /**< heun: the largest; 0: no limit */
    double churn_noise; /**< heun: factor of the noise that churn adds; 0: 1 */
    double threshold; /**< dynamic thresholding (Saharia et al. 2022): clip x_0 at this quantile of
                         its absolute values, 0 to 1; 0: off */
    int from; /**< 1: start each draw from the pictures in ddpm_draw.from, with noise added */
    double strength; /**< with `from`: the fraction of the steps to run, 0 to 1. 0 leaves the
                        picture unchanged, 1 ignores it (SDEdit, Meng et al. 2021) */
    int invert; /**< 1: run ddim backwards: turn the pictures in ddpm_draw.from into the noise that
                   ddim would draw them from. ddpm_sampler_draw_array() returns it, for use as
                   ddpm_draw.init. This uses ddim whichever sampler is configured; a sampler named
                   here must not draw noise */
    int mask; /**< 1, with `from`: draw only inside ddpm_draw.mask (RePaint, Lugmayr et al. 2022) */
    int64_t resample; /**< with `mask`: how many times to draw each step; 0: 10 */
    int64_t jump;     /**< with `mask`: how many steps to repeat at a time; 0: 1/25 of all */
    /** What draws start from: "noise", x at the noisiest level; or "fitted", x at a lower level
     * from a normal distribution fitted to the training pictures, which saves steps. That needs a
     * network from a run that stored such a fit, pictures of the run's size, and neither `from` nor
     * `invert`. "auto": fitted where possible, but noise for the ancestral sampler. NULL: see
     * above. */
    const char *start;
};

/** Options with every default: as configured, with the EMA weights. An initialiser, in C and in
 * C++: `struct ddpm_sampler_options options = DDPM_SAMPLER_OPTIONS_INIT;` */
#ifdef __cplusplus
#define DDPM_SAMPLER_OPTIONS_INIT                                                                  \
    ([] {                                                                                          \
        ddpm_sampler_options defaults_{};                                                          \
        defaults_.size = sizeof defaults_;                                                         \
        defaults_.weights = DDPM_WEIGHTS_EMA;                                                      \
        defaults_.clip = -1;                                                                       \
        return defaults_;                                                                          \
    }())
#else
#define DDPM_SAMPLER_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct ddpm_sampler_options), .weights = DDPM_WEIGHTS_EMA, .clip = -1       \
    }
#endif

/** A sampler of one network. */
struct ddpm_sampler;

/** Plan a chain on `network` (borrowed; must outlive the sampler). On success the caller owns *out
 * and frees it with ddpm_sampler_destroy(). On failure *out is NULL. Fails with DDPM_ERROR_ARGUMENT
 * for options that make no sense, or DDPM_ERROR_MEMORY, with the bytes needed, if the plan does not
 * fit. */
DDPM_API ddpm_status ddpm_sampler_create(struct ddpm_network *network,
                                         const struct ddpm_sampler_options *options,
                                         struct ddpm_sampler **out);

/** Free a sampler and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_sampler_destroy(struct ddpm_sampler **sampler);

/** What one call draws. Zero the struct, then set `size`, `count` and the rest. */
struct ddpm_draw {
    size_t size;   /**< sizeof(struct ddpm_draw) */
    int64_t count; /**< pictures, at least 1 */
    int64_t first; /**< number of the first picture, at least 0 */
    /** Picture k depends on (seed, first + k), not on the batch size or the threads. On an
     * accelerator its last bits may depend on the batch size, since other sizes may use other
     * kernels. */
    uint64_t seed;
    /** The noise to start from, x at the first level: fp32 [count, channels, height, width],
     * finite; NULL: random. Needs a sampler with `start` "noise". */
    const float *init;
    size_t init_count; /**< elements of init */
    int64_t every; /**< give x to the callback every so many steps, and after the last; 0: never */
    ddpm_sample_callback *callback; /**< may be NULL */
    void *user;                     /**< for the callback */
    /** Pictures to start from, if the sampler was planned with `from`: fp32 [count, channels,
     * height, width], finite, nominally in [-1,1]; or [channels, height, width], the same for
     * all. */
    const float *from;
    size_t from_count; /**< elements of from */
    /** Where to draw, if the sampler was planned with `mask`: fp32 [count, height, width], or
     * [height, width], the same for all. Pixels with 1 are drawn; pixels with 0 stay as in `from`,
     * bit for bit. */
    const float *mask;
    size_t mask_count; /**< elements of mask */
};

/** Draw pictures: uint8 [count, height, width, channels], (x+1)/2 scaled to 0 … 255, rounded and
 * clamped. `bytes` must be the size of `pictures`, count times ddpm_sampler_picture_bytes(). Fails
 * with DDPM_ERROR_NOT_FINITE if the chain diverges, or DDPM_STOPPED if the callback asks to stop.
 * Allocates nothing after the first call. */
DDPM_API ddpm_status ddpm_sampler_draw(struct ddpm_sampler *sampler, const struct ddpm_draw *draw,
                                       uint8_t *pictures, size_t bytes);

/** The same before rounding: fp32 [count, channels, height, width], `values` elements. Values that
 * are not finite are returned as they are. */
DDPM_API ddpm_status ddpm_sampler_draw_array(struct ddpm_sampler *sampler,
                                             const struct ddpm_draw *draw, float *pictures,
                                             size_t values);

/** The noise that a draw with (seed, first) starts from, for use as ddpm_draw.init: fp32 [count,
 * channels, height, width], `values` elements. */
DDPM_API ddpm_status ddpm_sampler_start_noise(struct ddpm_sampler *sampler, uint64_t seed,
                                              int64_t first, int64_t count, float *x,
                                              size_t values);

/** Bytes of one drawn picture; 0 for NULL. */
DDPM_API size_t ddpm_sampler_picture_bytes(const struct ddpm_sampler *sampler);

/** Steps of one draw: fewer than the chain's when it starts from a picture, more with a mask, which
 * repeats steps. 0 for NULL. */
DDPM_API int64_t ddpm_sampler_steps(const struct ddpm_sampler *sampler);

/** Evaluations of the network for one batch; 0 for NULL. */
DDPM_API int64_t ddpm_sampler_evaluations(const struct ddpm_sampler *sampler);

/** The sampler's options with every default filled in, from the configuration or by `auto`. Valid
 * as long as the sampler; NULL for NULL. */
DDPM_API const struct ddpm_sampler_options *
ddpm_sampler_in_force(const struct ddpm_sampler *sampler);

/** "dpmpp, 20 steps, trailing": for users and metadata. Valid as long as the sampler; "" for
 * NULL. */
DDPM_API const char *ddpm_sampler_description(const struct ddpm_sampler *sampler);

/** How much memory a sampler would need on top of the network's (weights: 0; a step is one
 * evaluation of a batch). The network may be one without weights (ddpm_network_declare()). *out is
 * written on success only. Errors are those of ddpm_sampler_create(). */
DDPM_API ddpm_status ddpm_sampler_measure(struct ddpm_network *network,
                                          const struct ddpm_sampler_options *options,
                                          struct ddpm_memory_plan *out);

/** One row of the table of samplers. All strings are constants of the library. */
struct ddpm_sampler_info {
    const char *name; /**< "ancestral" */
    const char *help; /**< one sentence */
};

/** How many samplers there are. */
DDPM_API size_t ddpm_sampler_count(void);

/** Sampler `index` in [0, count). All fields are NULL for a larger index. */
DDPM_API struct ddpm_sampler_info ddpm_sampler_at(size_t index);

/** The fields of ddpm_sampler_options and ddpm_draw together. Start from DDPM_SAMPLE_OPTIONS_INIT,
 * then set `count` and the rest. If you zero the struct instead: set `size`, set `clip` to -1 (as
 * configured) and `weights` to DDPM_WEIGHTS_EMA; zero means no clipping and the raw weights. */
struct ddpm_sample_options {
    size_t size;                    /**< sizeof(struct ddpm_sample_options) */
    int64_t count;                  /**< pictures, at least 1 */
    int64_t batch;                  /**< see ddpm_sampler_options */
    int64_t height;                 /**< see ddpm_sampler_options */
    int64_t width;                  /**< see ddpm_sampler_options */
    uint64_t seed;                  /**< see ddpm_draw */
    int64_t first;                  /**< see ddpm_draw */
    enum ddpm_weights weights;      /**< see ddpm_sampler_options */
    int clip;                       /**< see ddpm_sampler_options */
    int64_t every;                  /**< see ddpm_draw */
    ddpm_sample_callback *callback; /**< may be NULL */
    void *user;                     /**< for the callback */
    const char *sampler;            /**< see ddpm_sampler_options */
    int64_t steps;                  /**< see ddpm_sampler_options */
    const char *spacing;            /**< see ddpm_sampler_options */
    double eta;                     /**< see ddpm_sampler_options */
    int order;                      /**< see ddpm_sampler_options */
    double churn;                   /**< see ddpm_sampler_options */
    double churn_min;               /**< see ddpm_sampler_options */
    double churn_max;               /**< see ddpm_sampler_options */
    double churn_noise;             /**< see ddpm_sampler_options */
    double threshold;               /**< see ddpm_sampler_options */
    const float
        *from; /**< see ddpm_draw; not NULL: start from pictures, see ddpm_sampler_options */
    size_t from_count; /**< see ddpm_draw */
    double strength;   /**< see ddpm_sampler_options */
    const float *mask; /**< see ddpm_draw; not NULL: draw only inside the mask */
    size_t mask_count; /**< see ddpm_draw */
    int64_t resample;  /**< see ddpm_sampler_options */
    int64_t jump;      /**< see ddpm_sampler_options */
    const char *start; /**< see ddpm_sampler_options */
};

/** One picture with every default: as configured, with the EMA weights. An initialiser, like
 * DDPM_SAMPLER_OPTIONS_INIT. */
#ifdef __cplusplus
#define DDPM_SAMPLE_OPTIONS_INIT                                                                   \
    ([] {                                                                                          \
        ddpm_sample_options defaults_{};                                                           \
        defaults_.size = sizeof defaults_;                                                         \
        defaults_.count = 1;                                                                       \
        defaults_.weights = DDPM_WEIGHTS_EMA;                                                      \
        defaults_.clip = -1;                                                                       \
        return defaults_;                                                                          \
    }())
#else
#define DDPM_SAMPLE_OPTIONS_INIT                                                                   \
    {                                                                                              \
        .size = sizeof(struct ddpm_sample_options), .count = 1, .weights = DDPM_WEIGHTS_EMA,       \
        .clip = -1                                                                                 \
    }
#endif

/** Plan, draw and free in one call: ddpm_sampler_create(), ddpm_sampler_draw(),
 * ddpm_sampler_destroy(). The errors are theirs. `bytes` must be the size of `pictures`: count ·
 * height · width · channels. */
DDPM_API ddpm_status ddpm_sample(struct ddpm_network *network,
                                 const struct ddpm_sample_options *options, uint8_t *pictures,
                                 size_t bytes);

#ifdef __cplusplus
}
#endif
#endif

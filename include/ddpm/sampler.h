/** @file
 * Drawing pictures from a network.
 *
 * ddpm_sampler_create() plans a chain once: its levels, its graph, its memory. ddpm_sampler_draw()
 * then draws as often as wanted, without allocating or planning anything. ddpm_sample() does both
 * in one call. */
#ifndef DDPM_SAMPLER_H
#define DDPM_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include <ddpm/network.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How far a chain is, for progress bars and trajectories. Everything is borrowed for the
 * duration of the callback. */
struct ddpm_sample_progress {
    double time;      /**< the level that the last turn left: T-1 … 0 for the ancestral chain */
    int64_t timestep; /**< steps left; with T steps, the timestep just done: T-1 … 0 */
    int64_t done;     /**< steps done, over all batches */
    int64_t total;    /**< steps there are, over all batches */
    int64_t first;    /**< pictures [first, first+count) of the request are in x */
    int64_t count;    /**< see first */
    int64_t channels; /**< of x */
    int64_t height;   /**< of x, in pixels */
    int64_t width;    /**< of x, in pixels */
    /** fp32 [count, channels, height, width], nominally in [-1,1]; NULL unless ddpm_draw.every asks
     * for this step. */
    const float *x;
    int64_t evaluations;       /**< how often the network has run, over all batches: a measure of
                                  time, since a step may run it once or twice */
    int64_t evaluations_total; /**< how often it will have */
};

/** Called after every step. Return 0 to go on. Anything else stops the drawing, and the call that
 * draws returns DDPM_STOPPED. */
typedef int ddpm_sample_callback(void *user, const struct ddpm_sample_progress *progress);

/** What a sampler is. Zero the struct, then set `size` and what should differ from the default.
 *
 * With `sampler` NULL the chain is the configuration's, but for what is not 0 or NULL here. With a
 * name, "auto" included, nothing of it is: 0 and NULL are then that sampler's own. */
struct ddpm_sampler_options {
    size_t size;         /**< sizeof(struct ddpm_sampler_options) */
    const char *sampler; /**< a name of ddpm_sampler_at(), or "auto"; NULL: as configured */
    int64_t steps;       /**< 0: see above */
    const char *spacing; /**< how the steps are spread over the noise levels; NULL: see above */
    int64_t batch;       /**< pictures at once; 0: as many as fit comfortably, at most 16 */
    int64_t pictures;    /**< that a draw will ask for, at most: batch is lowered to make batches of
                            one size; 0: unknown */
    int64_t height;      /**< pixels; 0: the configuration's */
    int64_t width;       /**< pixels; 0: the configuration's */
    enum ddpm_weights weights; /**< which weights draw */
    int clip;                  /**< clip predicted x_0: 1 yes, 0 no, -1 as configured */
    double eta;                /**< ddim: noise added, 0 … 1 */
    int order;                 /**< unipc: 2 or 3; 0: see above */
    double churn;       /**< heun: noise added over all steps, S_churn of Karras et al. 2022 */
    double churn_min;   /**< heun: smallest sigma/alpha that churn raises */
    double churn_max;   /**< heun: the largest; 0: any */
    double churn_noise; /**< heun: factor of the noise that churn adds; 0: 1 */
    double threshold; /**< dynamic thresholding (Saharia et al. 2022): clip x_0 at this quantile of
                         its own magnitudes, 0 to 1; 0: off */
    int from;         /**< 1: draws begin from the pictures of ddpm_draw.from, noised */
    double strength;  /**< with `from`: the part of the steps that is run, 0 to 1. With 0 nothing is
                         changed, with 1 nothing of the picture is looked at (SDEdit, Meng et al.
                         2021) */
    int invert;       /**< 1: draws turn ddpm_draw.from into the x at the first level that ddim
                         draws it from, for ddpm_draw.init later: ddpm_sampler_draw_array() hands it
                         out. Whichever sampler is configured ddim is taken, but one that is named
                         must not draw noise */
    int mask;         /**< 1, with `from`: draw inside ddpm_draw.mask only (RePaint, Lugmayr et al.
                         2022) */
    int64_t resample; /**< with `mask`: how often steps are drawn, in all; 1: once; 0: 10 */
    int64_t jump;     /**< with `mask`: how many steps at a time; 0: a 25th of all */
};

/** A sampler of one network. */
struct ddpm_sampler;

/** Plan a chain on `network` (borrowed; must outlive the sampler). On success *out is owned by the
 * caller: free it with ddpm_sampler_destroy(). On failure *out is NULL: DDPM_ERROR_ARGUMENT for
 * options that make no sense, DDPM_ERROR_MEMORY, saying what is needed, when it does not fit. */
DDPM_API ddpm_status ddpm_sampler_create(struct ddpm_network *network,
                                         const struct ddpm_sampler_options *options,
                                         struct ddpm_sampler **out);

/** Free a sampler and set the pointer to NULL. A pointer to NULL, or NULL, does nothing. */
DDPM_API void ddpm_sampler_destroy(struct ddpm_sampler **sampler);

/** What one call draws. Zero the struct, then set `size`, `count` and the rest. */
struct ddpm_draw {
    size_t size;   /**< sizeof(struct ddpm_draw) */
    int64_t count; /**< pictures, at least 1 */
    int64_t first; /**< number of the first picture, at least 0 */
    /** Picture k depends on (seed, first + k), not on the batch or the threads. On an accelerator,
     * whose kernels differ by size, its last bits may. */
    uint64_t seed;
    /** x at the first level, fp32 [count, channels, height, width], finite; NULL: drawn. */
    const float *init;
    size_t init_count; /**< elements of init */
    int64_t every; /**< hand x to the callback each that many steps, and at the last; 0: never */
    ddpm_sample_callback *callback; /**< may be NULL */
    void *user;                     /**< for the callback */
    /** Pictures to begin from, where the sampler was planned for them: fp32 [count, channels,
     * height, width], finite, nominally in [-1,1], or one for all [channels, height, width]. */
    const float *from;
    size_t from_count; /**< elements of from */
    /** Where to draw, if the sampler was planned for it: fp32 [count, height, width], or one for
     * all [height, width]. 1 is drawn, 0 is the picture of `from`, to the bit. */
    const float *mask;
    size_t mask_count; /**< elements of mask */
};

/** Draw pictures: uint8 [count, height, width, channels], (x+1)/2 scaled to 0 … 255, rounded,
 * clamped; `bytes` must be the size of `pictures`, count times ddpm_sampler_picture_bytes(). Fails
 * with DDPM_ERROR_NOT_FINITE when the chain diverges, DDPM_STOPPED when the callback asks to.
 * Allocates nothing after the first call. */
DDPM_API ddpm_status ddpm_sampler_draw(struct ddpm_sampler *sampler, const struct ddpm_draw *draw,
                                       uint8_t *pictures, size_t bytes);

/** The same before rounding: fp32 [count, channels, height, width], `values` elements. Values that
 * are not finite are handed out as they are. */
DDPM_API ddpm_status ddpm_sampler_draw_array(struct ddpm_sampler *sampler,
                                             const struct ddpm_draw *draw, float *pictures,
                                             size_t values);

/** x at the first level as draws of (seed, first) begin, for ddpm_draw.init: fp32 [count, channels,
 * height, width], `values` elements. */
DDPM_API ddpm_status ddpm_sampler_start_noise(struct ddpm_sampler *sampler, uint64_t seed,
                                              int64_t first, int64_t count, float *x,
                                              size_t values);

/** Bytes of one drawn picture; 0 for NULL. */
DDPM_API size_t ddpm_sampler_picture_bytes(const struct ddpm_sampler *sampler);

/** Steps that a draw takes: fewer than the chain has where it begins from a picture, more with a
 * mask whose steps are drawn again. 0 for NULL. */
DDPM_API int64_t ddpm_sampler_steps(const struct ddpm_sampler *sampler);

/** How often the chain runs the network; 0 for NULL. */
DDPM_API int64_t ddpm_sampler_evaluations(const struct ddpm_sampler *sampler);

/** What the sampler was planned with, every default filled in: the configuration's and `auto`'s.
 * Valid as long as the sampler; NULL for NULL. */
DDPM_API const struct ddpm_sampler_options *
ddpm_sampler_in_force(const struct ddpm_sampler *sampler);

/** "dpmpp, 20 steps, trailing": for people and metadata. Valid as long as the sampler; "" for NULL.
 */
DDPM_API const char *ddpm_sampler_description(const struct ddpm_sampler *sampler);

/** What a sampler would take beside the network while it draws (weights: 0; a step is one
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

/** Sampler `index` in [0, count). All NULL for an index beyond. */
DDPM_API struct ddpm_sampler_info ddpm_sampler_at(size_t index);

/** Both in one: what ddpm_sampler_options and ddpm_draw hold. */
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
        *from; /**< see ddpm_draw; not NULL: begin from pictures, see ddpm_sampler_options */
    size_t from_count; /**< see ddpm_draw */
    double strength;   /**< see ddpm_sampler_options */
    const float *mask; /**< see ddpm_draw; not NULL: draw inside the mask only */
    size_t mask_count; /**< see ddpm_draw */
    int64_t resample;  /**< see ddpm_sampler_options */
    int64_t jump;      /**< see ddpm_sampler_options */
};

/** Plan a chain, draw, free it: ddpm_sampler_create(), ddpm_sampler_draw(), ddpm_sampler_destroy(),
 * with their errors. `bytes` must be the size of `pictures`: count · height · width · channels. */
DDPM_API ddpm_status ddpm_sample(struct ddpm_network *network,
                                 const struct ddpm_sample_options *options, uint8_t *pictures,
                                 size_t bytes);

#ifdef __cplusplus
}
#endif
#endif

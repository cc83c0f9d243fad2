/** @file
 * How close drawn pictures are to real ones, and whether they are copies of them.
 *
 * Pictures go into two sets, which keep their features and a small copy of each. ddpm_evaluate()
 * compares the sets. docs/evaluation.md says what every number means.
 *
 * Every function checks its arguments as those of network.h do. */
#ifndef DDPM_EVALUATE_H
#define DDPM_EVALUATE_H

#include <stddef.h>
#include <stdint.h>

#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One row of the table of features. All strings are constants of the library. */
struct ddpm_features_info {
    const char *name;  /**< "builtin" */
    const char *help;  /**< one sentence */
    int64_t width;     /**< numbers for one picture */
    int wants_network; /**< sets need a network to compute them */
};

/** How many kinds of features there are. */
DDPM_API size_t ddpm_features_count(void);

/** Features `index` in [0, count). All NULL and 0 for an index beyond. */
DDPM_API struct ddpm_features_info ddpm_features_at(size_t index);

/** A network that features are computed with, and its weights. */
struct ddpm_feature_network;

/** Read the weights of the network of "inception" from a file: safetensors, or what torch.save
 * writes; nothing in it is executed. docs/evaluation.md says which weights. The network computes on
 * the CPU. On success *out is owned by the caller: free it with ddpm_feature_network_close(), after
 * the sets that use it; several sets may, at the same time too. On failure *out is NULL:
 * DDPM_ERROR_FORMAT for a file that holds no tensors, DDPM_ERROR_MISMATCH, naming the tensor, where
 * one is missing or has another shape, DDPM_ERROR_NOT_FINITE, DDPM_ERROR_UNSUPPORTED where the
 * library was built without libzip and the file needs it. */
DDPM_API ddpm_status ddpm_feature_network_open(const char *path, struct ddpm_feature_network **out);

/** Free it and set the pointer to NULL. A pointer to NULL, or NULL, does nothing. */
DDPM_API void ddpm_feature_network_close(struct ddpm_feature_network **network);

/** Pictures to be compared: their features, and small copies to find neighbours by pixels. */
struct ddpm_picture_set;

/** What a set holds. Zero the struct, then set `size` and the rest. */
struct ddpm_picture_set_options {
    size_t size;          /**< sizeof(struct ddpm_picture_set_options) */
    const char *features; /**< a name of ddpm_features_at(); NULL: none are computed */
    int height;           /**< of all pictures, in pixels; 0: there are no pictures */
    int width;            /**< the same */
    int channels;         /**< 1 (grey), 3 (RGB) or 4 (RGBA) */
    int threads;          /**< 0: all processors; the results are the same for any number */
    const struct ddpm_feature_network *network; /**< of "inception"; NULL for other features */
};

/** Make an empty set. On success *out is owned by the caller: free it with
 * ddpm_picture_set_destroy(). On failure *out is NULL. */
DDPM_API ddpm_status ddpm_picture_set_create(const struct ddpm_picture_set_options *options,
                                             struct ddpm_picture_set **out);

/** Free a set and set the pointer to NULL. A pointer to NULL, or NULL, does nothing. */
DDPM_API void ddpm_picture_set_destroy(struct ddpm_picture_set **set);

/** Append pictures uint8 [count, height, width, channels]; `bytes` must be their size. The pictures
 * themselves are not kept. DDPM_ERROR_NOT_FINITE where a network makes features that are not
 * finite: nothing is appended then. */
DDPM_API ddpm_status ddpm_picture_set_add(struct ddpm_picture_set *set, const uint8_t *pictures,
                                          int64_t count, size_t bytes);

/** Give a set that computes no features, and has none yet, those of its pictures: fp32 [count,
 * width], all finite, `values` elements. With pictures in the set, count must be theirs. */
DDPM_API ddpm_status ddpm_picture_set_give(struct ddpm_picture_set *set, const float *features,
                                           int64_t count, int64_t width, size_t values);

/** How many pictures, or rows of features, are in it; 0 for NULL. */
DDPM_API int64_t ddpm_picture_set_count(const struct ddpm_picture_set *set);

/** Features fp32 [count, *width]; NULL when there are none. Valid until the set changes. */
DDPM_API const float *ddpm_picture_set_features(const struct ddpm_picture_set *set, int64_t *width);

/** Write mean and covariance of the features as pytorch-fid does: a .npz with mu [D] and sigma
 * [D,D], fp64. DDPM_ERROR_UNSUPPORTED where the library was built without libzip. */
DDPM_API ddpm_status ddpm_picture_set_write_statistics(const struct ddpm_picture_set *set,
                                                       const char *path);

/** Make a set of such a file: only the Fréchet distance can be had from it. Ownership as
 * ddpm_picture_set_create(). DDPM_ERROR_FORMAT for another content, DDPM_ERROR_UNSUPPORTED where
 * the library was built without libzip. */
DDPM_API ddpm_status ddpm_picture_set_read_statistics(const char *path,
                                                      struct ddpm_picture_set **out);

/** A number and its 95 % interval over the choice of generated pictures. */
struct ddpm_estimate {
    const char *missing; /**< NULL: it is known; else why it is not, a constant of the library */
    double value;        /**< 0 when it is missing, as all that follows */
    double error;        /**< standard error */
    double low;          /**< lower end of the interval */
    double high;         /**< upper end */
};

/** The nearest picture. */
struct ddpm_neighbour {
    int64_t index;   /**< in its set */
    double distance; /**< see ddpm_neighbours */
    int mirrored;    /**< it is nearer when mirrored left to right; by pixels only */
};

/** Nearest real pictures of all generated ones. By pixels, distances are root mean squares of the
 * differences of small copies, 0 … 255; by features they are Euclidean. */
struct ddpm_neighbours {
    const char *missing; /**< NULL: known; else why they are not, a constant of the library */
    int64_t count;       /**< of generated pictures */
    const struct ddpm_neighbour *real; /**< [count], the nearest real picture of each */
    const struct ddpm_neighbour *own;  /**< [count], the nearest other generated picture */
    /** A held-out picture is as near as this to a real one in 1 of 20 cases; without held-out
     * pictures, a real one to another real one. */
    double threshold;
    int64_t near;         /**< generated pictures that are as near to a real one */
    int64_t same;         /**< of these, those at distance 0 */
    double own_threshold; /**< a real picture is as near to another one in 1 of 20 cases */
    int64_t near_own;     /**< generated pictures that are as near to another generated one */
    int64_t same_own;     /**< of these, those at distance 0 */
};

/** What ddpm_evaluate() has found. */
struct ddpm_evaluation {
    int64_t generated;              /**< pictures */
    int64_t real;                   /**< pictures; 0: only their statistics are known */
    int64_t held_out;               /**< pictures; 0: none were given */
    int64_t width;                  /**< of the features; 0: none */
    struct ddpm_estimate frechet;   /**< Fréchet distance of the features */
    struct ddpm_estimate kernel;    /**< kernel distance: unbiased MMD², cubic polynomial kernel */
    struct ddpm_estimate precision; /**< Kynkäänniemi et al. 2019, k = 3 */
    struct ddpm_estimate recall;    /**< the same */
    struct ddpm_estimate density;   /**< Naeem et al. 2020, k = 5 */
    struct ddpm_estimate coverage;  /**< the same */
    struct ddpm_neighbours pixels;  /**< neighbours by pixels */
    struct ddpm_neighbours features; /**< neighbours by features */
    /** Generated pictures that show nothing: usual, black, white, one colour, saturated, noise. */
    int64_t kinds[6];
};

/** Called now and then from the calling thread. Return 0 to go on; anything else stops, and the
 * call returns DDPM_STOPPED. `what` is a constant of the library. */
typedef int ddpm_evaluate_callback(void *user, const char *what, int64_t done, int64_t total);

/** How sets are compared. Zero the struct, then set `size` and the rest. */
struct ddpm_evaluate_options {
    size_t size;                      /**< sizeof(struct ddpm_evaluate_options) */
    int threads;                      /**< as in ddpm_picture_set_options */
    ddpm_evaluate_callback *callback; /**< may be NULL */
    void *user;                       /**< for the callback */
    /** Real pictures that the generator was not trained on, of the same size and with the same
     * features: they say how near to `real` a picture comes by chance. NULL: the real pictures
     * among themselves say it. Not changed. */
    const struct ddpm_picture_set *held_out;
};

/** Fewest pictures of a set. */
#define DDPM_EVALUATE_LEAST 10

/** Compare generated pictures with real ones; the sets are not changed. What cannot be had from
 * what they hold is missing in the result, with the reason. On success *out is owned by the caller:
 * free it with ddpm_evaluation_destroy(). On failure *out is NULL: DDPM_ERROR_ARGUMENT for fewer
 * than DDPM_EVALUATE_LEAST pictures of a set, DDPM_ERROR_MISMATCH for features or pictures of
 * different sizes, DDPM_ERROR_MEMORY, DDPM_STOPPED. */
DDPM_API ddpm_status ddpm_evaluate(const struct ddpm_picture_set *generated,
                                   const struct ddpm_picture_set *real,
                                   const struct ddpm_evaluate_options *options,
                                   struct ddpm_evaluation **out);

/** Free a result and set the pointer to NULL. A pointer to NULL, or NULL, does nothing. */
DDPM_API void ddpm_evaluation_destroy(struct ddpm_evaluation **evaluation);

#ifdef __cplusplus
}
#endif
#endif

/** @file
 * How close generated pictures are to real ones, and whether they are copies of them.
 *
 * Pictures go into two sets. A set keeps each picture's features and a thumbnail, not the picture.
 * ddpm_evaluate() compares the sets. docs/evaluation.md explains every number.
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
    int wants_network; /**< needs a network (ddpm_picture_set_options.network) */
};

/** How many kinds of features there are. */
DDPM_API size_t ddpm_features_count(void);

/** Features `index` in [0, count). All fields are NULL or 0 for a larger index. */
DDPM_API struct ddpm_features_info ddpm_features_at(size_t index);

/** A network that computes features, with its weights. */
struct ddpm_feature_network;

/** Read the weights of the "inception" network from a safetensors file or a file that torch.save
 * wrote; nothing in it is executed. docs/evaluation.md says which weights. The network runs on the
 * CPU. On success the caller owns *out and frees it with ddpm_feature_network_close(), after the
 * sets that use it. Several sets may use it, at the same time too. On failure *out is NULL. Fails
 * with DDPM_ERROR_FORMAT for a file without tensors, DDPM_ERROR_MISMATCH, naming the tensor, if one
 * is missing or has the wrong shape, DDPM_ERROR_NOT_FINITE, or DDPM_ERROR_UNSUPPORTED if the file
 * needs libzip and the library was built without it. */
DDPM_API ddpm_status ddpm_feature_network_open(const char *path, struct ddpm_feature_network **out);

/** Free it and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_feature_network_close(struct ddpm_feature_network **network);

/** Pictures to compare: their features, and thumbnails to find neighbours by pixels. */
struct ddpm_picture_set;

/** What a set contains. Zero the struct, then set `size` and the rest. */
struct ddpm_picture_set_options {
    size_t size;          /**< sizeof(struct ddpm_picture_set_options) */
    const char *features; /**< a name of ddpm_features_at(); NULL: none are computed */
    int height;   /**< of all pictures, in pixels; 0: the set has no pictures, only features */
    int width;    /**< the same */
    int channels; /**< 1 (grey), 3 (RGB) or 4 (RGBA) */
    int threads;  /**< 0: all processors; the results are the same for any number */
    const struct ddpm_feature_network *network; /**< of "inception"; NULL for other features */
};

/** Make an empty set. On success the caller owns *out and frees it with ddpm_picture_set_destroy().
 * On failure *out is NULL. */
DDPM_API ddpm_status ddpm_picture_set_create(const struct ddpm_picture_set_options *options,
                                             struct ddpm_picture_set **out);

/** Free a set and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_picture_set_destroy(struct ddpm_picture_set **set);

/** Append pictures uint8 [count, height, width, channels]; `bytes` must be their size. The set does
 * not keep the pictures themselves. DDPM_ERROR_NOT_FINITE if the network's features are not finite;
 * the set is then unchanged. */
DDPM_API ddpm_status ddpm_picture_set_add(struct ddpm_picture_set *set, const uint8_t *pictures,
                                          int64_t count, size_t bytes);

/** Supply the features of a set that computes none and has none yet: fp32 [count, width], all
 * finite, `values` elements. If the set has pictures, `count` must be their number. */
DDPM_API ddpm_status ddpm_picture_set_give(struct ddpm_picture_set *set, const float *features,
                                           int64_t count, int64_t width, size_t values);

/** How many pictures, or rows of features, the set has; 0 for NULL. */
DDPM_API int64_t ddpm_picture_set_count(const struct ddpm_picture_set *set);

/** Features fp32 [count, *width]; NULL if there are none. Valid until the set changes. */
DDPM_API const float *ddpm_picture_set_features(const struct ddpm_picture_set *set, int64_t *width);

/** Write mean and covariance of the features as pytorch-fid does: a .npz with mu [D] and sigma
 * [D,D], fp64. DDPM_ERROR_UNSUPPORTED if the library was built without libzip. */
DDPM_API ddpm_status ddpm_picture_set_write_statistics(const struct ddpm_picture_set *set,
                                                       const char *path);

/** Make a set from such a file. It gives only the Fréchet distance. Ownership is that of
 * ddpm_picture_set_create(). DDPM_ERROR_FORMAT for any other content, DDPM_ERROR_UNSUPPORTED if the
 * library was built without libzip. */
DDPM_API ddpm_status ddpm_picture_set_read_statistics(const char *path,
                                                      struct ddpm_picture_set **out);

/** A number and its 95 % interval over the choice of generated pictures. */
struct ddpm_estimate {
    const char *missing; /**< NULL if the value is known; else the reason it is not, a constant of
                            the library */
    double value;        /**< this and the rest are 0 if the value is missing */
    double error;        /**< standard error */
    double low;          /**< lower end of the interval */
    double high;         /**< upper end */
};

/** The nearest picture. */
struct ddpm_neighbour {
    int64_t index;   /**< in its set */
    double distance; /**< see ddpm_neighbours */
    int mirrored;    /**< it was nearest when mirrored left to right; by pixels only */
};

/** The nearest real picture of every generated one. By pixels, the distance is the root mean square
 * difference of the thumbnails, 0 … 255; by features it is Euclidean. */
struct ddpm_neighbours {
    const char *missing; /**< NULL if they are known; else the reason they are not, a constant of
                            the library */
    int64_t count;       /**< of generated pictures */
    const struct ddpm_neighbour *real; /**< [count], the nearest real picture of each */
    const struct ddpm_neighbour *own;  /**< [count], the nearest other generated picture */
    /** The distance within which 1 in 20 held-out pictures has a real picture; without held-out
     * pictures, within which 1 in 20 real pictures has another real one. */
    double threshold;
    int64_t near; /**< generated pictures within `threshold` of a real one */
    int64_t same; /**< of these, those at distance 0 */
    /** A distance: 1 in 20 real pictures has another real one this near or nearer, if each is
     * compared with as many others as the smaller set has. */
    double own_threshold;
    int64_t near_own; /**< generated pictures within `own_threshold` of another one, among as many
                       * others */
    int64_t same_own; /**< generated pictures that are equal to another one */
};

/** The result of ddpm_evaluate(). */
struct ddpm_evaluation {
    int64_t generated;              /**< pictures */
    int64_t real;                   /**< pictures; 0: only statistics are known */
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
    /** Generated pictures by kind: usual, and those that show nothing: black, white, one colour,
     * saturated, noise. */
    int64_t kinds[6];
};

/** Called from time to time, on the calling thread. Return 0 to continue; any other value stops,
 * and the call returns DDPM_STOPPED. `what` is a constant of the library. */
typedef int ddpm_evaluate_callback(void *user, const char *what, int64_t done, int64_t total);

/** How to compare sets. Zero the struct, then set `size` and the rest. */
struct ddpm_evaluate_options {
    size_t size;                      /**< sizeof(struct ddpm_evaluate_options) */
    int threads;                      /**< as in ddpm_picture_set_options */
    ddpm_evaluate_callback *callback; /**< may be NULL */
    void *user;                       /**< for the callback */
    /** Real pictures that the generator was not trained on, of the same size and with the same
     * features. They show how near to `real` a picture comes by chance. NULL: use the distances
     * among the real pictures for this. Not changed. */
    const struct ddpm_picture_set *held_out;
};

/** Fewest pictures in a set. */
#define DDPM_EVALUATE_LEAST 10

/** Compare generated pictures with real ones; the sets are not changed. Numbers that the sets'
 * content or the free memory does not allow are missing in the result, with the reason. On success
 * the caller owns *out and frees it with ddpm_evaluation_destroy(). On failure *out is NULL. Fails
 * with DDPM_ERROR_ARGUMENT for a set with fewer than DDPM_EVALUATE_LEAST pictures,
 * DDPM_ERROR_MISMATCH for features or pictures of different sizes, DDPM_ERROR_MEMORY or
 * DDPM_STOPPED. */
DDPM_API ddpm_status ddpm_evaluate(const struct ddpm_picture_set *generated,
                                   const struct ddpm_picture_set *real,
                                   const struct ddpm_evaluate_options *options,
                                   struct ddpm_evaluation **out);

/** Free a result and set the pointer to NULL. Does nothing for NULL or a pointer to NULL. */
DDPM_API void ddpm_evaluation_destroy(struct ddpm_evaluation **evaluation);

#ifdef __cplusplus
}
#endif
#endif

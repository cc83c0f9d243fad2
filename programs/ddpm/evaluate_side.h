/* One side of a comparison: pictures of a folder or packed file, pictures that are drawn, features,
 * or mean and covariance. */
#ifndef DDPM_PROGRAM_EVALUATE_SIDE_H
#define DDPM_PROGRAM_EVALUATE_SIDE_H

#include <stdbool.h>

#include <ddpm/evaluate.h>

#include "data/source.h"
#include "options.h"

enum ddpm_side_kind {
    DDPM_SIDE_PICTURES,   /* a folder, or .npy of uint8 [N,H,W,C] */
    DDPM_SIDE_FEATURES,   /* .npy of floats [N,D] */
    DDPM_SIDE_STATISTICS, /* .npz of mu and sigma */
    DDPM_SIDE_MODEL,      /* a run, a checkpoint, a file of weights */
};

/* Of all pictures that are compared. */
struct ddpm_side_shape {
    int height, width, channels; /* 0: there are none */
    int threads;
};

struct ddpm_side {
    const char *path, *which; /* "generated" or "real" */
    enum ddpm_side_kind kind;
    const struct ddpm_feature_network *network; /* of the features, or NULL */
    int64_t most;                               /* pictures taken at most; 0: all */
    struct ddpm_source *source;                 /* of pictures that are not drawn */
    struct ddpm_side_shape shape;               /* that the source was opened with */
    int64_t *items;                             /* their places in it */
    uint8_t *drawn;                             /* pictures [count, height, width, channels] */
    struct ddpm_picture_set *set;
};

/* Does the path end so? */
bool ddpm_side_ends_with(const char *path, const char *end);

/* What the path is, as far as its name and first bytes tell. */
ddpm_status ddpm_side_look(struct ddpm_side *side);

/* Height, width and channels of the pictures of a side: those of a packed file; of a folder's first
 * picture, as RGB. */
ddpm_status ddpm_side_shape(const struct ddpm_side *side, struct ddpm_side_shape *shape);

/* Open the source of pictures, which must be enough. Of other kinds nothing is done. */
ddpm_status ddpm_side_open(struct ddpm_side *side, const struct ddpm_side_shape *shape);

/* Which items of the open source are compared, into `items`, `most` of them; the grid beside
 * pictures that ddpm has drawn is none. */
ddpm_status ddpm_side_list(struct ddpm_side *side, int64_t *count);

/* DDPM_ERROR_FORMAT for fewer pictures than are wanted of a side. */
ddpm_status ddpm_side_check_count(const struct ddpm_side *side, int64_t count);

/* Make the set of everything but a model. With `features` NULL none are computed of pictures. Shows
 * progress; DDPM_STOPPED after a signal. Several processes share the pictures, and must all call
 * it; only the one that leads has the set in the end. */
ddpm_status ddpm_side_read(struct ddpm_side *side, const char *features);

/* evaluate_read.c: the same for pictures. */
ddpm_status ddpm_side_read_pictures(struct ddpm_side *side, const char *features);

/* Give the set the features of a .npy file, floats [N,D]. */
ddpm_status ddpm_side_give_features(struct ddpm_side *side, const char *path);

/* Picture `index` of the set, uint8 [height, width, channels], into out. */
ddpm_status ddpm_side_picture(struct ddpm_side *side, int64_t index, uint8_t *out);

/* What picture `index` is called: a name in the folder, or "#17". */
const char *ddpm_side_name(const struct ddpm_side *side, int64_t index, char *buffer, size_t bytes);

void ddpm_side_close(struct ddpm_side *side);

#endif

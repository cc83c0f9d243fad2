/* One of the sets in a comparison: pictures of a folder or packed file, drawn pictures, features,
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
    DDPM_SIDE_MODEL,      /* a run, checkpoint or weights file */
};

/* Size of all pictures in the comparison. */
struct ddpm_side_shape {
    int height, width, channels; /* 0: no pictures */
    int threads;
};

struct ddpm_side {
    const char *path, *which; /* "generated" or "real" */
    enum ddpm_side_kind kind;
    const struct ddpm_feature_network *network; /* computes the features, or NULL */
    int64_t most;                               /* how many pictures to use at most; 0: all */
    struct ddpm_source *source;                 /* of pictures that are not drawn */
    struct ddpm_side_shape shape;               /* the options the source was opened with */
    int64_t *items;                             /* their indices in it */
    uint8_t *drawn;                             /* pictures [count, height, width, channels] */
    struct ddpm_picture_set *set;
};

/* The kind of source, judged by the path's ending, or else by the file's first bytes. */
ddpm_status ddpm_side_look(struct ddpm_side *side);

/* Height, width and channels of a set's pictures: those of a packed file; for a folder those of
 * its first picture, as RGB. */
ddpm_status ddpm_side_shape(const struct ddpm_side *side, struct ddpm_side_shape *shape);

/* Open the source of pictures, and check that it has enough. Does nothing for other kinds. */
ddpm_status ddpm_side_open(struct ddpm_side *side, const struct ddpm_side_shape *shape);

/* Which items of the open source to compare: up to `most` of them, into `items`. The grid that
 * ddpm wrote beside its pictures is skipped. */
ddpm_status ddpm_side_list(struct ddpm_side *side, int64_t *count);

/* DDPM_ERROR_FORMAT if a set has too few pictures. */
ddpm_status ddpm_side_check_count(const struct ddpm_side *side, int64_t count);

/* Build the set, unless it comes from a model. With `features` NULL, no features are computed from
 * pictures. Shows progress; DDPM_STOPPED after a signal. Several processes share the pictures, and
 * must all call it; only the leader has the set in the end. */
ddpm_status ddpm_side_read(struct ddpm_side *side, const char *features);

/* evaluate_read.c: the same for pictures. */
ddpm_status ddpm_side_read_pictures(struct ddpm_side *side, const char *features);

/* N and D of a .npy file of features, floats [N,D]. */
ddpm_status ddpm_side_look_at_features(const char *path, int64_t *rows, int64_t *width);

/* Fill the set with the features of such a file. */
ddpm_status ddpm_side_give_features(struct ddpm_side *side, const char *path);

/* Copy picture `index` of the set, uint8 [height, width, channels], to out. */
ddpm_status ddpm_side_picture(struct ddpm_side *side, int64_t index, uint8_t *out);

/* The name of picture `index`: its file name, or "#17". */
const char *ddpm_side_name(const struct ddpm_side *side, int64_t index, char *buffer, size_t bytes);

void ddpm_side_close(struct ddpm_side *side);

#endif

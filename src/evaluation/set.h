/* The inside of a set of pictures. */
#ifndef DDPM_EVALUATION_SET_H
#define DDPM_EVALUATION_SET_H

#include "data/picture_kind.h"
#include "data/resize.h"
#include "evaluation/features.h"
#include "evaluation/frechet.h"
#include "evaluation/pixels.h"

/* Working memory of one thread. */
struct ddpm_set_worker {
    struct ddpm_resizer resizer;
    void *room; /* of the features */
    ddpm_status status;
};

struct ddpm_picture_set {
    struct ddpm_picture_set_options options;
    const struct ddpm_features_kind *kind; /* or NULL */
    struct ddpm_set_worker *workers;       /* [options.threads] */
    int64_t count;                         /* pictures */
    int64_t kinds[DDPM_PICTURE_KINDS];     /* of these */
    enum ddpm_picture_kind *each;          /* [count], the kind of each picture */
    size_t each_capacity;
    struct ddpm_small small; /* [count]; its pixels are the set's own */
    uint8_t *pixels;
    size_t pixel_capacity;
    int64_t rows, width; /* of the features */
    float *features;
    size_t feature_capacity;
    struct ddpm_statistics statistics; /* read from a file, instead of features; width 0: none */
};

/* Room for `count` more pictures. set.c. */
ddpm_status ddpm_picture_set_make_room(struct ddpm_picture_set *set, int64_t count);

/* `count` more pictures are in place: kinds, small copies and features. */
void ddpm_picture_set_count_in(struct ddpm_picture_set *set, int64_t count);

#endif

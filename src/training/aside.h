/* Pictures that a run does not train on, and the pictures that its validation loss is measured
 * on. */
#ifndef DDPM_TRAINING_ASIDE_H
#define DDPM_TRAINING_ASIDE_H

#include "data/content.h"
#include "data/source.h"

/* Pictures to measure, ordered by the hashes of their contents. */
struct ddpm_measured {
    uint64_t *hashes; /* [count] */
    uint8_t *pixels;  /* [count, height, width, channels] */
    int64_t count;
};

enum ddpm_side { DDPM_SIDE_VALIDATION, DDPM_SIDE_TRAINING, DDPM_SIDES };

struct ddpm_aside {
    struct ddpm_source *part;                  /* items of the data to train on; NULL: all */
    struct ddpm_content *content;              /* of all items of the data */
    int64_t count, left;                       /* pictures set aside; pictures to train on */
    struct ddpm_measured measured[DDPM_SIDES]; /* the same number of each */
    char text[64]; /* for state.json: the fraction, or which other pictures */
};

void ddpm_aside_free(struct ddpm_aside **aside);

#endif

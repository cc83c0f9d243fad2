/* FID's network: the Inception-v3 of 2015 (Szegedy et al. 2016) as ported from TensorFlow to
 * PyTorch by pytorch-fid, up to its last average. It differs from torchvision's network in three
 * ways: averages exclude the padding, the last block takes a maximum instead of an average, and the
 * weights differ. */
#ifndef DDPM_EVALUATION_INCEPTION_H
#define DDPM_EVALUATION_INCEPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "formats/tensor_file.h"

enum {
    DDPM_INCEPTION_SIDE = 299,   /* of its input picture, 3 channels in [-1,1] */
    DDPM_INCEPTION_WIDTH = 2048, /* channels of the last block: the features */
    DDPM_INCEPTION_STEPS = 112,  /* at most */
};

enum ddpm_inception_kind {
    DDPM_INCEPTION_CONV, /* convolution, batch norm, ReLU */
    DDPM_INCEPTION_MAX,
    DDPM_INCEPTION_AVERAGE, /* without the padding */
};

/* Slots for activations: a block's input, its concatenated results, and two for what is in
 * between. */
enum ddpm_inception_slot {
    DDPM_INCEPTION_IN,
    DDPM_INCEPTION_A,
    DDPM_INCEPTION_B,
    DDPM_INCEPTION_OUT,
    DDPM_INCEPTION_SLOTS
};

/* Activations [height, width, channels]. */
struct ddpm_inception_shape {
    int height, width, channels;
};

/* One layer. */
struct ddpm_inception_step {
    char name[40]; /* "Mixed_5b.branch1x1"; for a pool, the block's name */
    enum ddpm_inception_kind kind;
    enum ddpm_inception_slot from, to;
    int kernel_h, kernel_w, stride, padding_h, padding_w;
    struct ddpm_inception_shape input, output;
    int first, all;  /* the output's channels are [first, first + channels) of `all` in the slot */
    bool ends_block; /* the block's results become the next one's input */
};

struct ddpm_inception_plan {
    struct ddpm_inception_step steps[DDPM_INCEPTION_STEPS];
    int count;
    int64_t slots[DDPM_INCEPTION_SLOTS]; /* values of each slot; IN and OUT are swapped, so they are
                                            equal */
    struct ddpm_inception_shape output;
};

/* All layers, in the order in which they run. */
void ddpm_inception_plan(struct ddpm_inception_plan *plan);

/* Read the weights [K,R,S,C] and bias [K] of a convolution, with its batch norm folded in. Free
 * both with free(); they are NULL on failure. DDPM_ERROR_MISMATCH names a tensor that is missing or
 * has the wrong shape; DDPM_ERROR_NOT_FINITE. */
ddpm_status ddpm_inception_read(const struct ddpm_tensor_file *file,
                                const struct ddpm_inception_step *step, float **weights,
                                float **bias);

/* Convert a picture uint8 [height, width, channels], channels 1, 3 or 4, to the network's input
 * [SIDE, SIDE, 3]. Grey is repeated, alpha is dropped. */
void ddpm_inception_picture(const uint8_t *pixels, int height, int width, int channels, float *out);

/* Run a pooling step; it writes its channels of the slot. */
void ddpm_inception_pool(const struct ddpm_inception_step *step, const float *from, float *to);

/* Copy a step's input into the middle of zero padding. */
void ddpm_inception_border(const struct ddpm_inception_step *step, const float *from, float *to);

/* ReLU of a step's channels in the slot. NaN stays NaN. */
void ddpm_inception_relu(const struct ddpm_inception_step *step, float *to);

/* Means over the pixels of the last block's results: [WIDTH]. */
void ddpm_inception_means(const struct ddpm_inception_shape *shape, const float *from, float *out);

#endif

/* Resizing like Pillow's Image.resize(…, BILINEAR) and cropping like torchvision, bit for bit.
 *
 * Resampling (Pillow, src/libImaging/Resample.c): a triangle filter 1 - |t|, widened by the scale
 * factor when shrinking (antialiasing); weights in fixed point with 22 fractional bits; first along
 * the rows, rounded to 8 bits, then along the columns. As in Pillow from version 13 on, the columns
 * come first if the height shrinks by more than twice as much as the width (earlier versions then
 * differ by at most 1). Four channels are RGBA; its colours are premultiplied by alpha while
 * resizing.
 *
 * Size (torchvision.transforms.Resize): the shorter side becomes the target, the longer one
 * int(target * long / short); if the target is not square, the picture just covers it. */
#ifndef DDPM_DATA_RESIZE_H
#define DDPM_DATA_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/random.h"

enum ddpm_crop {
    DDPM_CROP_CENTRE, /* resize to cover the target, then take the middle */
    DDPM_CROP_RANDOM, /* a random place at the picture's own scale; resize first if it does not
                         cover the target */
};

/* One axis of one resize: which input pixels each output pixel reads, and their weights. */
struct ddpm_resize_axis {
    int in, out, begin, count; /* sizes, and the range of output pixels to compute */
    int taps;                  /* weights kept per output pixel */
    int *first, *used;         /* [count]: first input pixel, number of them */
    int32_t *weights;          /* [count, taps] */
    size_t weight_capacity, place_capacity;
};

/* Working memory of one thread, reused from picture to picture. Zero-initialise before the first
 * use. */
struct ddpm_resizer {
    struct ddpm_resize_axis horizontal, vertical;
    uint8_t *between; /* result of the first pass */
    uint8_t *premultiplied;
    int32_t *sums;
    size_t between_capacity, premultiplied_capacity, sums_capacity;
};

void ddpm_resizer_free(struct ddpm_resizer *resizer);

/* How to resize and crop: resize to height x width, then keep [top, top + target) and [left, left +
 * target). */
struct ddpm_placement {
    int height, width, top, left;
};

/* Place a target of target_height x target_width in a picture of height x width. random->v[1] and
 * v[2] choose the row and the column of a random crop; `random` may be NULL for DDPM_CROP_CENTRE.
 * All sizes at least 1. DDPM_ERROR_FORMAT for a picture so narrow that its long side would become
 * absurdly long. */
ddpm_status ddpm_placement_choose(struct ddpm_placement *placement, int height, int width,
                                  int target_height, int target_width, enum ddpm_crop crop,
                                  const struct ddpm_random4 *random);

/* Resize `pixels` [height, width, channels] to placement's size and write the target_height x
 * target_width part of it to `out` [target_height, target_width, channels]. Computes only that
 * part. channels 1 to 4. */
ddpm_status ddpm_resize_crop(struct ddpm_resizer *resizer, const uint8_t *pixels, int height,
                             int width, int channels, const struct ddpm_placement *placement,
                             int target_height, int target_width, uint8_t *out);

/* Mirror a picture [height, width, channels] left to right, in place. */
void ddpm_flip_horizontal(uint8_t *pixels, int height, int width, int channels);

#endif

/* Resizing as Pillow's Image.resize(…, BILINEAR) does it, and cropping as torchvision does it, bit
 * for bit.
 *
 * Resampling (Pillow, src/libImaging/Resample.c): a triangle filter 1 - |t|, widened by the
 * reduction when the picture becomes smaller (antialiasing); weights in fixed point with 22
 * fractional bits; first along the rows, rounded to 8 bits, then along the columns. As Pillow does
 * from version 13 on, the columns come first when the height shrinks by more than twice what the
 * width does (earlier versions differ there by at most 1). Four channels are taken as RGBA, whose
 * colours are multiplied by alpha while they are resized.
 *
 * Size (torchvision.transforms.Resize): the shorter side becomes the wanted one, the longer one
 * int(wanted * long / short); for a target that is not square, the picture just covers it. */
#ifndef DDPM_DATA_RESIZE_H
#define DDPM_DATA_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/random.h"

enum ddpm_crop {
    DDPM_CROP_CENTRE, /* resized to cover the target, then its middle */
    DDPM_CROP_RANDOM, /* any place at the picture's own scale; a picture that does not cover the
                         target is resized first */
};

/* One axis of one resize: where each output pixel reads and with which weights. */
struct ddpm_resize_axis {
    int in, out, begin, count; /* sizes, and the range of output pixels that is computed */
    int taps;                  /* weights kept per output pixel */
    int *first, *used;         /* [count]: first input pixel, number of them */
    int32_t *weights;          /* [count, taps] */
    size_t weight_capacity, place_capacity;
};

/* Working memory of one thread, reused from picture to picture; zero-initialise before the first
 * use. */
struct ddpm_resizer {
    struct ddpm_resize_axis horizontal, vertical;
    uint8_t *between; /* result of the first pass */
    uint8_t *premultiplied;
    int32_t *sums;
    size_t between_capacity, premultiplied_capacity, sums_capacity;
};

void ddpm_resizer_free(struct ddpm_resizer *resizer);

/* What is cut out of a resized picture: the picture is resized to height x width, then [top, top +
 * target) and [left, left + target) is kept. */
struct ddpm_placement {
    int height, width, top, left;
};

/* Where a target of target_height x target_width lies in a picture of height x width. random->v[1]
 * and v[2] choose the row and the column of a random crop; `random` may be NULL for
 * DDPM_CROP_CENTRE. All sizes at least 1. DDPM_ERROR_FORMAT for a picture so narrow that its long
 * side would become absurd. */
ddpm_status ddpm_placement_choose(struct ddpm_placement *placement, int height, int width,
                                  int target_height, int target_width, enum ddpm_crop crop,
                                  const struct ddpm_random4 *random);

/* Resize `pixels` [height, width, channels] to placement's size and write the target_height x
 * target_width part of it to `out` [target_height, target_width, channels]. Only that part is
 * computed. channels 1 to 4. */
ddpm_status ddpm_resize_crop(struct ddpm_resizer *resizer, const uint8_t *pixels, int height,
                             int width, int channels, const struct ddpm_placement *placement,
                             int target_height, int target_width, uint8_t *out);

/* Mirror a picture [height, width, channels] left to right, in place. */
void ddpm_flip_horizontal(uint8_t *pixels, int height, int width, int channels);

#endif

/* Drawn pictures that show nothing: what goes wrong with diffusion models first. */
#ifndef DDPM_DATA_PICTURE_KIND_H
#define DDPM_DATA_PICTURE_KIND_H

#include <stdint.h>

/* Of the values (every channel of every pixel; alpha does not count):
 *
 *     black         at least 99 % are below 9
 *     white         at least 99 % are above 246
 *     one colour    in no channel is the standard deviation above 2 of 255
 *     saturated     more than half of them are 0 or 255
 *
 * The first that holds counts. Pictures that are meant to be like that are counted as well. */
enum ddpm_picture_kind {
    DDPM_PICTURE_USUAL,
    DDPM_PICTURE_BLACK,
    DDPM_PICTURE_WHITE,
    DDPM_PICTURE_ONE_COLOUR,
    DDPM_PICTURE_SATURATED,
    DDPM_PICTURE_KINDS,
};

/* The kind of a picture [pixels, channels], channels 1, 3 or 4 (2 is grey and alpha). */
enum ddpm_picture_kind ddpm_picture_kind(const uint8_t *values, int64_t pixels, int channels);

#endif

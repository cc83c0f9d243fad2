/* Drawn pictures that show nothing, the usual sign that a diffusion model has gone wrong. */
#ifndef DDPM_DATA_PICTURE_KIND_H
#define DDPM_DATA_PICTURE_KIND_H

#include <stdbool.h>
#include <stdint.h>

/* A value is one channel of one pixel; alpha does not count.
 *
 *     black         at least 99 % are below 9
 *     white         at least 99 % are above 246
 *     one colour    in no channel is the standard deviation above 2 of 255
 *     saturated     more than half of them are 0 or 255
 *     noise         neighbouring values do not correlate, see ddpm_picture_is_noise()
 *
 * The first that applies counts. Pictures that are meant to look like that are counted too. */
enum ddpm_picture_kind {
    DDPM_PICTURE_USUAL,
    DDPM_PICTURE_BLACK,
    DDPM_PICTURE_WHITE,
    DDPM_PICTURE_ONE_COLOUR,
    DDPM_PICTURE_SATURATED,
    DDPM_PICTURE_NOISE,
    DDPM_PICTURE_KINDS,
};

/* The kind of a picture [pixels, channels], channels 1, 3 or 4 (2 is grey and alpha). Does not
 * detect noise, which needs the pixels' positions. */
enum ddpm_picture_kind ddpm_picture_kind(const uint8_t *values, int64_t pixels, int channels);

/* Is a picture [height, width, channels] white noise, which an untrained or broken model draws? In
 * noise, all correlations between pixels one or two apart, along rows, columns and the diagonal,
 * are below 0.1 (in small pictures, below what chance gives). Photographs have 0.9, and still 0.4
 * with noise as strong as the picture itself. Dots on an even ground are not noise, though nothing
 * correlates there: their values have far heavier tails (fourth moment above 6 squared variances;
 * normal numbers have 3). With sides below 24, woods seen from above are as rough as noise; there
 * only colour pictures are tested, by whether their channels are uncorrelated. Always false for
 * sides below 12. */
bool ddpm_picture_is_noise(const uint8_t *values, int height, int width, int channels);

/* Like ddpm_picture_kind(), and detects noise too. */
enum ddpm_picture_kind ddpm_picture_kind_of(const uint8_t *values, int height, int width,
                                            int channels);

#endif

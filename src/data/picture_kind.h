/* Drawn pictures that show nothing: what goes wrong with diffusion models first. */
#ifndef DDPM_DATA_PICTURE_KIND_H
#define DDPM_DATA_PICTURE_KIND_H

#include <stdbool.h>
#include <stdint.h>

/* Of the values (every channel of every pixel; alpha does not count):
 *
 *     black         at least 99 % are below 9
 *     white         at least 99 % are above 246
 *     one colour    in no channel is the standard deviation above 2 of 255
 *     saturated     more than half of them are 0 or 255
 *     noise         no value tells anything about those beside it, see ddpm_picture_is_noise()
 *
 * The first that holds counts. Pictures that are meant to be like that are counted as well. */
enum ddpm_picture_kind {
    DDPM_PICTURE_USUAL,
    DDPM_PICTURE_BLACK,
    DDPM_PICTURE_WHITE,
    DDPM_PICTURE_ONE_COLOUR,
    DDPM_PICTURE_SATURATED,
    DDPM_PICTURE_NOISE,
    DDPM_PICTURE_KINDS,
};

/* The kind of a picture [pixels, channels], channels 1, 3 or 4 (2 is grey and alpha). Noise is not
 * told: that takes the places of pixels. */
enum ddpm_picture_kind ddpm_picture_kind(const uint8_t *values, int64_t pixels, int channels);

/* Is a picture [height, width, channels] white noise, which an untrained or broken model draws? All
 * correlations between pixels one or two apart, along rows, columns and the diagonal, are below 0.1
 * (in small pictures below what chance gives), where photographs have 0.9 and with noise as strong
 * as the picture itself still 0.4. Dots on an even ground are no noise, though nothing correlates
 * there: their values have far heavier tails (fourth moment above 6 squared variances; normal
 * numbers have 3). With sides below 24 a wood from above is as rough as noise; there only a colour
 * picture is told, by channels that have nothing to do with each other. False below 12. */
bool ddpm_picture_is_noise(const uint8_t *values, int height, int width, int channels);

/* ddpm_picture_kind() with noise. */
enum ddpm_picture_kind ddpm_picture_kind_of(const uint8_t *values, int height, int width,
                                            int channels);

#endif

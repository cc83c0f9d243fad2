/* Between picture.c and the decoders: one file per codec, one row each in the table of picture.c.
 */
#ifndef DDPM_DATA_DECODE_H
#define DDPM_DATA_DECODE_H

#include <stdbool.h>

#include "data/picture.h"

/* What a decoder delivers: 8 bits per sample, samples interleaved. The value is the number of
 * samples except CMYK. */
enum ddpm_pixel_mode {
    DDPM_PIXEL_GREY = 1,
    DDPM_PIXEL_GREY_ALPHA = 2,
    DDPM_PIXEL_RGB = 3,
    DDPM_PIXEL_RGBA = 4,
    DDPM_PIXEL_CMYK = 5, /* four samples, 0 = no ink */
};

struct ddpm_decoding {
    const uint8_t *bytes;
    size_t size;
    int64_t pixel_limit;
    struct ddpm_picture *picture; /* out: pixels and sizes, through ddpm_decoding_start */
    enum ddpm_pixel_mode mode;    /* out */
    int orientation; /* out: EXIF orientation, 1 (upright) unless the file says otherwise */
};

struct ddpm_decoder {
    const char *name;
    bool (*matches)(const uint8_t *bytes, size_t size);
    ddpm_status (*decode)(struct ddpm_decoding *decoding);
};

extern const struct ddpm_decoder ddpm_decoder_jpeg, ddpm_decoder_png, ddpm_decoder_webp,
    ddpm_decoder_tiff, ddpm_decoder_bmp;

/* To be called by a decoder when it knows the size, before it allocates anything that grows with
 * it: checks the size against the limit and makes room for the pixels. */
ddpm_status ddpm_decoding_start(struct ddpm_decoding *decoding, int64_t height, int64_t width,
                                enum ddpm_pixel_mode mode);

/* The one text for files that end too early. */
ddpm_status ddpm_decoding_truncated(const struct ddpm_decoding *decoding);

/* Orientation (1 to 8) in an EXIF block, that is a TIFF header and its first directory, with or
 * without "Exif\0\0" before it; 1 when there is none or it is malformed. */
int ddpm_exif_orientation(const uint8_t *bytes, size_t size);

#endif

/* The interface between decode_tiff.c and tiff_kind.c: what a TIFF file's tags say about its
 * pixels. */
#ifndef DDPM_DATA_TIFF_KIND_H
#define DDPM_DATA_TIFF_KIND_H

#include <tiffio.h>

#include "data/decode.h"

struct ddpm_tiff_kind {
    uint32_t width, height;
    uint16_t bits, samples, photometric, planar, compression;
    int colours; /* samples per pixel that are colours */
    bool alpha;  /* the first extra sample is alpha */
    bool premultiplied;
    uint16_t *palette[3]; /* libtiff's, valid while the file is open */
    enum ddpm_pixel_mode mode;
    int orientation;
};

/* Check what libtiff does not check before it allocates, from the bytes alone: sizes, and how much
 * data the tags claim. */
ddpm_status ddpm_tiff_judge(const struct ddpm_decoding *decoding, int64_t *height, int64_t *width);

/* Read the tags. DDPM_ERROR_UNSUPPORTED for kinds that we do not read or whose meaning is not
 * specified. */
ddpm_status ddpm_tiff_kind_read(struct ddpm_tiff_kind *kind, TIFF *tiff,
                                const struct ddpm_decoding *decoding);

#endif

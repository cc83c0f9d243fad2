/* Between decode_tiff.c and tiff_kind.c: what the tags of a TIFF file say about its pixels. */
#ifndef DDPM_DATA_TIFF_KIND_H
#define DDPM_DATA_TIFF_KIND_H

#include <tiffio.h>

#include "data/decode.h"

struct ddpm_tiff_kind {
    uint32_t width, height;
    uint16_t bits, samples, photometric, planar, compression;
    bool alpha; /* the first extra sample is one */
    bool premultiplied;
    uint16_t *palette[3]; /* libtiff's, as long as the file is open */
    enum ddpm_pixel_mode mode;
    int orientation;
};

/* What libtiff does not judge before it allocates, from the bytes alone: sizes, and how much the
 * tags claim to hold. */
ddpm_status ddpm_tiff_judge(const struct ddpm_decoding *decoding, int64_t *height, int64_t *width);

/* Read the tags. DDPM_ERROR_UNSUPPORTED for kinds that are not read or whose meaning is not said.
 */
ddpm_status ddpm_tiff_kind_read(struct ddpm_tiff_kind *kind, TIFF *tiff,
                                const struct ddpm_decoding *decoding);

#endif

/* A decoded picture: uint8 [height, width, channels], rows without gaps.
 *
 * A file's content decides how it is decoded, never its ending. Channels are converted as by
 * Pillow's convert("L"), convert("RGB") and convert("RGBA"): alpha is dropped, not blended; a
 * palette is looked up; L = (19595 R + 38470 G + 7471 B + 32768) >> 16; CMYK becomes RGB by (255 -
 * K)(255 - C) / 255. 16-bit samples always keep the high byte. EXIF orientation is applied.
 * docs/pictures.md lists the differences from Pillow. */
#ifndef DDPM_DATA_PICTURE_H
#define DDPM_DATA_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Largest picture that we decode: in pixels, 11585 x 11585, and along one side. */
#define DDPM_PICTURE_PIXEL_LIMIT ((int64_t)1 << 27)
#define DDPM_PICTURE_SIDE_LIMIT ((int64_t)1000000)

/* Decoding a picture never takes more memory than the sum of PIXEL_BYTES for each of its pixels,
 * FILE_TIMES the size of its file, and BASE_BYTES, whatever the file says. This covers the result,
 * the spare buffer, and what the codec's library holds (coefficients of a progressive JPEG, strips
 * and tiles of a TIFF, rows of a PNG). One exception: libwebp sizes the code tables of a lossless
 * WebP by the data; they take up to 1300 bytes of address space per pixel, and at most 1.3 GiB.
 * docs/pictures.md has the details. */
#define DDPM_PICTURE_PIXEL_BYTES 16
#define DDPM_PICTURE_FILE_TIMES 3
#define DDPM_PICTURE_BASE_BYTES ((int64_t)160 << 20)

/* Largest file that we read, in bytes. */
#define DDPM_PICTURE_BYTE_LIMIT ((int64_t)1 << 30)

/* What the file holds; the decoded picture may show only part of it. */
struct ddpm_picture_stored {
    int bits;            /* per value; 16 are reduced to the upper 8 */
    int channels;        /* colours (of a palette: 3), alpha and extra samples */
    bool extra;          /* there is alpha, or another sample besides the colours */
    int64_t pages;       /* the first is decoded */
    uint8_t least, most; /* of the colours' upper 8 bits; 0 and 255 unless there are 16 */
};

/* Zero-initialise before the first use. The buffers are reused from picture to picture. */
struct ddpm_picture {
    uint8_t *pixels; /* [height, width, channels] */
    int height, width, channels;
    struct ddpm_picture_stored stored;
    const char *remark; /* a problem with a file that decodes all the same, or NULL; never freed */

    size_t capacity;       /* bytes at pixels */
    uint8_t *spare, *file; /* working memory for conversions and for ddpm_picture_load() */
    size_t spare_capacity, file_capacity;
};

/* Free the buffers and zero the structure. */
void ddpm_picture_free(struct ddpm_picture *picture);

/* Make room for [height, width, channels] in `pixels`; the content is then undefined. */
ddpm_status ddpm_picture_resize_buffer(struct ddpm_picture *picture, int height, int width,
                                       int channels);

/* The format's name according to the first bytes of a file ("JPEG", "PNG", "WebP", "TIFF", "BMP"),
 * or NULL. DDPM_PICTURE_MAGIC_BYTES bytes are enough. */
#define DDPM_PICTURE_MAGIC_BYTES ((size_t)16)
const char *ddpm_picture_format(const uint8_t *bytes, size_t size);

/* Decode a whole file in memory to `channels` = 1 (grey), 3 (RGB) or 4 (RGBA). More pixels than
 * `pixel_limit` are an error before anything is allocated; 0 means DDPM_PICTURE_PIXEL_LIMIT. A file
 * that ends before its pixels do is an error. If all pixels are present but something else is
 * missing or damaged, `remark` says so. DDPM_ERROR_FORMAT for bad content, DDPM_ERROR_UNSUPPORTED
 * for a variant or codec that this build does not read. */
ddpm_status ddpm_picture_decode(struct ddpm_picture *picture, const uint8_t *bytes, size_t size,
                                int channels, int64_t pixel_limit);

/* Read and decode one file. The error text starts with the path. */
ddpm_status ddpm_picture_load(struct ddpm_picture *picture, const char *path, int channels,
                              int64_t pixel_limit);

#endif

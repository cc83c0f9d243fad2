/* A decoded picture: uint8 [height, width, channels], row after row without gaps.
 *
 * The content of a file decides how it is decoded, never its ending. Conversion to the wanted
 * channels is that of Pillow's convert("L"), convert("RGB") and convert("RGBA"): alpha is dropped,
 * not blended; a palette is looked up; L = (19595 R + 38470 G + 7471 B + 32768) >> 16; CMYK becomes
 * RGB by (255 - K)(255 - C) / 255. Of 16 bits the high byte is taken always. EXIF orientation is
 * applied. Where this differs from Pillow is listed in docs/pictures.md. */
#ifndef DDPM_DATA_PICTURE_H
#define DDPM_DATA_PICTURE_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Largest picture that is decoded: in pixels, 11585 x 11585, and along one side. */
#define DDPM_PICTURE_PIXEL_LIMIT ((int64_t)1 << 27)
#define DDPM_PICTURE_SIDE_LIMIT ((int64_t)1000000)

/* Decoding one picture takes at most PIXEL_BYTES for each of its pixels, FILE_TIMES its file and
 * BASE_BYTES together, at any moment and whatever the file says: the result, the spare buffer, and
 * what the codec's library holds (coefficients of a progressive JPEG, strips and tiles of a TIFF,
 * rows of a PNG). One exception: the code tables of a lossless WebP, which libwebp sizes by the
 * data, take up to 1300 bytes a pixel of address space, and 1.3 GiB at most. docs/pictures.md has
 * the parts. */
#define DDPM_PICTURE_PIXEL_BYTES 16
#define DDPM_PICTURE_FILE_TIMES 3
#define DDPM_PICTURE_BASE_BYTES ((int64_t)160 << 20)

/* Largest file that is read, in bytes. */
#define DDPM_PICTURE_BYTE_LIMIT ((int64_t)1 << 30)

/* Zero-initialise before the first use; the buffers are kept and reused from picture to picture. */
struct ddpm_picture {
    uint8_t *pixels; /* [height, width, channels] */
    int height, width, channels;
    const char *remark; /* what is wrong with the file although it decodes, or NULL; never freed */

    size_t capacity;       /* bytes at pixels */
    uint8_t *spare, *file; /* working memory of conversions and of ddpm_picture_load */
    size_t spare_capacity, file_capacity;
};

/* Free the buffers and zero the structure. */
void ddpm_picture_free(struct ddpm_picture *picture);

/* Make `pixels` hold [height, width, channels]; the content is undefined afterwards. */
ddpm_status ddpm_picture_resize_buffer(struct ddpm_picture *picture, int height, int width,
                                       int channels);

/* Name of the format that the first bytes of a file announce ("JPEG", "PNG", "WebP", "TIFF",
 * "BMP"), or NULL. DDPM_PICTURE_MAGIC_BYTES bytes are enough to tell. */
#define DDPM_PICTURE_MAGIC_BYTES ((size_t)16)
const char *ddpm_picture_format(const uint8_t *bytes, size_t size);

/* Decode a whole file in memory to `channels` = 1 (grey), 3 (RGB) or 4 (RGBA). More pixels than
 * `pixel_limit` are an error before anything is allocated; 0 means DDPM_PICTURE_PIXEL_LIMIT. A file
 * that ends before its pixels do is an error; where all pixels are there and something else is
 * missing or damaged, `remark` says so. DDPM_ERROR_FORMAT for bad content, DDPM_ERROR_UNSUPPORTED
 * for a variant or codec that this build does not read. */
ddpm_status ddpm_picture_decode(struct ddpm_picture *picture, const uint8_t *bytes, size_t size,
                                int channels, int64_t pixel_limit);

/* Read and decode one file. The error text starts with the path. */
ddpm_status ddpm_picture_load(struct ddpm_picture *picture, const char *path, int channels,
                              int64_t pixel_limit);

#endif

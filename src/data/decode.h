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

/* Judge the size that a header states: at least 1x1, at most DDPM_PICTURE_SIDE_LIMIT on a side, at
 * most the limit of pixels. To be called before the codec's library is let near the picture, for
 * libraries allocate rows and tables by the header alone. */
ddpm_status ddpm_decoding_judge(const struct ddpm_decoding *decoding, int64_t height,
                                int64_t width);

/* The same, then room for the pixels. */
ddpm_status ddpm_decoding_start(struct ddpm_decoding *decoding, int64_t height, int64_t width,
                                enum ddpm_pixel_mode mode);

/* The picture decodes, yet something is wrong with the file: `text` lives for ever. The first
 * remark is kept. */
void ddpm_decoding_remark(struct ddpm_decoding *decoding, const char *text);
#define DDPM_REMARK_NO_END "the end of the file is missing; all pixels were there"
#define DDPM_REMARK_DAMAGED "part of the file is damaged or out of place; decoded all the same"

/* Bytes that a codec may take beside the pixels: its share of the bound in picture.h. */
size_t ddpm_decoding_budget(int64_t height, int64_t width);

/* The one text for files that end too early. */
ddpm_status ddpm_decoding_truncated(const struct ddpm_decoding *decoding);

/* Orientation (1 to 8) in an EXIF block, that is a TIFF header and its first directory, with or
 * without "Exif\0\0" before it; 0 when there is none or the block is malformed, 1 for a value that
 * means nothing. Any whole number will do, as for Pillow: SHORT, LONG, or signed. */
int ddpm_exif_orientation(const uint8_t *bytes, size_t size);

/* The same in an XMP packet, as tiff:Orientation, which counts where EXIF has none. */
int ddpm_xmp_orientation(const uint8_t *bytes, size_t size);

/* An entry of the first directory of a TIFF file, classic or big, found without any library. */
struct ddpm_tiff_entry {
    int type;       /* 3 SHORT, 4 LONG, 16 LONG8, … */
    uint64_t count; /* values */
    uint64_t value; /* the first one, of an integer type; 0 otherwise */
};

/* Find the first entry of `tag`, which is the one that counts; zeros without one. */
bool ddpm_tiff_find(const uint8_t *bytes, size_t size, int tag, struct ddpm_tiff_entry *entry);

/* Bytes that the values of all entries take, as the directory claims. */
uint64_t ddpm_tiff_claimed_bytes(const uint8_t *bytes, size_t size);

/* What the chunks of a PNG file say beside the picture. */
struct ddpm_png_look {
    int orientation;
    size_t cut;         /* where the IDAT chunk begins that the end of the file cuts; 0 = none */
    uint32_t cut_bytes; /* of its data that are there */
};

/* Walk over the chunks. DDPM_ERROR_FORMAT for a wrong checksum of a chunk that decides what the
 * picture is (IHDR, PLTE); other wrong ones, and a file without IEND, are remarked upon. */
ddpm_status ddpm_png_look(struct ddpm_decoding *decoding, struct ddpm_png_look *look);

#endif

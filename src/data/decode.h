/* The interface between picture.c and the decoders: one file per codec, and one row each in
 * picture.c's table. */
#ifndef DDPM_DATA_DECODE_H
#define DDPM_DATA_DECODE_H

#include <stdbool.h>

#include "data/picture.h"

/* What a decoder outputs: 8 bits per sample, interleaved. Except for CMYK, the value is the number
 * of samples. */
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

/* Check the size stated in a header: at least 1x1, at most DDPM_PICTURE_SIDE_LIMIT on a side, at
 * most the pixel limit. Call it before the codec's library sees the picture, since libraries
 * allocate rows and tables from the header alone. */
ddpm_status ddpm_decoding_judge(const struct ddpm_decoding *decoding, int64_t height,
                                int64_t width);

/* The same, then allocate the pixels. Sets picture->stored for 8 bits and one page; a decoder that
 * knows better changes it afterwards. */
ddpm_status ddpm_decoding_start(struct ddpm_decoding *decoding, int64_t height, int64_t width,
                                enum ddpm_pixel_mode mode);

/* Note a problem with a file that decodes all the same. `text` must be a constant. The first remark
 * is kept. */
void ddpm_decoding_remark(struct ddpm_decoding *decoding, const char *text);
#define DDPM_REMARK_NO_END "the end of the file is missing; all pixels were there"
#define DDPM_REMARK_DAMAGED "part of the file is damaged or out of place; decoded all the same"

/* Bytes that a codec may use besides the pixels: its share of the bound in picture.h. */
size_t ddpm_decoding_budget(int64_t height, int64_t width);

/* The error for files that end too early. */
ddpm_status ddpm_decoding_truncated(const struct ddpm_decoding *decoding);

/* Orientation (1 to 8) in an EXIF block, that is a TIFF header and its first directory, with or
 * without "Exif\0\0" before it; 0 if there is none or the block is malformed, 1 for an undefined
 * value. Like Pillow, accept any integer type: SHORT, LONG, or signed. */
int ddpm_exif_orientation(const uint8_t *bytes, size_t size);

/* The same from tiff:Orientation in an XMP packet, which counts if EXIF has none. */
int ddpm_xmp_orientation(const uint8_t *bytes, size_t size);

/* An entry of the first directory of a TIFF file, classic or big, read without a library. */
struct ddpm_tiff_entry {
    int type;       /* 3 SHORT, 4 LONG, 16 LONG8, … */
    uint64_t count; /* values */
    uint64_t value; /* the first one, of an integer type; 0 otherwise */
};

/* Find the first entry with `tag`, which is the one that counts; zeros if there is none. */
bool ddpm_tiff_find(const uint8_t *bytes, size_t size, int tag, struct ddpm_tiff_entry *entry);

/* Bytes that the values of all entries take, according to the directory. */
uint64_t ddpm_tiff_claimed_bytes(const uint8_t *bytes, size_t size);

/* Pages of a TIFF file: directories that are not marked as a smaller version or a mask; at least 1.
 * 1 too if the list of directories has no end. */
int64_t ddpm_tiff_pages(const uint8_t *bytes, size_t size);

/* What the chunks of a PNG file tell us besides the pixels. */
struct ddpm_png_look {
    int orientation;
    size_t cut; /* where the IDAT chunk starts that is cut off by the end of the file; 0 = none */
    uint32_t cut_bytes; /* how many bytes of its data there are */
};

/* Walk over the chunks. DDPM_ERROR_FORMAT for a wrong checksum of a chunk that defines the picture
 * (IHDR, PLTE). Other wrong checksums, and a missing IEND, give a remark. */
ddpm_status ddpm_png_look(struct ddpm_decoding *decoding, struct ddpm_png_look *look);

#endif

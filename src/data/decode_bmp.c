/* A BMP (Windows bitmap) reader of our own.
 *
 * Layout, little-endian: "BM", file size, 4 reserved bytes, u32 offset of the pixels; then a header
 * whose first u32 is its own size: 12 (OS/2: u16 width, height, planes, bits), or 40 and more (i32
 * width, height, u16 planes, bits, u32 compression, image size, …, u32 colours at 32, bit masks at
 * 40). Then the palette (3 bytes an entry for OS/2, 4 otherwise), then rows padded to 4 bytes,
 * bottom row first unless the height is negative. Supported: 1, 2, 4, 8 bits with palette, 16, 24
 * and 32 bits with or without masks, RLE4 and RLE8. */
#include <string.h>

#include "data/decode.h"

enum { RAW = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3, ALPHA_BITFIELDS = 6 };

struct bmp {
    const uint8_t *bytes;
    size_t size, pixels; /* offset of the pixels */
    int64_t width, height;
    bool top_down;
    unsigned bits, compression;
    uint32_t masks[4];       /* red, green, blue, alpha */
    uint8_t palette[256][3]; /* RGB; black for entries that the file lacks */
};

static uint32_t little(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; ++i)
        value |= (uint32_t)at[i] << 8 * i;
    return value;
}

static ddpm_status raise_short(const struct bmp *bmp)
{
    return ddpm_raise(DDPM_ERROR_FORMAT, "truncated: %zu bytes do not hold a header", bmp->size);
}

/* `end` is the end of the header; it becomes the end of the masks. */
static ddpm_status read_masks(struct bmp *bmp, size_t header, size_t *end)
{
    static const uint32_t masks16[4] = {0x7C00, 0x03E0, 0x001F, 0};
    static const uint32_t masks32[4] = {0xFF0000, 0xFF00, 0xFF, 0};
    memcpy(bmp->masks, bmp->bits == 16 ? masks16 : masks32, sizeof bmp->masks);
    if (bmp->compression != BITFIELDS && bmp->compression != ALPHA_BITFIELDS)
        return DDPM_OK;
    /* Masks follow the first 40 bytes of the header: inside a longer header, or after it. Only
     * longer headers have the fourth. */
    const size_t count = header >= 56 || bmp->compression == ALPHA_BITFIELDS ? 4 : 3;
    if (*end < 54 + 4 * count)
        *end = 54 + 4 * count;
    if (bmp->size < *end)
        return raise_short(bmp);
    uint32_t all = 0;
    for (size_t i = 0; i < count; ++i) {
        bmp->masks[i] = little(bmp->bytes + 54 + 4 * i, 4);
        all |= bmp->masks[i];
    }
    if (all == 0 && bmp->bits == 32) { /* no masks: use the usual ones, with alpha */
        memcpy(bmp->masks, masks32, sizeof bmp->masks);
        bmp->masks[3] = 0xFF000000;
    } else if (all == 0) {
        return ddpm_raise(DDPM_ERROR_FORMAT, "masks of 0, want those of red, green and blue");
    }
    return DDPM_OK;
}

/* `end` is the end of the header; it becomes the end of the palette. */
static void read_palette(struct bmp *bmp, size_t header, size_t *end)
{
    const size_t entry = header == 12 ? 3 : 4, most = (size_t)1 << bmp->bits;
    size_t colours = header == 12 ? 0 : little(bmp->bytes + 46, 4), at = *end;
    if (colours == 0 || colours > most)
        colours = most;
    for (size_t i = 0;
         i < colours && at + entry <= bmp->size && (bmp->pixels == 0 || at + entry <= bmp->pixels);
         ++i, at += entry)
        for (int c = 0; c < 3; ++c)
            bmp->palette[i][c] = bmp->bytes[at + (size_t)(2 - c)];
    *end = at;
}

static bool is_known(unsigned bits, unsigned compression)
{
    switch (compression) {
    case RAW:
        return bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16 || bits == 24 ||
               bits == 32;
    case RLE8:
        return bits == 8;
    case RLE4:
        return bits == 4;
    case BITFIELDS:
    case ALPHA_BITFIELDS:
        return bits == 16 || bits == 24 || bits == 32;
    default:
        return false;
    }
}

static ddpm_status read_header(struct bmp *bmp)
{
    const uint8_t *bytes = bmp->bytes;
    const size_t header = bmp->size >= 18 ? little(bytes + 14, 4) : 0;
    size_t end = 14 + header;
    if (bmp->size < 26)
        return raise_short(bmp);
    if (header != 12 && (header < 40 || header > 256))
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "a header of %zu bytes, want 12 or 40 to 256",
                          header);
    if (bmp->size < end)
        return raise_short(bmp);
    bmp->pixels = little(bytes + 10, 4);
    if (header == 12) {
        bmp->width = little(bytes + 18, 2);
        bmp->height = little(bytes + 20, 2);
        bmp->bits = little(bytes + 24, 2);
    } else {
        bmp->width = (int32_t)little(bytes + 18, 4);
        bmp->height = (int32_t)little(bytes + 22, 4);
        bmp->bits = little(bytes + 28, 2);
        bmp->compression = little(bytes + 30, 4);
    }
    bmp->top_down = bmp->height < 0;
    if (bmp->top_down)
        bmp->height = -bmp->height;
    /* In the longer headers of OS/2 2 the numbers have other meanings: 3 is a fax code, 4 is
     * RLE24. */
    const bool os2 = header == 64 && bmp->compression >= BITFIELDS;
    if (os2 || !is_known(bmp->bits, bmp->compression))
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%u bits per pixel with compression %u%s",
                          bmp->bits, bmp->compression, os2 ? " of OS/2" : "");
    if (bmp->bits >= 16)
        DDPM_TRY(read_masks(bmp, header, &end));
    else
        read_palette(bmp, header, &end);
    if (bmp->pixels == 0)
        bmp->pixels = end;
    return DDPM_OK;
}

/* The bits of `mask`, scaled to 0 … 255 and rounded down. */
static uint8_t masked(uint32_t pixel, uint32_t mask)
{
    if (mask == 0)
        return 0;
    while (!(mask & 1)) {
        mask >>= 1;
        pixel >>= 1;
    }
    return (uint8_t)((uint64_t)(pixel & mask) * 255 / mask);
}

static void unpack_row(const struct bmp *bmp, const uint8_t *from, uint8_t *to)
{
    const bool alpha = bmp->masks[3] != 0;
    for (size_t x = 0; x < (size_t)bmp->width; ++x) {
        if (bmp->bits <= 8) {
            size_t bit = x * bmp->bits;
            unsigned index =
                from[bit >> 3] >> (8 - bmp->bits - (bit & 7)) & ((1u << bmp->bits) - 1);
            memcpy(to + 3 * x, bmp->palette[index], 3);
        } else if (bmp->bits == 24 && bmp->compression == RAW) {
            for (size_t c = 0; c < 3; ++c)
                to[3 * x + c] = from[3 * x + 2 - c];
        } else {
            uint32_t pixel = little(from + x * (bmp->bits >> 3), (int)(bmp->bits >> 3));
            for (size_t c = 0; c < (alpha ? 4 : 3); ++c)
                to[(alpha ? 4 : 3) * x + c] = masked(pixel, bmp->masks[c]);
        }
    }
}

static uint8_t *row_of(const struct bmp *bmp, struct ddpm_picture *picture, int64_t y)
{
    int64_t row = bmp->top_down ? y : bmp->height - 1 - y;
    return picture->pixels + (size_t)row * (size_t)picture->width * (size_t)picture->channels;
}

static void put(const struct bmp *bmp, struct ddpm_picture *picture, int64_t x, int64_t y,
                unsigned index)
{
    if (x < bmp->width && y < bmp->height)
        memcpy(row_of(bmp, picture, y) + 3 * x, bmp->palette[index], 3);
}

/* Index number k of a run: a byte for RLE8, half a byte for RLE4, high half first. */
static unsigned run_index(const struct bmp *bmp, const uint8_t *at, unsigned k)
{
    if (bmp->compression == RLE8)
        return at[k];
    return k & 1 ? at[k >> 1] & 15u : at[k >> 1] >> 4;
}

/* Pairs of bytes: (n > 0, index) a run; (0, 0) end of row; (0, 1) end of picture; (0, 2) dx dy; (0,
 * n) n literal indices, padded to 16 bits. Skipped pixels keep the palette's first colour; pixels
 * beyond the end of a row are dropped. */
static ddpm_status decode_runs(struct ddpm_decoding *decoding, const struct bmp *bmp)
{
    struct ddpm_picture *picture = decoding->picture;
    size_t at = bmp->pixels;
    int64_t x = 0, y = 0; /* of the next pixel */
    for (int64_t i = 0; i < bmp->height * bmp->width; ++i)
        memcpy(picture->pixels + 3 * i, bmp->palette[0], 3);
    while (y < bmp->height) {
        if (at > bmp->size || bmp->size - at < 2) {
            if (y < bmp->height - 1 || x < bmp->width)
                return ddpm_decoding_truncated(decoding);
            ddpm_decoding_remark(decoding, DDPM_REMARK_NO_END);
            return DDPM_OK;
        }
        unsigned count = bmp->bytes[at], second = bmp->bytes[at + 1];
        at += 2;
        if (count > 0) {
            const uint8_t pair[1] = {(uint8_t)second};
            for (unsigned k = 0; k < count; ++k)
                put(bmp, picture, x++, y,
                    run_index(bmp, pair, bmp->compression == RLE8 ? 0 : k & 1));
        } else if (second == 0) {
            x = 0;
            ++y;
        } else if (second == 1) {
            return DDPM_OK;
        } else {
            size_t bytes = second == 2 ? 2 : bmp->compression == RLE8 ? second : (second + 1) / 2;
            bytes += bytes & 1;
            if (at + bytes > bmp->size)
                return ddpm_decoding_truncated(decoding);
            if (second == 2) {
                x += bmp->bytes[at];
                y += bmp->bytes[at + 1];
            } else {
                for (unsigned k = 0; k < second; ++k)
                    put(bmp, picture, x++, y, run_index(bmp, bmp->bytes + at, k));
            }
            at += bytes;
        }
        if (x > bmp->width)
            ddpm_decoding_remark(decoding, DDPM_REMARK_DAMAGED);
    }
    return DDPM_OK;
}

/* Rows are padded to four bytes, but the last row may lack the padding. */
static bool has_all_rows(const struct bmp *bmp, size_t stride)
{
    const size_t row = ((size_t)bmp->width * bmp->bits + 7) / 8;
    const size_t there = bmp->pixels <= bmp->size ? bmp->size - bmp->pixels : 0;
    return there >= row && (there - row) / stride >= (size_t)bmp->height - 1;
}

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    struct bmp bmp = {.bytes = decoding->bytes, .size = decoding->size};
    DDPM_TRY(read_header(&bmp));
    DDPM_TRY(ddpm_decoding_judge(decoding, bmp.height, bmp.width));
    const bool runs = bmp.compression == RLE8 || bmp.compression == RLE4;
    const size_t stride = ((size_t)bmp.width * bmp.bits + 31) / 32 * 4;
    if (!runs && !has_all_rows(&bmp, stride))
        return ddpm_decoding_truncated(decoding);
    DDPM_TRY(ddpm_decoding_start(decoding, bmp.height, bmp.width,
                                 bmp.masks[3] ? DDPM_PIXEL_RGBA : DDPM_PIXEL_RGB));
    if (runs)
        return decode_runs(decoding, &bmp);
    for (int64_t y = 0; y < bmp.height; ++y)
        unpack_row(&bmp, bmp.bytes + bmp.pixels + (size_t)y * stride,
                   row_of(&bmp, decoding->picture, y));
    return DDPM_OK;
}

static bool matches(const uint8_t *bytes, size_t size)
{
    return size >= 2 && bytes[0] == 'B' && bytes[1] == 'M';
}

const struct ddpm_decoder ddpm_decoder_bmp = {"BMP", matches, decode};

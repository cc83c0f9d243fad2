/* What kind of picture the tags of a TIFF file describe. TIFF can describe far more than we need;
 * anything we do not understand is an error that names it. */
#include "data/tiff_kind.h"

enum { TAG_WIDTH = 256, TAG_HEIGHT = 257, TAG_EXTRA = 338 };

/* Tags that share bytes can claim more bytes than the file has, but in valid files at most this
 * many more. */
enum { TAG_SLACK = 1 << 16 };

ddpm_status ddpm_tiff_judge(const struct ddpm_decoding *decoding, int64_t *height, int64_t *width)
{
    struct ddpm_tiff_entry entry = {0};
    *width = ddpm_tiff_find(decoding->bytes, decoding->size, TAG_WIDTH, &entry)
                 ? (int64_t)(entry.value & INT64_MAX)
                 : -1;
    *height = ddpm_tiff_find(decoding->bytes, decoding->size, TAG_HEIGHT, &entry)
                  ? (int64_t)(entry.value & INT64_MAX)
                  : -1;
    if (*height < 0 || *width < 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "no width or height: damaged or truncated");
    DDPM_TRY(ddpm_decoding_judge(decoding, *height, *width));
    const uint64_t claimed = ddpm_tiff_claimed_bytes(decoding->bytes, decoding->size);
    if (claimed > decoding->size + TAG_SLACK)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "truncated or damaged: the tags claim more than the file's %zu bytes",
                          decoding->size);
    return DDPM_OK;
}

/* The compressions that Pillow reads, except LZMA: its dictionary may take 4 GiB, and libtiff sets
 * no limit. */
static ddpm_status check_compression(uint16_t compression)
{
    switch (compression) {
    case COMPRESSION_NONE:
    case COMPRESSION_CCITTRLE:
    case COMPRESSION_CCITTFAX3:
    case COMPRESSION_CCITTFAX4:
    case COMPRESSION_LZW:
    case COMPRESSION_OJPEG:
    case COMPRESSION_JPEG:
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_CCITTRLEW:
    case COMPRESSION_PACKBITS:
    case COMPRESSION_THUNDERSCAN:
    case COMPRESSION_DEFLATE:
    case COMPRESSION_ZSTD:
    case COMPRESSION_WEBP:
        break;
    case COMPRESSION_LZMA:
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "LZMA, whose memory cannot be bounded");
    default:
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "compression %d", compression);
    }
    if (!TIFFIsCODECConfigured(compression))
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "compression %d, which this libtiff lacks",
                          compression);
    return DDPM_OK;
}

/* What to do with pictures of a kind that we do not read. */
#define AS_ARRAY "scale them to uint8 and pass a .npy file, see \"Rasters\" in docs/handbook.md"

static const char *format_name(uint16_t format)
{
    switch (format) {
    case SAMPLEFORMAT_UINT:
    case SAMPLEFORMAT_VOID:
        return "unsigned";
    case SAMPLEFORMAT_INT:
        return "signed";
    case SAMPLEFORMAT_IEEEFP:
        return "floating-point";
    default:
        return "complex";
    }
}

static ddpm_status check_samples(const struct ddpm_tiff_kind *kind, TIFF *tiff)
{
    uint16_t format = SAMPLEFORMAT_UINT;
    const int bits = kind->bits;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    if ((format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID) ||
        (bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16))
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "got %d-bit %s values, want unsigned ones of 1, 2, 4, 8 or 16 "
                          "bits; " AS_ARRAY,
                          bits, format_name(format));
    if (kind->samples > 16 || bits * kind->samples > 64)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "got %d samples of %d bits, want at most 64 bits per pixel; if they are "
                          "bands, " AS_ARRAY,
                          kind->samples, bits);
    return DDPM_OK;
}

/* Samples per pixel that are colours. */
static ddpm_status count_colours(struct ddpm_tiff_kind *kind, TIFF *tiff, int *colours)
{
    uint16_t inks = 0;
    switch (kind->photometric) {
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_MINISWHITE:
        *colours = 1;
        return DDPM_OK;
    case PHOTOMETRIC_PALETTE:
        *colours = 1;
        if (kind->bits > 8 || !TIFFGetField(tiff, TIFFTAG_COLORMAP, &kind->palette[0],
                                            &kind->palette[1], &kind->palette[2]))
            return ddpm_raise(DDPM_ERROR_FORMAT, "a palette picture without a palette");
        return DDPM_OK;
    case PHOTOMETRIC_YCBCR:
        *colours = 3;
        if (kind->bits != 8 || kind->samples != 3)
            return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                              "YCbCr of %d samples of %d bits, want 3 of 8 bits", kind->samples,
                              kind->bits);
        return DDPM_OK;
    case PHOTOMETRIC_RGB:
        *colours = 3;
        return DDPM_OK;
    case PHOTOMETRIC_SEPARATED:
        *colours = 4;
        if ((TIFFGetField(tiff, TIFFTAG_INKSET, &inks) && inks != INKSET_CMYK) ||
            (TIFFGetField(tiff, TIFFTAG_NUMBEROFINKS, &inks) && inks != 4))
            return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "inks other than CMYK");
        return DDPM_OK;
    default:
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "photometric interpretation %d",
                          kind->photometric);
    }
}

/* Every sample must be a colour of the photometric interpretation or be marked as extra: three
 * samples marked as grey may be RGB, a stack of pictures or satellite bands. libtiff itself marks
 * the remaining samples as extra, so check the file's own tag. */
static ddpm_status find_alpha(struct ddpm_tiff_kind *kind, TIFF *tiff, int colours,
                              const struct ddpm_decoding *decoding)
{
    struct ddpm_tiff_entry entry = {0};
    uint16_t extra = 0, *kinds = NULL;
    if (ddpm_tiff_find(decoding->bytes, decoding->size, TAG_EXTRA, &entry))
        TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds);
    if (kind->photometric == PHOTOMETRIC_RGB && kind->samples == 4 && entry.count == 0) {
        kind->alpha = true; /* many programs forget the mark; Pillow assumes alpha too */
        return DDPM_OK;
    }
    const bool stack = colours == 1 && kind->samples > 2; /* whatever the marks say */
    if (stack || kind->samples < colours || (uint64_t)(kind->samples - colours) != entry.count)
        return ddpm_raise(
            DDPM_ERROR_UNSUPPORTED,
            "got %d samples per pixel, %llu of them marked as extra, want %s; if they are "
            "bands, " AS_ARRAY,
            kind->samples, (unsigned long long)entry.count,
            colours == 1 ? "grey with at most 1 extra" : "the colours and those marked as extra");
    kind->alpha = extra > 0 && kinds && kind->photometric != PHOTOMETRIC_SEPARATED &&
                  (kinds[0] == EXTRASAMPLE_ASSOCALPHA || kinds[0] == EXTRASAMPLE_UNASSALPHA);
    kind->premultiplied = kind->alpha && kinds[0] == EXTRASAMPLE_ASSOCALPHA;
    return DDPM_OK;
}

static void read_orientation(struct ddpm_tiff_kind *kind, TIFF *tiff)
{
    uint16_t orientation = 0;
    uint32_t bytes = 0;
    const uint8_t *xmp = NULL;
    kind->orientation = 1;
    if (TIFFGetField(tiff, TIFFTAG_ORIENTATION, &orientation))
        kind->orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
    else if (TIFFGetField(tiff, TIFFTAG_XMLPACKET, &bytes, &xmp) && xmp)
        kind->orientation = ddpm_xmp_orientation(xmp, bytes);
    if (kind->orientation == 0)
        kind->orientation = 1;
}

ddpm_status ddpm_tiff_kind_read(struct ddpm_tiff_kind *kind, TIFF *tiff,
                                const struct ddpm_decoding *decoding)
{
    int colours = 0;
    *kind = (struct ddpm_tiff_kind){0};
    if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &kind->width) ||
        !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &kind->height))
        return ddpm_raise(DDPM_ERROR_FORMAT, "no width or height");
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &kind->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &kind->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &kind->planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &kind->compression);
    if (kind->compression == COMPRESSION_OJPEG)
        kind->photometric = PHOTOMETRIC_YCBCR; /* most such files do not say so */
    if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &kind->photometric) &&
        kind->compression != COMPRESSION_OJPEG)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "no photometric interpretation: black and white may be swapped");
    read_orientation(kind, tiff);
    DDPM_TRY(check_compression(kind->compression));
    DDPM_TRY(check_samples(kind, tiff));
    DDPM_TRY(count_colours(kind, tiff, &colours));
    DDPM_TRY(find_alpha(kind, tiff, colours, decoding));
    kind->colours = colours;
    if (kind->photometric == PHOTOMETRIC_SEPARATED)
        kind->mode = DDPM_PIXEL_CMYK;
    else if (kind->photometric == PHOTOMETRIC_PALETTE)
        kind->mode = kind->alpha ? DDPM_PIXEL_RGBA : DDPM_PIXEL_RGB;
    else
        kind->mode = (enum ddpm_pixel_mode)(colours + kind->alpha);
    return DDPM_OK;
}

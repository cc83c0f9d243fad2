/* TIFF through libtiff: the first picture of the file; bilevel, grey, palette, RGB, CMYK with 1 to
 * 16 bits per sample, extra samples as alpha, strips or tiles, samples together or in planes, every
 * compression that libtiff has. YCbCr is left to libtiff's own conversion. Floating point and Lab
 * are refused. */
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_TIFF
#include <tiffio.h>
#endif

#include "data/decode.h"

#ifdef HAVE_TIFF

struct tiff_state {
    struct ddpm_decoding *decoding;
    TIFF *tiff;
    uint64_t place;
    bool past_end;     /* the library asked for bytes behind the end */
    char message[256]; /* the library's first complaint */

    uint32_t width, height;
    uint16_t bits, samples, photometric, planar;
    bool premultiplied;
    uint16_t *palette[3];
};

static int on_error(TIFF *tiff, void *user, const char *module, const char *format,
                    va_list arguments)
{
    struct tiff_state *state = user;
    (void)tiff;
    (void)module;
    if (state->message[0] == '\0')
        vsnprintf(state->message, sizeof state->message, format, arguments);
    return 1;
}

static int on_warning(TIFF *tiff, void *user, const char *module, const char *format,
                      va_list arguments)
{
    (void)tiff;
    (void)user;
    (void)module;
    (void)format;
    (void)arguments;
    return 1;
}

static tmsize_t read_bytes(thandle_t handle, void *out, tmsize_t count)
{
    struct tiff_state *state = handle;
    uint64_t size = state->decoding->size;
    uint64_t left = state->place < size ? size - state->place : 0;
    uint64_t take = (uint64_t)count < left ? (uint64_t)count : left;
    state->past_end |= take < (uint64_t)count;
    memcpy(out, state->decoding->bytes + (take ? state->place : 0), take);
    state->place += take;
    return (tmsize_t)take;
}

static tmsize_t write_bytes(thandle_t handle, void *in, tmsize_t count)
{
    (void)handle;
    (void)in;
    (void)count;
    return -1;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence)
{
    struct tiff_state *state = handle;
    uint64_t base = whence == SEEK_CUR   ? state->place
                    : whence == SEEK_END ? state->decoding->size
                                         : 0;
    state->place = base + offset;
    return state->place;
}

static int close_nothing(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t size_of(thandle_t handle)
{
    return ((struct tiff_state *)handle)->decoding->size;
}

static ddpm_status raise_tiff(const struct tiff_state *state)
{
    if (state->past_end)
        return ddpm_decoding_truncated(state->decoding);
    return ddpm_raise(DDPM_ERROR_FORMAT, "%s", state->message[0] ? state->message : "damaged");
}

/* What kind of picture the tags describe. */
static ddpm_status read_tags(struct tiff_state *state, enum ddpm_pixel_mode *mode)
{
    TIFF *tiff = state->tiff;
    uint16_t format = SAMPLEFORMAT_UINT, orientation = ORIENTATION_TOPLEFT, extra = 0,
             *kinds = NULL;
    if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &state->width) ||
        !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &state->height))
        return ddpm_raise(DDPM_ERROR_FORMAT, "no width or height");
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &state->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &state->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &state->planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &orientation);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra, &kinds);
    state->photometric = PHOTOMETRIC_MINISBLACK;
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &state->photometric);
    if (orientation >= 1 && orientation <= 8)
        state->decoding->orientation = orientation;

    const int bits = state->bits;
    if ((format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID) ||
        (bits != 1 && bits != 2 && bits != 4 && bits != 8 && bits != 16))
        return ddpm_raise(
            DDPM_ERROR_UNSUPPORTED,
            "got %d bits of sample format %d, want unsigned integers of 1, 2, 4, 8 or 16", bits,
            format);
    int colours;
    switch (state->photometric) {
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_MINISWHITE:
        colours = 1;
        break;
    case PHOTOMETRIC_PALETTE:
        colours = 1;
        if (bits > 8 || !TIFFGetField(tiff, TIFFTAG_COLORMAP, &state->palette[0],
                                      &state->palette[1], &state->palette[2]))
            return ddpm_raise(DDPM_ERROR_FORMAT, "a palette picture without a palette");
        break;
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_YCBCR:
        colours = 3;
        break;
    case PHOTOMETRIC_SEPARATED:
        colours = 4;
        break;
    default:
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "photometric interpretation %d",
                          state->photometric);
    }
    if (state->samples < colours || state->samples > 16)
        return ddpm_raise(DDPM_ERROR_FORMAT, "got %d samples per pixel, want %d to 16",
                          state->samples, colours);
    bool alpha = extra > 0 && kinds && state->samples > colours &&
                 state->photometric != PHOTOMETRIC_PALETTE &&
                 (kinds[0] == EXTRASAMPLE_ASSOCALPHA || kinds[0] == EXTRASAMPLE_UNASSALPHA);
    state->premultiplied = alpha && kinds[0] == EXTRASAMPLE_ASSOCALPHA;
    if (state->photometric == PHOTOMETRIC_SEPARATED)
        *mode = DDPM_PIXEL_CMYK;
    else if (state->photometric == PHOTOMETRIC_PALETTE)
        *mode = DDPM_PIXEL_RGB;
    else
        *mode = (enum ddpm_pixel_mode)(colours + alpha);
    return DDPM_OK;
}

/* Sample number `index` of a row as 8 bits; fewer bits are left as they are. */
static uint8_t sample_of(const uint8_t *row, size_t index, int bits)
{
    if (bits == 8)
        return row[index];
    if (bits == 16) {
        uint16_t value; /* libtiff has put it in the machine's byte order */
        memcpy(&value, row + 2 * index, 2);
        return (uint8_t)(value >> 8);
    }
    size_t bit = index * (size_t)bits;
    return (uint8_t)(row[bit >> 3] >> (8 - bits - (int)(bit & 7)) & ((1 << bits) - 1));
}

/* Put `count` pixels of one decoded row at (x, y): all samples, or one plane. */
static void put_row(const struct tiff_state *state, const uint8_t *row, uint32_t x, uint32_t y,
                    uint32_t count, int plane)
{
    const struct ddpm_picture *picture = state->decoding->picture;
    const int channels = picture->channels, bits = state->bits;
    const bool planes = state->planar == PLANARCONFIG_SEPARATE;
    const bool palette = state->photometric == PHOTOMETRIC_PALETTE;
    const int samples = planes ? 1 : state->samples;
    const int wanted = planes || palette ? 1 : channels;
    const int scale = bits < 8 && !palette ? 255 / ((1 << bits) - 1) : 1;
    const int flip = state->photometric == PHOTOMETRIC_MINISWHITE ? 255 : 0;
    uint8_t *to = picture->pixels + ((size_t)y * state->width + x) * (size_t)channels;
    for (uint32_t i = 0; i < count; ++i, to += channels)
        for (int c = 0; c < wanted; ++c) {
            int value = sample_of(row, (size_t)i * (size_t)samples + (size_t)c, bits) * scale;
            if (palette)
                for (int k = 0; k < 3; ++k)
                    to[k] = (uint8_t)(state->palette[k][value] >> 8);
            else
                to[plane + c] = (uint8_t)(plane + c == 0 ? value ^ flip : value);
        }
}

/* Blocks are tiles, or strips seen as tiles of the picture's full width. */
static ddpm_status read_blocks(struct tiff_state *state)
{
    TIFF *tiff = state->tiff;
    const bool tiled = TIFFIsTiled(tiff);
    uint32_t block_width = state->width, block_height = state->height;
    if (tiled) {
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block_width);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block_height);
    } else {
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block_height);
    }
    tmsize_t bytes = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
    tmsize_t stride = tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
    if (block_width == 0 || block_height == 0 || bytes <= 0 || stride <= 0)
        return raise_tiff(state);
    if (block_height > state->height && !tiled)
        block_height = state->height;
    /* A tile may be larger than the picture, but not by so much that it becomes a bomb of its own.
     */
    if (bytes > 32 * (tmsize_t)state->width * (tmsize_t)state->height + (16 << 20))
        return ddpm_raise(DDPM_ERROR_FORMAT, "a block of %lld bytes is too large",
                          (long long)bytes);
    uint64_t samples = state->planar == PLANARCONFIG_SEPARATE ? 1 : state->samples;
    if ((uint64_t)stride < ((uint64_t)block_width * samples * state->bits + 7) / 8)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "subsampled rows");

    uint8_t *block = calloc(1, (size_t)bytes);
    if (!block)
        return ddpm_raise_memory((size_t)bytes, "a TIFF block");
    ddpm_status status = DDPM_OK;
    int planes = state->planar == PLANARCONFIG_SEPARATE ? state->decoding->picture->channels : 1;
    if (state->photometric == PHOTOMETRIC_PALETTE)
        planes = 1;
    for (int plane = 0; plane < planes && status == DDPM_OK; ++plane)
        for (uint32_t y = 0; y < state->height && status == DDPM_OK; y += block_height) {
            for (uint32_t x = 0; x < state->width; x += block_width) {
                uint32_t rows = state->height - y < block_height ? state->height - y : block_height;
                uint32_t columns = state->width - x < block_width ? state->width - x : block_width;
                uint16_t which = (uint16_t)plane;
                tmsize_t got = tiled ? TIFFReadTile(tiff, block, x, y, 0, which)
                                     : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, which),
                                                            block, bytes);
                if (got < (tmsize_t)rows * stride) {
                    status = raise_tiff(state);
                    break;
                }
                for (uint32_t row = 0; row < rows; ++row)
                    put_row(state, block + (size_t)row * (size_t)stride, x, y + row, columns,
                            plane);
                if (columns == state->width - x)
                    break;
            }
            if (state->height - y <= block_height)
                break;
        }
    free(block);
    return status;
}

/* YCbCr that is subsampled or not JPEG: libtiff's own way to RGBA, whose words are 0xAABBGGRR. */
static ddpm_status read_by_library(struct tiff_state *state)
{
    struct ddpm_picture *picture = state->decoding->picture;
    size_t pixels = (size_t)state->width * state->height;
    uint32_t *words = malloc(pixels * sizeof *words);
    if (!words)
        return ddpm_raise_memory(pixels * sizeof *words, "a TIFF picture");
    ddpm_status status = DDPM_OK;
    if (TIFFReadRGBAImageOriented(state->tiff, state->width, state->height, words,
                                  state->decoding->orientation, 1)) {
        for (size_t i = 0; i < pixels; ++i) {
            picture->pixels[3 * i] = (uint8_t)TIFFGetR(words[i]);
            picture->pixels[3 * i + 1] = (uint8_t)TIFFGetG(words[i]);
            picture->pixels[3 * i + 2] = (uint8_t)TIFFGetB(words[i]);
        }
    } else {
        status = raise_tiff(state);
    }
    free(words);
    return status;
}

/* Colours that were multiplied by alpha are divided by it again. */
static void divide_by_alpha(struct ddpm_picture *picture)
{
    const int channels = picture->channels;
    size_t pixels = (size_t)picture->height * (size_t)picture->width;
    for (uint8_t *at = picture->pixels; pixels > 0; --pixels, at += channels) {
        unsigned alpha = at[channels - 1];
        for (int c = 0; c < channels - 1 && alpha != 255; ++c) {
            unsigned value = alpha ? at[c] * 255u / alpha : 0;
            at[c] = (uint8_t)(value < 255 ? value : 255);
        }
    }
}

static ddpm_status read_picture(struct tiff_state *state)
{
    enum ddpm_pixel_mode mode = DDPM_PIXEL_RGB;
    DDPM_TRY(read_tags(state, &mode));
    uint16_t compression = COMPRESSION_NONE;
    TIFFGetFieldDefaulted(state->tiff, TIFFTAG_COMPRESSION, &compression);
    bool by_library = state->photometric == PHOTOMETRIC_YCBCR;
    if (by_library && compression == COMPRESSION_JPEG && state->planar == PLANARCONFIG_CONTIG) {
        TIFFSetField(state->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        by_library = false;
    }
    DDPM_TRY(ddpm_decoding_start(state->decoding, state->height, state->width,
                                 by_library ? DDPM_PIXEL_RGB : mode));
    if (by_library)
        return read_by_library(state);
    DDPM_TRY(read_blocks(state));
    if (state->premultiplied)
        divide_by_alpha(state->decoding->picture);
    return DDPM_OK;
}

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    struct tiff_state state = {.decoding = decoding};
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for a TIFF decoder");
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, &state);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, &state);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)1 << 30);
    state.tiff = TIFFClientOpenExt("picture", "rm", &state, read_bytes, write_bytes, seek,
                                   close_nothing, size_of, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    ddpm_status status = state.tiff ? read_picture(&state) : raise_tiff(&state);
    if (state.tiff)
        TIFFClose(state.tiff);
    return status;
}
#else
static ddpm_status decode(struct ddpm_decoding *decoding)
{
    (void)decoding;
    return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                      "this build has no libtiff; build with it or convert");
}
#endif

static bool matches(const uint8_t *bytes, size_t size)
{
    return size >= 4 && (memcmp(bytes, "II*\0", 4) == 0 || memcmp(bytes, "MM\0*", 4) == 0 ||
                         memcmp(bytes, "II+\0", 4) == 0 || memcmp(bytes, "MM\0+", 4) == 0);
}

const struct ddpm_decoder ddpm_decoder_tiff = {"TIFF", matches, decode};

/* TIFF through libtiff: the first picture of the file; bilevel, grey, palette, RGB, CMYK with 1 to
 * 16 bits per sample, extra samples as alpha, strips or tiles, samples together or in planes. For
 * YCbCr we use libtiff's own conversion. tiff_kind.c says what the tags mean and what we reject. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_TIFF
#include "data/tiff_kind.h"
#endif

#include "data/decode.h"

#ifdef HAVE_TIFF

struct tiff_state {
    struct ddpm_decoding *decoding;
    TIFF *tiff;
    uint64_t place;
    bool past_end;     /* the library asked for bytes beyond the end */
    bool no_memory;    /* malloc() had failed before the library's first complaint */
    char message[256]; /* the library's first complaint */
    struct ddpm_tiff_kind kind;
};

static int on_error(TIFF *tiff, void *user, const char *module, const char *format,
                    va_list arguments)
{
    struct tiff_state *state = user;
    (void)tiff;
    (void)module;
    if (state->message[0] == '\0') {
        state->no_memory = errno == ENOMEM; /* decode() has set it to 0 */
        vsnprintf(state->message, sizeof state->message, format, arguments);
    }
    return 1;
}

/* Warnings about tags are many and harmless. Warnings of the codecs that guess when their data is
 * damaged are not. */
static int on_warning(TIFF *tiff, void *user, const char *module, const char *format,
                      va_list arguments)
{
    struct tiff_state *state = user;
    (void)tiff;
    (void)format;
    (void)arguments;
    if (module && (strncmp(module, "Fax", 3) == 0 || strcmp(module, "JPEGLib") == 0))
        ddpm_decoding_remark(state->decoding, DDPM_REMARK_DAMAGED);
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
    return ddpm_raise(state->no_memory ? DDPM_ERROR_MEMORY : DDPM_ERROR_FORMAT, "%s",
                      state->message[0] ? state->message : "damaged");
}

/* Sample number `index` of a row as 8 bits; samples with fewer bits are not scaled. */
static uint8_t sample_of(const uint8_t *row, size_t index, int bits)
{
    if (bits == 8)
        return row[index];
    if (bits == 16) {
        uint16_t value; /* libtiff has converted it to the machine's byte order */
        memcpy(&value, row + 2 * index, 2);
        return (uint8_t)(value >> 8);
    }
    size_t bit = index * (size_t)bits;
    return (uint8_t)(row[bit >> 3] >> (8 - bits - (int)(bit & 7)) & ((1 << bits) - 1));
}

/* Sample number c of a pixel, with the file's number of bits. */
static void put_sample(const struct ddpm_tiff_kind *kind, uint8_t *to, int c, int value)
{
    const bool palette = kind->photometric == PHOTOMETRIC_PALETTE;
    if (palette && c == 0) {
        for (int k = 0; k < 3; ++k)
            to[k] = (uint8_t)(kind->palette[k][value] >> 8);
        return;
    }
    if (kind->bits < 8)
        value *= 255 / ((1 << kind->bits) - 1);
    if (kind->photometric == PHOTOMETRIC_MINISWHITE && c == 0)
        value ^= 255;
    to[palette ? 3 : c] = (uint8_t)value;
}

/* How many samples of a pixel we use: colours and alpha. */
static int wanted_samples(const struct ddpm_tiff_kind *kind, const struct ddpm_picture *picture)
{
    return kind->photometric == PHOTOMETRIC_PALETTE ? 1 + kind->alpha : picture->channels;
}

/* Put `count` pixels of one decoded row at (x, y): all samples, or one plane. */
static void put_row(const struct tiff_state *state, const uint8_t *row, uint32_t x, uint32_t y,
                    uint32_t count, int plane)
{
    const struct ddpm_tiff_kind *kind = &state->kind;
    const struct ddpm_picture *picture = state->decoding->picture;
    const bool planes = kind->planar == PLANARCONFIG_SEPARATE;
    const size_t samples = planes ? 1 : kind->samples;
    const int wanted = planes ? 1 : wanted_samples(kind, picture), channels = picture->channels;
    uint8_t *to = picture->pixels + ((size_t)y * kind->width + x) * (size_t)channels;
    for (uint32_t i = 0; i < count; ++i, to += channels)
        for (int c = 0; c < wanted; ++c)
            put_sample(kind, to, plane + c,
                       sample_of(row, (size_t)i * samples + (size_t)c, kind->bits));
}

/* Blocks are tiles, or strips seen as tiles of the picture's full width. */
struct blocks {
    bool tiled;
    uint32_t width, height;
    tmsize_t bytes, stride;
    uint8_t *block; /* one, decoded */
};

static ddpm_status measure_blocks(struct tiff_state *state, struct blocks *blocks)
{
    TIFF *tiff = state->tiff;
    const struct ddpm_tiff_kind *kind = &state->kind;
    blocks->tiled = TIFFIsTiled(tiff);
    blocks->width = kind->width;
    blocks->height = kind->height;
    if (blocks->tiled) {
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &blocks->width);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &blocks->height);
    } else {
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &blocks->height);
    }
    blocks->bytes = blocks->tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff);
    blocks->stride = blocks->tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
    if (blocks->width == 0 || blocks->height == 0 || blocks->bytes <= 0 || blocks->stride <= 0)
        return raise_tiff(state);
    if (blocks->height > kind->height && !blocks->tiled)
        blocks->height = kind->height;
    /* A tile may be larger than the picture, but not so large that it becomes a decompression
     * bomb. */
    if ((size_t)blocks->bytes > ddpm_decoding_budget(kind->height, kind->width))
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "a block of %lld bytes is too large for a picture of %ux%u",
                          (long long)blocks->bytes, kind->width, kind->height);
    uint64_t samples = kind->planar == PLANARCONFIG_SEPARATE ? 1 : kind->samples;
    if ((uint64_t)blocks->stride < ((uint64_t)blocks->width * samples * kind->bits + 7) / 8)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "subsampled rows");
    return DDPM_OK;
}

/* One row of blocks, starting at the picture's row y. */
static ddpm_status read_block_row(struct tiff_state *state, const struct blocks *blocks, int plane,
                                  uint32_t y)
{
    TIFF *tiff = state->tiff;
    const uint32_t width = state->kind.width, left_below = state->kind.height - y;
    const uint32_t rows = left_below < blocks->height ? left_below : blocks->height;
    const uint16_t which = (uint16_t)plane;
    for (uint32_t x = 0; x < width;) {
        const uint32_t columns = width - x < blocks->width ? width - x : blocks->width;
        tmsize_t got = blocks->tiled ? TIFFReadTile(tiff, blocks->block, x, y, 0, which)
                                     : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, which),
                                                            blocks->block, blocks->bytes);
        if (got < (tmsize_t)rows * blocks->stride)
            return raise_tiff(state);
        for (uint32_t row = 0; row < rows; ++row)
            put_row(state, blocks->block + (size_t)row * (size_t)blocks->stride, x, y + row,
                    columns, plane);
        x += columns;
    }
    return DDPM_OK;
}

static ddpm_status read_blocks(struct tiff_state *state)
{
    struct blocks blocks = {0};
    DDPM_TRY(measure_blocks(state, &blocks));
    blocks.block = calloc(1, (size_t)blocks.bytes);
    if (!blocks.block)
        return ddpm_raise_memory((size_t)blocks.bytes, "a TIFF block");
    ddpm_status status = DDPM_OK;
    const int planes = state->kind.planar == PLANARCONFIG_SEPARATE
                           ? wanted_samples(&state->kind, state->decoding->picture)
                           : 1;
    for (int plane = 0; plane < planes; ++plane)
        for (uint32_t y = 0; y < state->kind.height && status == DDPM_OK;) {
            status = read_block_row(state, &blocks, plane, y);
            y += state->kind.height - y < blocks.height ? state->kind.height - y : blocks.height;
        }
    free(blocks.block);
    return status;
}

/* YCbCr that is subsampled or not JPEG: let libtiff convert it to RGBA, in words 0xAABBGGRR. */
static ddpm_status read_by_library(struct tiff_state *state)
{
    struct ddpm_picture *picture = state->decoding->picture;
    const uint32_t width = state->kind.width, height = state->kind.height;
    size_t pixels = (size_t)width * height;
    uint32_t *words = malloc(pixels * sizeof *words);
    if (!words)
        return ddpm_raise_memory(pixels * sizeof *words, "a TIFF picture");
    ddpm_status status = DDPM_OK;
    if (TIFFReadRGBAImageOriented(state->tiff, width, height, words, state->decoding->orientation,
                                  1)) {
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

/* Undo premultiplied alpha: divide the colours by it. */
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

static void note_stored(const struct tiff_state *state)
{
    const struct ddpm_tiff_kind *kind = &state->kind;
    struct ddpm_picture_stored *stored = &state->decoding->picture->stored;
    stored->bits = kind->bits;
    stored->channels = kind->samples + (kind->photometric == PHOTOMETRIC_PALETTE ? 2 : 0);
    stored->extra = kind->samples > kind->colours;
    stored->pages = ddpm_tiff_pages(state->decoding->bytes, state->decoding->size);
}

static ddpm_status read_picture(struct tiff_state *state)
{
    struct ddpm_tiff_kind *kind = &state->kind;
    DDPM_TRY(ddpm_tiff_kind_read(kind, state->tiff, state->decoding));
    state->decoding->orientation = kind->orientation;
    bool by_library = kind->photometric == PHOTOMETRIC_YCBCR;
    if (by_library && kind->compression == COMPRESSION_JPEG &&
        kind->planar == PLANARCONFIG_CONTIG) {
        TIFFSetField(state->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
        by_library = false;
    }
    DDPM_TRY(ddpm_decoding_start(state->decoding, kind->height, kind->width, kind->mode));
    note_stored(state);
    if (by_library)
        return read_by_library(state);
    DDPM_TRY(read_blocks(state));
    if (kind->premultiplied)
        divide_by_alpha(state->decoding->picture);
    return DDPM_OK;
}

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    struct tiff_state state = {.decoding = decoding};
    int64_t height = 0, width = 0;
    DDPM_TRY(ddpm_tiff_judge(decoding, &height, &width));
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for a TIFF decoder");
    const size_t budget = ddpm_decoding_budget(height, width);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, &state);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, &state);
    TIFFOpenOptionsSetMaxSingleMemAlloc(
        options, (tmsize_t)(budget > decoding->size ? budget : decoding->size));
    errno = 0;
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

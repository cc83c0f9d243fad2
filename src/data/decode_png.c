/* PNG through libpng: every colour type and depth, interlaced or not, with tRNS as alpha; the first
 * picture of an animated PNG. No gamma and no colour management, like Pillow. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "data/decode.h"

struct png_state {
    struct ddpm_decoding *decoding;
    png_structp png;
    png_infop info;
    struct ddpm_png_look look;
    size_t place;      /* next byte to read */
    int64_t rows_left; /* rows of all passes still to decode */
    bool no_memory;    /* libpng could not allocate something */
    ddpm_status status;
};

static png_voidp allocate(png_structp png, png_alloc_size_t bytes)
{
    struct png_state *state = png_get_mem_ptr(png);
    void *memory = malloc(bytes);
    state->no_memory |= !memory;
    return memory;
}

static void release(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_error(png_structp png, png_const_charp text)
{
    struct png_state *state = png_get_error_ptr(png);
    if (state->rows_left == 0) { /* only the end of the data is missing or damaged */
        state->status = DDPM_OK;
        ddpm_decoding_remark(state->decoding, DDPM_REMARK_DAMAGED);
    } else if (state->status == DDPM_OK) {
        state->status =
            ddpm_raise(state->no_memory ? DDPM_ERROR_MEMORY : DDPM_ERROR_FORMAT, "%s", text);
    }
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep out, size_t count)
{
    struct png_state *state = png_get_io_ptr(png);
    if (count > state->decoding->size - state->place) {
        state->status = ddpm_decoding_truncated(state->decoding);
        png_error(png, "truncated");
    }
    memcpy(out, state->decoding->bytes + state->place, count);
    if (state->look.cut != 0 && state->place == state->look.cut && count == 8) {
        /* libpng would try to read all data of this chunk and fail, although the part we have may
         * hold all pixels. So tell it the length of that part. */
        for (int i = 0; i < 4; ++i)
            out[i] = (uint8_t)(state->look.cut_bytes >> (24 - 8 * i));
    }
    state->place += count;
}

/* libpng calls this for every decoded row, before it looks for the end of the data. */
static void count_row(png_structp png, png_row_infop info, png_bytep row)
{
    struct png_state *state = png_get_user_transform_ptr(png);
    (void)info;
    (void)row;
    --state->rows_left;
}

static int64_t rows_of_passes(const struct ddpm_picture *picture, int passes)
{
    const int height = picture->height, width = picture->width;
    if (passes == 1)
        return height;
    int64_t rows = 0;
    for (int pass = 0; pass < passes; ++pass)
        if (PNG_PASS_COLS(width, pass) > 0)
            rows += PNG_PASS_ROWS(height, pass);
    return rows;
}

static void read_rows(struct png_state *state, int passes)
{
    struct ddpm_picture *picture = state->decoding->picture;
    size_t stride = (size_t)picture->width * (size_t)picture->channels;
    for (int pass = 0; pass < passes; ++pass)
        for (int y = 0; y < picture->height; ++y)
            png_read_row(state->png, picture->pixels + (size_t)y * stride, NULL);
}

/* Check before libpng allocates its rows and before we allocate the picture. Deflate expands a byte
 * to at most 1032, so a file too short for that cannot hold the picture. */
static ddpm_status judge(const struct png_state *state)
{
    const int64_t height = png_get_image_height(state->png, state->info),
                  width = png_get_image_width(state->png, state->info);
    DDPM_TRY(ddpm_decoding_judge(state->decoding, height, width));
    const int64_t row = (int64_t)png_get_rowbytes(state->png, state->info);
    if (height * row / 1040 > (int64_t)state->decoding->size)
        return ddpm_decoding_truncated(state->decoding);
    return DDPM_OK;
}

static void read_picture(struct png_state *state)
{
    png_structp png = state->png;
    png_infop info = state->info;
    png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF); /* judge() checks it, with a clearer error */
    /* ddpm_png_look() handles the checksums and every chunk that does not affect the pixels. */
    png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_NO_CHANGE);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, info);
    state->status = judge(state);
    if (state->status != DDPM_OK)
        return;
    const int bits = png_get_bit_depth(png, info);
    png_set_expand(png); /* palette to RGB, 1, 2 and 4 bits to 8, tRNS to alpha */
    png_set_strip_16(png);
    png_set_read_user_transform_fn(png, count_row);
    png_set_user_transform_info(png, state, 0, 0);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    enum ddpm_pixel_mode mode = (enum ddpm_pixel_mode)png_get_channels(png, info);
    state->status = ddpm_decoding_start(state->decoding, png_get_image_height(png, info),
                                        png_get_image_width(png, info), mode);
    if (state->status != DDPM_OK)
        return;
    state->decoding->picture->stored.bits = bits;
    state->rows_left = rows_of_passes(state->decoding->picture, passes);
    read_rows(state, passes); /* ddpm_png_look() has checked what follows the pixels */
}

static void run(struct png_state *state)
{
    if (setjmp(png_jmpbuf(state->png)))
        return;
    read_picture(state);
}

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    struct png_state state = {.decoding = decoding, .rows_left = INT64_MAX};
    state.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning,
                                         &state, allocate, release);
    state.info = state.png ? png_create_info_struct(state.png) : NULL;
    if (!state.info) {
        png_destroy_read_struct(&state.png, NULL, NULL);
        return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for a PNG decoder");
    }
    png_set_read_fn(state.png, &state, read_bytes);
    state.status = ddpm_png_look(decoding, &state.look);
    decoding->orientation = state.look.orientation;
    if (state.status == DDPM_OK)
        run(&state);
    png_destroy_read_struct(&state.png, &state.info, NULL);
    return state.status;
}

static bool matches(const uint8_t *bytes, size_t size)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    return size >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

const struct ddpm_decoder ddpm_decoder_png = {"PNG", matches, decode};

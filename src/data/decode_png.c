/* PNG through libpng: every colour type and depth, interlaced or not, with tRNS as alpha; the first
 * picture of an animated PNG. No gamma and no colour management, as Pillow. */
#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "data/decode.h"

struct png_state {
    struct ddpm_decoding *decoding;
    png_structp png;
    png_infop info;
    size_t place; /* next byte to read */
    ddpm_status status;
};

static void on_error(png_structp png, png_const_charp text)
{
    struct png_state *state = png_get_error_ptr(png);
    if (state->status == DDPM_OK)
        state->status = ddpm_raise(DDPM_ERROR_FORMAT, "%s", text);
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
    state->place += count;
}

static void read_rows(struct png_state *state, int passes)
{
    struct ddpm_picture *picture = state->decoding->picture;
    size_t stride = (size_t)picture->width * (size_t)picture->channels;
    for (int pass = 0; pass < passes; ++pass)
        for (int y = 0; y < picture->height; ++y)
            png_read_row(state->png, picture->pixels + (size_t)y * stride, NULL);
}

static void read_picture(struct png_state *state)
{
    png_structp png = state->png;
    png_infop info = state->info;
    png_set_user_limits(png, 0x7FFFFFFF,
                        0x7FFFFFFF); /* ddpm_decoding_start judges, with a clearer text */
    png_read_info(png, info);
    png_set_expand(png); /* palette to RGB, 1, 2 and 4 bits to 8, tRNS to alpha */
    png_set_strip_16(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    enum ddpm_pixel_mode mode = (enum ddpm_pixel_mode)png_get_channels(png, info);
    state->status = ddpm_decoding_start(state->decoding, png_get_image_height(png, info),
                                        png_get_image_width(png, info), mode);
    if (state->status != DDPM_OK)
        return;
    read_rows(state, passes);
    png_read_end(png, info);
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 bytes = 0;
    png_bytep exif = NULL;
    if (png_get_eXIf_1(png, info, &bytes, &exif) && exif)
        state->decoding->orientation = ddpm_exif_orientation(exif, bytes);
#endif
}

static void run(struct png_state *state)
{
    if (setjmp(png_jmpbuf(state->png)))
        return;
    read_picture(state);
}

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    struct png_state state = {.decoding = decoding};
    state.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
    state.info = state.png ? png_create_info_struct(state.png) : NULL;
    if (!state.info) {
        png_destroy_read_struct(&state.png, NULL, NULL);
        return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for a PNG decoder");
    }
    png_set_read_fn(state.png, &state, read_bytes);
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

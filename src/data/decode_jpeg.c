/* JPEG through libjpeg (libjpeg-turbo): baseline and progressive; grey, YCbCr, RGB, CMYK and YCCK.
 *
 * Exactness first: full size, accurate integer inverse DCT and smooth upsampling, libjpeg's
 * defaults and Pillow's. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "data/decode.h"

/* A small progressive file can ask for thousands of passes over a large picture; real ones have
 * about ten. */
enum { SCAN_LIMIT = 500 };

struct jpeg_state {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf leave;
    struct ddpm_decoding *decoding;
    ddpm_status status;
};

/* libjpeg knows only the address of the decompressor, which is the first member. */
static struct jpeg_state *state_of(j_common_ptr common)
{
    return (struct jpeg_state *)(void *)common;
}

static void on_error(j_common_ptr common)
{
    struct jpeg_state *state = state_of(common);
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    state->status = common->err->msg_code == JERR_OUT_OF_MEMORY
                        ? ddpm_raise(DDPM_ERROR_MEMORY, "%s", text)
                        : ddpm_raise(DDPM_ERROR_FORMAT, "%s", text);
    longjmp(state->leave, 1);
}

/* Warnings are kept silent as Pillow does; only a file that ends too early must not pass for a
 * picture. */
static void on_message(j_common_ptr common, int level)
{
    struct jpeg_state *state = state_of(common);
    if (level < 0 && common->err->msg_code == JWRN_JPEG_EOF) {
        state->status = ddpm_decoding_truncated(state->decoding);
        longjmp(state->leave, 1);
    }
}

static void on_progress(j_common_ptr common)
{
    struct jpeg_state *state = state_of(common);
    if (state->jpeg.input_scan_number > SCAN_LIMIT) {
        state->status = ddpm_raise(DDPM_ERROR_FORMAT, "more than %d scans", SCAN_LIMIT);
        longjmp(state->leave, 1);
    }
}

static void no_output(j_common_ptr common)
{
    (void)common;
}

static ddpm_status choose_mode(struct jpeg_state *state)
{
    struct jpeg_decompress_struct *jpeg = &state->jpeg;
    enum ddpm_pixel_mode mode;
    switch (jpeg->num_components) {
    case 1:
        jpeg->out_color_space = JCS_GRAYSCALE;
        mode = DDPM_PIXEL_GREY;
        break;
    case 3:
        jpeg->out_color_space = JCS_RGB;
        mode = DDPM_PIXEL_RGB;
        break;
    case 4:
        jpeg->out_color_space = JCS_CMYK;
        mode = DDPM_PIXEL_CMYK;
        break;
    default:
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "got %d components, want 1, 3 or 4",
                          jpeg->num_components);
    }
    return ddpm_decoding_start(state->decoding, jpeg->image_height, jpeg->image_width, mode);
}

static void read_rows(struct jpeg_state *state)
{
    struct jpeg_decompress_struct *jpeg = &state->jpeg;
    struct ddpm_picture *picture = state->decoding->picture;
    size_t stride = (size_t)picture->width * (size_t)picture->channels;
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = picture->pixels + jpeg->output_scanline * stride;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    if (state->decoding->mode == DDPM_PIXEL_CMYK) {
        /* Every program that writes CMYK JPEG follows Adobe, who stores the complement. */
        size_t bytes = (size_t)picture->height * stride;
        for (size_t i = 0; i < bytes; ++i)
            picture->pixels[i] = (uint8_t)(255 - picture->pixels[i]);
    }
}

static void find_orientation(struct jpeg_state *state)
{
    for (jpeg_saved_marker_ptr marker = state->jpeg.marker_list; marker; marker = marker->next)
        if (marker->data_length >= 6 && memcmp(marker->data, "Exif\0\0", 6) == 0) {
            state->decoding->orientation = ddpm_exif_orientation(marker->data, marker->data_length);
            return;
        }
}

static void run(struct jpeg_state *state)
{
    if (setjmp(state->leave))
        return;
    struct jpeg_decompress_struct *jpeg = &state->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->progress = &state->progress;
    jpeg_mem_src(jpeg, state->decoding->bytes, (unsigned long)state->decoding->size);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(jpeg, TRUE);
    find_orientation(state);
    state->status = choose_mode(state);
    if (state->status != DDPM_OK)
        return;
    jpeg_start_decompress(jpeg);
    read_rows(state);
    jpeg_finish_decompress(jpeg);
}

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    struct jpeg_state state = {.decoding = decoding};
    state.jpeg.err = jpeg_std_error(&state.errors);
    state.errors.error_exit = on_error;
    state.errors.emit_message = on_message;
    state.errors.output_message = no_output;
    state.progress.progress_monitor = on_progress;
    run(&state);
    jpeg_destroy_decompress(&state.jpeg);
    return state.status;
}

static bool matches(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

const struct ddpm_decoder ddpm_decoder_jpeg = {"JPEG", matches, decode};

/* JPEG through libjpeg (libjpeg-turbo): baseline, progressive and, if the library has it,
 * arithmetic coding; grey, YCbCr, RGB, CMYK and YCCK.
 *
 * Exactness before speed: full size, accurate integer inverse DCT and smooth upsampling, which are
 * the defaults of libjpeg and Pillow. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "data/decode.h"

/* A small progressive file can demand thousands of passes over a large picture; real ones have
 * about ten. */
enum { SCAN_LIMIT = 500 };

struct jpeg_state {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf leave;
    struct ddpm_decoding *decoding;
    bool past_end; /* the library asked for bytes beyond the end */
    bool ended;    /* there is an end mark */
    unsigned seen; /* components that appeared in a scan, one bit each */
    bool damaged;  /* it had to guess */
    ddpm_status status;
};

/* libjpeg only gives us the address of the decompressor, which is the first member. */
static struct jpeg_state *state_of(j_common_ptr common)
{
    return (struct jpeg_state *)(void *)common;
}

static void on_error(j_common_ptr common)
{
    struct jpeg_state *state = state_of(common);
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    switch (common->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
        state->status = ddpm_raise(DDPM_ERROR_MEMORY, "%s", text);
        break;
    case JERR_NO_BACKING_STORE: /* libjpeg's error if max_memory_to_use is not enough */
        state->status = ddpm_raise(DDPM_ERROR_FORMAT,
                                   "its coefficients take more memory than a picture of %ux%u is "
                                   "allowed",
                                   state->jpeg.image_width, state->jpeg.image_height);
        break;
    case JERR_BAD_PRECISION:
        state->status = ddpm_raise(DDPM_ERROR_UNSUPPORTED, "got %d bits per sample, want 8",
                                   state->jpeg.data_precision);
        break;
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
        state->status = ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s", text);
        break;
    default:
        state->status = state->past_end ? ddpm_decoding_truncated(state->decoding)
                                        : ddpm_raise(DDPM_ERROR_FORMAT, "%s", text);
    }
    longjmp(state->leave, 1);
}

/* Warnings that do not affect the data: an unknown JFIF version, an unknown Adobe transform. */
static bool is_harmless(int warning)
{
    return warning == JWRN_JFIF_MAJOR || warning == JWRN_ADOBE_XFORM;
}

/* libjpeg warns and continues: at the end of the file it invents an end mark, and if a scan has too
 * few bits it continues with zeros. Pillow fails only if the file ends before its pixels do. We
 * must do the same; the other cases become a remark. */
static void on_message(j_common_ptr common, int level)
{
    struct jpeg_state *state = state_of(common);
    if (level >= 0 || is_harmless(common->err->msg_code))
        return;
    if (common->err->msg_code == JWRN_JPEG_EOF) {
        state->past_end = true;
    } else if (state->past_end && common->err->msg_code == JWRN_HIT_MARKER) {
        state->status = ddpm_decoding_truncated(state->decoding);
        longjmp(state->leave, 1);
    } else {
        state->damaged = true;
    }
}

static void on_progress(j_common_ptr common)
{
    struct jpeg_state *state = state_of(common);
    if (state->jpeg.input_scan_number > SCAN_LIMIT) {
        state->status = ddpm_raise(DDPM_ERROR_FORMAT, "more than %d scans", SCAN_LIMIT);
        longjmp(state->leave, 1);
    }
    for (int i = 0; i < state->jpeg.comps_in_scan; ++i)
        state->seen |= 1u << state->jpeg.cur_comp_info[i]->component_index;
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
    DDPM_TRY(ddpm_decoding_judge(state->decoding, jpeg->image_height, jpeg->image_width));
    jpeg->mem->max_memory_to_use =
        (long)ddpm_decoding_budget(jpeg->image_height, jpeg->image_width);
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
        /* Every program that writes CMYK JPEG stores the complement, as Adobe does. */
        size_t bytes = (size_t)picture->height * stride;
        for (size_t i = 0; i < bytes; ++i)
            picture->pixels[i] = (uint8_t)(255 - picture->pixels[i]);
    }
}

/* The orientation in the APP1 segments before the first scan: FF, marker, u16 length with itself,
 * data. Between segments there may be any bytes that are not a marker. libjpeg could keep the
 * segments, but it would keep as many as the file has. */
static int find_orientation(const uint8_t *bytes, size_t size)
{
    static const char xmp_name[] = "http://ns.adobe.com/xap/1.0/";
    int exif = -1, xmp = 0;
    for (size_t at = 2; at + 4 <= size;) {
        const unsigned marker = bytes[at + 1];
        const bool alone = marker == 1 || (marker >= 0xD0 && marker <= 0xD8);
        if (bytes[at] != 0xFF || marker == 0 || marker == 0xFF || alone) {
            at += bytes[at] == 0xFF && alone ? 2 : 1;
            continue;
        }
        const size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (marker == 0xD9 || marker == 0xDA || length < 2 || length > size - at - 2)
            break;
        const uint8_t *data = bytes + at + 4;
        if (marker == 0xE1 && length >= 8 && memcmp(data, "Exif\0\0", 6) == 0 && exif < 0)
            exif = ddpm_exif_orientation(data, length - 2);
        else if (marker == 0xE1 && length > 2 + sizeof xmp_name &&
                 memcmp(data, xmp_name, sizeof xmp_name) == 0)
            xmp = ddpm_xmp_orientation(data, length - 2);
        at += 2 + length;
    }
    return exif > 0 ? exif : xmp > 0 ? xmp : 1;
}

/* Is the picture complete? In a progressive file, scans must have delivered every bit of every
 * coefficient. */
static bool has_all_scans(struct jpeg_state *state)
{
    struct jpeg_decompress_struct *jpeg = &state->jpeg;
    if (!jpeg_has_multiple_scans(jpeg))
        return true;
    if (state->seen != (1u << jpeg->num_components) - 1)
        return false;
    for (int c = 0; jpeg->coef_bits && c < jpeg->num_components; ++c)
        for (int k = 0; k < DCTSIZE2; ++k)
            if (jpeg->coef_bits[c][k] != 0)
                return false;
    return true;
}

/* After the last row, a file with several scans has been read to its end mark, one with a single
 * scan to the end of its data. */
static bool has_end_mark(struct jpeg_state *state)
{
    struct jpeg_decompress_struct *jpeg = &state->jpeg;
    const uint8_t *at = jpeg->src->next_input_byte, *end = at + jpeg->src->bytes_in_buffer;
    if (state->past_end)
        return false;
    if (jpeg->unread_marker == JPEG_EOI || jpeg_input_complete(jpeg))
        return true;
    for (; end - at >= 2; ++at)
        if (at[0] == 0xFF && at[1] == JPEG_EOI)
            return true;
    return false;
}

static void run(struct jpeg_state *state)
{
    if (setjmp(state->leave))
        return;
    struct jpeg_decompress_struct *jpeg = &state->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->progress = &state->progress;
    jpeg_mem_src(jpeg, state->decoding->bytes, (unsigned long)state->decoding->size);
    jpeg_read_header(jpeg, TRUE);
    state->status = choose_mode(state);
    if (state->status != DDPM_OK)
        return;
    jpeg_start_decompress(jpeg);
    read_rows(state);
    state->ended = has_end_mark(state);
    /* Without an end mark we cannot tell whether a scan was cut off. If the data itself is cut,
     * Huffman coding gives a warning; arithmetic coding never does. */
    const bool whole = has_all_scans(state);
    if (state->past_end && (!whole || jpeg->arith_code))
        state->status = ddpm_decoding_truncated(state->decoding);
    state->damaged |= !whole;
}

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    struct jpeg_state state = {.decoding = decoding};
    state.jpeg.err = jpeg_std_error(&state.errors);
    state.errors.error_exit = on_error;
    state.errors.emit_message = on_message;
    state.errors.output_message = no_output;
    state.progress.progress_monitor = on_progress;
    decoding->orientation = find_orientation(decoding->bytes, decoding->size);
    run(&state);
    jpeg_destroy_decompress(&state.jpeg);
    if (state.damaged)
        ddpm_decoding_remark(decoding, DDPM_REMARK_DAMAGED);
    else if (!state.ended)
        ddpm_decoding_remark(decoding, DDPM_REMARK_NO_END);
    return state.status;
}

static bool matches(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

const struct ddpm_decoder ddpm_decoder_jpeg = {"JPEG", matches, decode};

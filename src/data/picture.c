/* Pictures: the table of decoders, EXIF orientation, conversion to the requested channels,
 * files. */
#include "data/picture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/memory.h"
#include "data/decode.h"

static const struct ddpm_decoder *const decoders[] = {
    &ddpm_decoder_jpeg, &ddpm_decoder_png, &ddpm_decoder_webp,
    &ddpm_decoder_tiff, &ddpm_decoder_bmp,
};

static const struct ddpm_decoder *find_decoder(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < sizeof decoders / sizeof *decoders; ++i)
        if (decoders[i]->matches(bytes, size))
            return decoders[i];
    return NULL;
}

const char *ddpm_picture_format(const uint8_t *bytes, size_t size)
{
    const struct ddpm_decoder *decoder = find_decoder(bytes, size);
    return decoder ? decoder->name : NULL;
}

void ddpm_picture_free(struct ddpm_picture *picture)
{
    free(picture->pixels);
    free(picture->spare);
    free(picture->file);
    memset(picture, 0, sizeof *picture);
}

static ddpm_status reserve(uint8_t **buffer, size_t *capacity, size_t need, const char *what)
{
    if (need <= *capacity)
        return DDPM_OK;
    free(*buffer); /* the old content is not needed, so free it first instead of copying */
    *buffer = malloc(need);
    *capacity = *buffer ? need : 0;
    return *buffer ? DDPM_OK : ddpm_raise_memory(need, what);
}

ddpm_status ddpm_picture_resize_buffer(struct ddpm_picture *picture, int height, int width,
                                       int channels)
{
    size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    DDPM_TRY(reserve(&picture->pixels, &picture->capacity, bytes, "a picture"));
    picture->height = height;
    picture->width = width;
    picture->channels = channels;
    return DDPM_OK;
}

static int mode_samples(enum ddpm_pixel_mode mode)
{
    return mode == DDPM_PIXEL_CMYK ? 4 : (int)mode;
}

static int mode_colours(enum ddpm_pixel_mode mode)
{
    const bool grey = mode == DDPM_PIXEL_GREY || mode == DDPM_PIXEL_GREY_ALPHA;
    return grey ? 1 : mode == DDPM_PIXEL_CMYK ? 4 : 3;
}

ddpm_status ddpm_decoding_judge(const struct ddpm_decoding *decoding, int64_t height, int64_t width)
{
    if (height <= 0 || width <= 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "picture of %lldx%lld pixels, want at least 1x1",
                          (long long)width, (long long)height);
    if (height > decoding->pixel_limit / width)
        return ddpm_raise(
            DDPM_ERROR_FORMAT,
            "picture of %lldx%lld pixels is too large, want at most %lld pixels; make it "
            "smaller first",
            (long long)width, (long long)height, (long long)decoding->pixel_limit);
    if (height > DDPM_PICTURE_SIDE_LIMIT || width > DDPM_PICTURE_SIDE_LIMIT)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "picture of %lldx%lld pixels is too large, want sides of at most %lld "
                          "pixels",
                          (long long)width, (long long)height, (long long)DDPM_PICTURE_SIDE_LIMIT);
    return DDPM_OK;
}

ddpm_status ddpm_decoding_start(struct ddpm_decoding *decoding, int64_t height, int64_t width,
                                enum ddpm_pixel_mode mode)
{
    DDPM_TRY(ddpm_decoding_judge(decoding, height, width));
    decoding->mode = mode;
    decoding->picture->stored = (struct ddpm_picture_stored){
        .bits = 8,
        .channels = mode_samples(mode),
        .extra = mode_samples(mode) > mode_colours(mode),
        .pages = 1,
        .most = 255,
    };
    return ddpm_picture_resize_buffer(decoding->picture, (int)height, (int)width,
                                      mode_samples(mode));
}

void ddpm_decoding_remark(struct ddpm_decoding *decoding, const char *text)
{
    if (!decoding->picture->remark)
        decoding->picture->remark = text;
}

size_t ddpm_decoding_budget(int64_t height, int64_t width)
{
    /* While a codec runs there is only the result, up to four bytes per pixel; the spare buffer is
     * needed later, for the conversion. */
    return (size_t)(height * width) * (DDPM_PICTURE_PIXEL_BYTES / 2) + ((size_t)64 << 20);
}

ddpm_status ddpm_decoding_truncated(const struct ddpm_decoding *decoding)
{
    return ddpm_raise(DDPM_ERROR_FORMAT,
                      "truncated: the picture needs more than the file's %zu bytes",
                      decoding->size);
}

/* The result becomes `pixels`, the old pixels become the spare. */
static void swap_buffers(struct ddpm_picture *picture)
{
    uint8_t *pixels = picture->pixels;
    size_t capacity = picture->capacity;
    picture->pixels = picture->spare;
    picture->capacity = picture->spare_capacity;
    picture->spare = pixels;
    picture->spare_capacity = capacity;
}

/* Undo an EXIF orientation: where the first pixel of the result comes from, and the steps to the
 * next column and row. */
static ddpm_status turn(struct ddpm_picture *picture, int orientation)
{
    if (orientation <= 1)
        return DDPM_OK;
    const int channels = picture->channels, height = picture->height, width = picture->width;
    const bool swaps = orientation >= 5;
    const bool from_bottom =
        orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const bool from_right =
        orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const ptrdiff_t row = (ptrdiff_t)width * channels;
    const ptrdiff_t down = from_bottom ? -row : row, right = from_right ? -channels : channels;
    const ptrdiff_t next_column = swaps ? down : right, next_row = swaps ? right : down;
    const int out_height = swaps ? width : height, out_width = swaps ? height : width;

    size_t bytes = (size_t)height * (size_t)row;
    DDPM_TRY(reserve(&picture->spare, &picture->spare_capacity, bytes, "a turned picture"));
    const uint8_t *start = picture->pixels + (from_bottom ? row * (height - 1) : 0) +
                           (from_right ? (ptrdiff_t)channels * (width - 1) : 0);
    uint8_t *to = picture->spare;
    for (int y = 0; y < out_height; ++y) {
        const uint8_t *from = start + y * next_row;
        for (int x = 0; x < out_width; ++x, from += next_column)
            for (int c = 0; c < channels; ++c)
                *to++ = from[c];
    }
    swap_buffers(picture);
    picture->height = out_height;
    picture->width = out_width;
    return DDPM_OK;
}

static uint8_t luma(const uint8_t *rgb)
{
    return (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
}

/* Red, green or blue from one ink and black, with Pillow's rounding. */
static uint8_t ink_to_light(uint8_t ink, uint8_t black)
{
    unsigned white = 255u - black;
    unsigned product = ink * white + 128u;
    return (uint8_t)(white - ((product + (product >> 8)) >> 8));
}

/* One pixel as red, green, blue, alpha. */
static void pixel_to_rgba(uint8_t rgba[4], const uint8_t *from, enum ddpm_pixel_mode mode)
{
    rgba[3] = 255;
    switch (mode) {
    case DDPM_PIXEL_GREY_ALPHA:
        rgba[3] = from[1];
        rgba[0] = rgba[1] = rgba[2] = from[0];
        break;
    case DDPM_PIXEL_GREY:
        rgba[0] = rgba[1] = rgba[2] = from[0];
        break;
    case DDPM_PIXEL_RGBA:
        rgba[3] = from[3];
        rgba[0] = from[0], rgba[1] = from[1], rgba[2] = from[2];
        break;
    case DDPM_PIXEL_RGB:
        rgba[0] = from[0], rgba[1] = from[1], rgba[2] = from[2];
        break;
    case DDPM_PIXEL_CMYK:
        for (int c = 0; c < 3; ++c)
            rgba[c] = ink_to_light(from[c], from[3]);
        break;
    }
}

static ddpm_status convert(struct ddpm_picture *picture, enum ddpm_pixel_mode mode, int channels)
{
    if ((int)mode == channels)
        return DDPM_OK;
    const size_t pixels = (size_t)picture->height * (size_t)picture->width;
    const int samples = mode_samples(mode);
    const bool grey = mode == DDPM_PIXEL_GREY || mode == DDPM_PIXEL_GREY_ALPHA;
    DDPM_TRY(reserve(&picture->spare, &picture->spare_capacity, pixels * (size_t)channels,
                     "a converted picture"));
    const uint8_t *from = picture->pixels;
    uint8_t *to = picture->spare;
    for (size_t i = 0; i < pixels; ++i, from += samples, to += channels) {
        uint8_t rgba[4] = {0};
        pixel_to_rgba(rgba, from, mode);
        if (channels == 1)
            to[0] = grey ? from[0] : luma(rgba);
        else
            memcpy(to, rgba, (size_t)channels);
    }
    swap_buffers(picture);
    picture->channels = channels;
    return DDPM_OK;
}

/* The range that 16-bit values use: instruments often leave most of it empty. */
static void measure_range(struct ddpm_picture *picture, enum ddpm_pixel_mode mode)
{
    const int samples = mode_samples(mode), colours = mode_colours(mode);
    const uint8_t *at = picture->pixels;
    uint8_t least = 255, most = 0;
    for (size_t left = (size_t)picture->height * (size_t)picture->width; left > 0; --left) {
        for (int c = 0; c < colours; ++c) {
            least = at[c] < least ? at[c] : least;
            most = at[c] > most ? at[c] : most;
        }
        at += samples;
    }
    picture->stored.least = least;
    picture->stored.most = most;
}

ddpm_status ddpm_picture_decode(struct ddpm_picture *picture, const uint8_t *bytes, size_t size,
                                int channels, int64_t pixel_limit)
{
    if (channels != 1 && channels != 3 && channels != 4)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got %d channels, want 1 (grey), 3 (RGB) or 4 (RGBA) for picture files; "
                          "other numbers need a packed .npy file",
                          channels);
    if (size == 0)
        return ddpm_raise(DDPM_ERROR_FORMAT, "the file is empty");
    const struct ddpm_decoder *decoder = find_decoder(bytes, size);
    if (!decoder)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "not a picture: the content is not JPEG, PNG, WebP, TIFF or BMP");
    struct ddpm_decoding decoding = {
        .bytes = bytes,
        .size = size,
        .pixel_limit = pixel_limit > 0 ? pixel_limit : DDPM_PICTURE_PIXEL_LIMIT,
        .picture = picture,
        .orientation = 1,
    };
    picture->remark = NULL;
    ddpm_status status = decoder->decode(&decoding);
    if (status != DDPM_OK)
        return ddpm_raise_context(status, "%s: ", decoder->name);
    if (picture->stored.bits > 8)
        measure_range(picture, decoding.mode);
    DDPM_TRY(convert(picture, decoding.mode, channels));
    return turn(picture, decoding.orientation);
}

static ddpm_status read_file(struct ddpm_picture *picture, const char *path, size_t *size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    if (file < 0)
        return ddpm_raise_errno("cannot open");
    ddpm_status status = DDPM_OK;
    struct stat about;
    size_t used = 0;
    if (fstat(file, &about) != 0) {
        status = ddpm_raise_errno("cannot read");
    } else if (!S_ISREG(about.st_mode)) {
        errno = 0;
        status = ddpm_raise(DDPM_ERROR_IO, "not a file");
    } else if (about.st_size > DDPM_PICTURE_BYTE_LIMIT) {
        status = ddpm_raise(DDPM_ERROR_FORMAT, "file of %lld bytes is too large, want at most %lld",
                            (long long)about.st_size, (long long)DDPM_PICTURE_BYTE_LIMIT);
    } else {
        size_t wanted = (size_t)about.st_size;
        status = reserve(&picture->file, &picture->file_capacity, wanted + 1, "a picture file");
        while (status == DDPM_OK && used < wanted) {
            ssize_t got = read(file, picture->file + used, wanted - used);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                status = ddpm_raise_errno("cannot read");
            if (got <= 0)
                break;
            used += (size_t)got;
        }
    }
    close(file);
    *size = used;
    return status;
}

ddpm_status ddpm_picture_load(struct ddpm_picture *picture, const char *path, int channels,
                              int64_t pixel_limit)
{
    size_t size = 0;
    ddpm_status status = read_file(picture, path, &size);
    if (status == DDPM_OK)
        status = ddpm_picture_decode(picture, picture->file, size, channels, pixel_limit);
    return status == DDPM_OK ? DDPM_OK : ddpm_raise_context(status, "%s: ", path);
}

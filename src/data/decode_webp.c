/* WebP through libwebp: lossy and lossless, with or without alpha; from an animation the first
 * picture, on a transparent canvas.
 *
 * The container: "RIFF" size "WEBP", then chunks of name, 32-bit size, content, even. An extended
 * file starts with VP8X: flags, 3 reserved bytes, width - 1 and height - 1 of the canvas, 24 bits
 * each. A picture of an animation is ANMF: x / 2, y / 2, width - 1, height - 1, duration, 24 bits
 * each, flags of 8 bits, then chunks: ALPH, VP8, VP8L. */
#include <string.h>

#ifdef HAVE_WEBP
#include <webp/decode.h>
#endif

#include "data/decode.h"

#ifdef HAVE_WEBP
static uint32_t little32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t little24(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16;
}

/* The first chunk with this name among the chunks in [bytes, bytes + size), or NULL. */
static const uint8_t *find_chunk(const uint8_t *bytes, size_t size, const char *name,
                                 size_t *length)
{
    for (size_t at = 0; size - at >= 8;) {
        const size_t content = little32(bytes + at + 4), left = size - at - 8;
        if (content > left)
            return NULL;
        if (memcmp(bytes + at, name, 4) == 0) {
            *length = content;
            return bytes + at + 8;
        }
        if (left - content < (content & 1))
            return NULL;
        at += 8 + content + (content & 1);
    }
    return NULL;
}

static int find_orientation(const uint8_t *bytes, size_t size)
{
    size_t length = 0;
    const uint8_t *exif = find_chunk(bytes + 12, size - 12, "EXIF", &length);
    int orientation = exif ? ddpm_exif_orientation(exif, length) : 0;
    if (orientation == 0) {
        const uint8_t *xmp = find_chunk(bytes + 12, size - 12, "XMP ", &length);
        orientation = xmp ? ddpm_xmp_orientation(xmp, length) : 0;
    }
    return orientation > 0 ? orientation : 1;
}

static ddpm_status raise_webp(const struct ddpm_decoding *decoding, VP8StatusCode code)
{
    switch (code) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
        return ddpm_decoding_truncated(decoding);
    case VP8_STATUS_OUT_OF_MEMORY:
        return ddpm_raise(DDPM_ERROR_MEMORY, "no memory to decode");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "a feature that the WebP library does not know");
    default:
        return ddpm_raise(DDPM_ERROR_FORMAT, "damaged (libwebp status %d)", (int)code);
    }
}

/* Decode the picture in [bytes, bytes + size) to `to`, a place on the canvas. */
static ddpm_status decode_into(const struct ddpm_decoding *decoding, const uint8_t *bytes,
                               size_t size, uint8_t *to, WebPDecoderConfig *config)
{
    const struct ddpm_picture *picture = decoding->picture;
    const int stride = picture->width * picture->channels;
    const size_t place = (size_t)(to - picture->pixels);
    config->output.colorspace = picture->channels == 4 ? MODE_RGBA : MODE_RGB;
    config->output.is_external_memory = 1;
    config->output.u.RGBA.rgba = to;
    config->output.u.RGBA.stride = stride;
    config->output.u.RGBA.size = (size_t)stride * (size_t)picture->height - place;
    VP8StatusCode code = WebPDecode(bytes, size, config);
    return code == VP8_STATUS_OK ? DDPM_OK : raise_webp(decoding, code);
}

/* The first picture of an animation. The canvas starts as transparent black, whatever background
 * the file names, as in libwebp and Pillow. */
static ddpm_status decode_animation(struct ddpm_decoding *decoding, WebPDecoderConfig *config)
{
    size_t length = 0;
    const uint8_t *bytes = decoding->bytes;
    const int height = config->input.height, width = config->input.width;
    const uint8_t *frame = find_chunk(bytes + 12, decoding->size - 12, "ANMF", &length);
    if (!frame)
        return ddpm_decoding_truncated(decoding);
    if (length < 16)
        return ddpm_raise(DDPM_ERROR_FORMAT, "damaged: a picture of %zu bytes in the animation",
                          length);
    const int64_t x = 2 * (int64_t)little24(frame), y = 2 * (int64_t)little24(frame + 3);
    const bool alpha = config->input.has_alpha;
    VP8StatusCode code = WebPGetFeatures(frame + 16, length - 16, &config->input);
    if (code != VP8_STATUS_OK)
        return raise_webp(decoding, code);
    if (config->input.has_animation || config->input.width != (int)little24(frame + 6) + 1 ||
        config->input.height != (int)little24(frame + 9) + 1 || x + config->input.width > width ||
        y + config->input.height > height)
        return ddpm_raise(DDPM_ERROR_FORMAT,
                          "damaged: the first picture of the animation does not fit its canvas");
    DDPM_TRY(
        ddpm_decoding_start(decoding, height, width, alpha ? DDPM_PIXEL_RGBA : DDPM_PIXEL_RGB));
    struct ddpm_picture *picture = decoding->picture;
    const size_t stride = (size_t)width * (size_t)picture->channels;
    memset(picture->pixels, 0, (size_t)height * stride);
    return decode_into(decoding, frame + 16, length - 16,
                       picture->pixels + (size_t)y * stride + (size_t)(x * picture->channels),
                       config);
}

/* libwebp rejects a container shorter than its stated size, even if only a chunk after the picture
 * is cut off. But it also accepts the picture's chunks on their own. */
static const uint8_t *find_picture(struct ddpm_decoding *decoding, size_t *size)
{
    static const char *const names[] = {"ALPH", "VP8 ", "VP8L"};
    const uint8_t *bytes = decoding->bytes, *found = NULL;
    *size = decoding->size;
    if (little32(bytes + 4) <= decoding->size - 8)
        return bytes;
    ddpm_decoding_remark(decoding, DDPM_REMARK_NO_END);
    for (int i = 0; i < 3 && !found; ++i) {
        size_t length = 0;
        found = find_chunk(bytes + 12, decoding->size - 12, names[i], &length);
    }
    if (!found)
        return bytes;
    *size = decoding->size - (size_t)(found - 8 - bytes);
    return found - 8;
}

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "libwebp and its header have different versions");
    VP8StatusCode code = WebPGetFeatures(decoding->bytes, decoding->size, &config.input);
    if (code != VP8_STATUS_OK)
        return raise_webp(decoding, code);
    DDPM_TRY(ddpm_decoding_judge(decoding, config.input.height, config.input.width));
    decoding->orientation = find_orientation(decoding->bytes, decoding->size);
    size_t size = 0;
    const uint8_t *picture = find_picture(decoding, &size);
    if (config.input.has_animation)
        return decode_animation(decoding, &config);
    DDPM_TRY(ddpm_decoding_start(decoding, config.input.height, config.input.width,
                                 config.input.has_alpha ? DDPM_PIXEL_RGBA : DDPM_PIXEL_RGB));
    return decode_into(decoding, picture, size, decoding->picture->pixels, &config);
}
#else
static ddpm_status decode(struct ddpm_decoding *decoding)
{
    (void)decoding;
    return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                      "this build has no libwebp; build with it or convert");
}
#endif

static bool matches(const uint8_t *bytes, size_t size)
{
    return size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0;
}

const struct ddpm_decoder ddpm_decoder_webp = {"WebP", matches, decode};

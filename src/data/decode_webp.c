/* WebP through libwebp: lossy and lossless, with or without alpha. Animations are refused.
 * The EXIF block is found in the RIFF container: "RIFF" size "WEBP", then chunks of name, 32-bit
 * size, content, even. */
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

static int find_orientation(const uint8_t *bytes, size_t size)
{
    size_t at = 12;
    while (at + 8 <= size) {
        size_t content = little32(bytes + at + 4);
        if (content > size - at - 8)
            return 1;
        if (memcmp(bytes + at, "EXIF", 4) == 0)
            return ddpm_exif_orientation(bytes + at + 8, content);
        at += 8 + content + (content & 1);
    }
    return 1;
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

static ddpm_status decode(struct ddpm_decoding *decoding)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "libwebp has another version than its header");
    VP8StatusCode code = WebPGetFeatures(decoding->bytes, decoding->size, &config.input);
    if (code != VP8_STATUS_OK)
        return raise_webp(decoding, code);
    if (config.input.has_animation)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "an animation, want one picture");
    bool alpha = config.input.has_alpha;
    DDPM_TRY(ddpm_decoding_start(decoding, config.input.height, config.input.width,
                                 alpha ? DDPM_PIXEL_RGBA : DDPM_PIXEL_RGB));
    struct ddpm_picture *picture = decoding->picture;
    int stride = picture->width * picture->channels;
    config.output.colorspace = alpha ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = picture->pixels;
    config.output.u.RGBA.stride = stride;
    config.output.u.RGBA.size = (size_t)stride * (size_t)picture->height;
    code = WebPDecode(decoding->bytes, decoding->size, &config);
    if (code != VP8_STATUS_OK)
        return raise_webp(decoding, code);
    decoding->orientation = find_orientation(decoding->bytes, decoding->size);
    return DDPM_OK;
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

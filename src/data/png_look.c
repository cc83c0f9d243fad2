/* Walk over the chunks of a PNG file: checksums, the end, and the orientation.
 *
 * Chunk: u32 length of the data, four letters, data, u32 CRC of letters and data; big-endian. The
 * orientation is in eXIf, or in a text "Raw profile type exif" (ImageMagick: hexadecimal digits
 * after three lines), or in a text "XML:com.adobe.xmp". Texts are tEXt (keyword, 0, text), zTXt
 * (keyword, 0, 0, zlib) and iTXt (keyword, 0, compressed?, 0, language, 0, keyword, 0, text). */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "data/decode.h"

/* Pillow's limit for one text, and how many texts we read: a text can unpack to 1000 times its
 * size. */
enum { TEXT_LIMIT = 1 << 20, MOST_TEXTS = 8 };

struct walk {
    const uint8_t *bytes;
    size_t size;
    int exif, profile, xmp; /* orientations; -1 = none of that kind */
    int texts;              /* read so far */
};

struct chunk {
    const uint8_t *kind, *data;
    size_t bytes;
};

static uint32_t big32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static bool is_kind(const struct chunk *chunk, const char *kind)
{
    return memcmp(chunk->kind, kind, 4) == 0;
}

/* The byte after the next 0 in [at, end); NULL if there is none. */
static const uint8_t *behind_zero(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *zero = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
    return zero ? zero + 1 : NULL;
}

/* Copy the text after the keyword, uncompressed, to `out` of TEXT_LIMIT bytes. Longer texts are
 * cut: the part we need is near the start. */
static size_t read_text(const struct chunk *chunk, uint8_t *out)
{
    const uint8_t *end = chunk->data + chunk->bytes, *at = behind_zero(chunk->data, end);
    bool packed = is_kind(chunk, "zTXt");
    if (at && packed) {
        at = at < end && *at == 0 ? at + 1 : NULL;
    } else if (at && is_kind(chunk, "iTXt")) {
        packed = end - at >= 2 && at[0] != 0;
        at = end - at >= 2 && at[1] == 0 ? behind_zero(at + 2, end) : NULL;
        at = at ? behind_zero(at, end) : NULL;
    }
    if (!at)
        return 0;
    size_t bytes = (size_t)(end - at);
    if (!packed) {
        bytes = bytes < TEXT_LIMIT ? bytes : TEXT_LIMIT;
        memcpy(out, at, bytes);
        return bytes;
    }
    z_stream stream = {.avail_in = (uInt)bytes, .next_out = out, .avail_out = TEXT_LIMIT};
    stream.next_in = (Bytef *)(uintptr_t)at; /* zlib's own declaration lacks const */
    if (inflateInit(&stream) != Z_OK)
        return 0;
    (void)inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return TEXT_LIMIT - stream.avail_out;
}

/* Convert the hexadecimal digits after the third line end to bytes, in place. */
static size_t read_profile(uint8_t *text, size_t bytes)
{
    size_t at = 0, digits = 0;
    for (int lines = 0; at < bytes && lines < 3; ++at)
        lines += text[at] == '\n';
    for (; at < bytes; ++at) {
        const int letter = text[at] | 0x20; /* to lower case; digits have that bit already */
        int digit = letter >= '0' && letter <= '9'   ? letter - '0'
                    : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10
                                                     : -1;
        if (digit < 0)
            continue;
        text[digits / 2] = (uint8_t)(digits % 2 ? text[digits / 2] << 4 | digit : digit);
        ++digits;
    }
    return digits / 2;
}

static ddpm_status look_at_text(struct walk *walk, const struct chunk *chunk)
{
    static const char profile[] = "Raw profile type exif", xmp[] = "XML:com.adobe.xmp";
    const bool is_profile =
        chunk->bytes > sizeof profile && memcmp(chunk->data, profile, sizeof profile) == 0;
    const bool is_xmp = chunk->bytes > sizeof xmp && memcmp(chunk->data, xmp, sizeof xmp) == 0;
    if ((!is_profile && !is_xmp) || walk->texts++ >= MOST_TEXTS)
        return DDPM_OK;
    uint8_t *text = malloc(TEXT_LIMIT);
    if (!text)
        return ddpm_raise_memory(TEXT_LIMIT, "a text of a PNG");
    size_t bytes = read_text(chunk, text);
    if (is_profile)
        walk->profile = ddpm_exif_orientation(text, read_profile(text, bytes));
    else
        walk->xmp = ddpm_xmp_orientation(text, bytes);
    free(text);
    return DDPM_OK;
}

static ddpm_status look_at_chunk(struct walk *walk, struct ddpm_decoding *decoding,
                                 const struct chunk *chunk)
{
    uLong sum = crc32(0, chunk->kind, 4);
    if (chunk->bytes > 0)
        sum = crc32(sum, chunk->data, (uInt)chunk->bytes);
    if (sum != big32(chunk->data + chunk->bytes)) {
        if (is_kind(chunk, "IHDR") || is_kind(chunk, "PLTE"))
            return ddpm_raise(DDPM_ERROR_FORMAT, "damaged: the checksum of chunk %.4s is wrong",
                              (const char *)chunk->kind);
        ddpm_decoding_remark(decoding, DDPM_REMARK_DAMAGED);
        return DDPM_OK;
    }
    if (is_kind(chunk, "eXIf"))
        walk->exif = ddpm_exif_orientation(chunk->data, chunk->bytes);
    else if (is_kind(chunk, "tEXt") || is_kind(chunk, "zTXt") || is_kind(chunk, "iTXt"))
        return look_at_text(walk, chunk);
    return DDPM_OK;
}

ddpm_status ddpm_png_look(struct ddpm_decoding *decoding, struct ddpm_png_look *look)
{
    struct walk walk = {decoding->bytes, decoding->size, -1, -1, -1, 0};
    bool ended = false;
    *look = (struct ddpm_png_look){.orientation = 1};
    for (size_t at = 8; !ended && walk.size - at >= 8;) {
        const size_t left = walk.size - at - 8;
        const struct chunk chunk = {walk.bytes + at + 4, walk.bytes + at + 8,
                                    big32(walk.bytes + at)};
        if (left < 4 || chunk.bytes > left - 4) {
            if (is_kind(&chunk, "IDAT")) {
                look->cut = at;
                look->cut_bytes = (uint32_t)(chunk.bytes < left ? chunk.bytes : left);
            }
            break;
        }
        DDPM_TRY(look_at_chunk(&walk, decoding, &chunk));
        ended = is_kind(&chunk, "IEND");
        at += chunk.bytes + 12;
    }
    if (!ended)
        ddpm_decoding_remark(decoding, DDPM_REMARK_NO_END);
    const int exif = walk.exif >= 0 ? walk.exif : walk.profile;
    if (exif > 0)
        look->orientation = exif;
    else if (walk.xmp > 0)
        look->orientation = walk.xmp;
    return DDPM_OK;
}

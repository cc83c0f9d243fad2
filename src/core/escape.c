/* Escape control characters and bytes that are not UTF-8. */
#include "core/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* How many bytes the UTF-8 character at `s` has; 0 if there is no valid one. Only the shortest form
 * counts, no surrogates, nothing above U+10FFFF. Never reads past the terminating 0, which is not a
 * continuation byte. */
static size_t utf8_bytes(const unsigned char *s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t bytes = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (bytes < 2)
        return bytes;
    uint32_t code = s[0] & (0xFFu >> (bytes + 1));
    for (size_t i = 1; i < bytes; ++i) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    const bool surrogate = code >= 0xD800 && code < 0xE000;
    return s[0] < 0xF8 && code >= least[bytes] && code <= 0x10FFFF && !surrogate ? bytes : 0;
}

static bool is_control(const unsigned char *s)
{
    return s[0] < 0x20 || s[0] == 0x7F || (s[0] == 0xC2 && s[1] < 0xA0); /* C1: U+0080 to U+009F */
}

size_t ddpm_escape_one(char out[DDPM_ESCAPE_BYTES], const char **text)
{
    const unsigned char *s = (const unsigned char *)*text;
    if (!*s)
        return 0;
    const size_t bytes = utf8_bytes(s);
    if (bytes > 0 && !is_control(s)) {
        memcpy(out, s, bytes);
        out[bytes] = 0;
        *text += bytes;
        return bytes;
    }
    ++*text; /* a C1 character takes two calls: its second byte alone is not UTF-8 */
    const char letter = (char)(*s == '\n' ? 'n' : *s == '\r' ? 'r' : *s == '\t' ? 't' : 0);
    return (size_t)(letter ? snprintf(out, DDPM_ESCAPE_BYTES, "\\%c", letter)
                           : snprintf(out, DDPM_ESCAPE_BYTES, "\\x%02X", *s));
}

char *ddpm_escape(char *out, size_t bytes, const char *text)
{
    char piece[DDPM_ESCAPE_BYTES];
    size_t used = 0;
    for (size_t got; (got = ddpm_escape_one(piece, &text)) > 0 && used + got < bytes; used += got)
        memcpy(out + used, piece, got);
    out[used] = 0;
    return out;
}

/* PNG files (ISO/IEC 15948) of 8-bit pictures, with texts. */
#ifndef DDPM_FORMATS_PNG_WRITE_H
#define DDPM_FORMATS_PNG_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Channels of a PNG: grey, grey and alpha, RGB, RGBA. */
enum { DDPM_PNG_MOST_CHANNELS = 4 };

/* A key and its value, both UTF-8. Keys have 1 .. 79 printable ASCII characters, with no space at
 * either end. */
struct ddpm_png_text {
    const char *key;
    const char *value;
};

/* Write a picture [height, width, channels] atomically; channels 1 (grey), 2 (grey, alpha), 3 (RGB)
 * or 4 (RGBA), sides 1 .. 1,000,000. An ASCII text becomes a tEXt chunk, any other an iTXt chunk.
 * The same arguments give the same bytes. DDPM_ERROR_ARGUMENT for other sizes, channels or keys. */
ddpm_status ddpm_png_write(const char *path, const uint8_t *pixels, int height, int width,
                           int channels, const struct ddpm_png_text *texts, size_t text_count);

/* Read the texts of a PNG file in file order, converted to UTF-8. DDPM_ERROR_FORMAT if it is not a
 * complete PNG; texts beyond 8 MB are an error. *out is NULL on failure. Free with
 * ddpm_png_text_free(). */
ddpm_status ddpm_png_read_text(struct ddpm_png_text **out, size_t *count, const char *path);
void ddpm_png_text_free(struct ddpm_png_text *texts, size_t count);

#endif

/* Animated PNG files (APNG 1.0), written frame by frame in constant memory.
 *
 *     IHDR acTL texts | fcTL IDAT… | fcTL fdAT… | … | IEND
 *
 * The number of frames is written into acTL at the end. Viewers without APNG show the first frame.
 */
#ifndef DDPM_FORMATS_APNG_WRITE_H
#define DDPM_FORMATS_APNG_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "formats/png_write.h"

struct ddpm_apng;

/* Start a file of frames [height, width, channels], with channels and texts as in ddpm_png_write().
 * `loops` is how many times the animation plays, 0: forever. *out is NULL on failure. */
ddpm_status ddpm_apng_create(struct ddpm_apng **out, const char *path, int height, int width,
                             int channels, int loops, const struct ddpm_png_text *texts,
                             size_t text_count);

/* Append a frame shown for `delay` milliseconds, 0 .. 65535. */
ddpm_status ddpm_apng_append(struct ddpm_apng *apng, const uint8_t *pixels, int delay);

/* Commit the file, atomically. DDPM_ERROR_ARGUMENT if it has no frame. Either way *apng is freed
 * and set to NULL. */
ddpm_status ddpm_apng_finish(struct ddpm_apng **apng);

/* Delete what was written and free. *apng may be NULL and is set to NULL. */
void ddpm_apng_abandon(struct ddpm_apng **apng);

#endif

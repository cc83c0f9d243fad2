/* Shared by the PNG and the APNG writer. */
#ifndef DDPM_FORMATS_PNG_COMMON_H
#define DDPM_FORMATS_PNG_COMMON_H

#include <stdbool.h>

#include "formats/png_write.h"

/* The most that libpng reads and writes unless it is told otherwise. */
#define DDPM_PNG_LARGEST_SIDE 1000000

/* DDPM_ERROR_ARGUMENT unless size, channels and keys are as ddpm_png_write() wants them. */
ddpm_status ddpm_png_check(int height, int width, int channels, const struct ddpm_png_text *texts,
                           size_t text_count);

/* PNG's colour type for 1 .. 4 channels. */
int ddpm_png_color_type(int channels);

/* Is the text ASCII that a tEXt chunk may hold? */
bool ddpm_png_text_is_plain(const char *text);

#endif

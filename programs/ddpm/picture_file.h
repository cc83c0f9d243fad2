/* One picture file, as training would see it. */
#ifndef DDPM_PROGRAM_PICTURE_FILE_H
#define DDPM_PROGRAM_PICTURE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* A picture file and the size that it was found to have. */
struct ddpm_picture_file {
    const char *path;
    int height, width;
};

/* Decode file->path to `channels` (1, 3 or 4), upright, resized to cover height x width and cropped
 * to its middle: out [height, width, channels]. Fills in the size that it had; with `exact`, any
 * but height x width is DDPM_ERROR_MISMATCH. Remarks upon a file that is damaged yet decodes. */
ddpm_status ddpm_picture_file_read(struct ddpm_picture_file *file, int channels, int height,
                                   int width, bool exact, uint8_t *out);

#endif

/* One picture file, processed as in training. */
#ifndef DDPM_PROGRAM_PICTURE_FILE_H
#define DDPM_PROGRAM_PICTURE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* A picture file, and the size it turned out to have. */
struct ddpm_picture_file {
    const char *path;
    int height, width;
};

/* Decode file->path to `channels` (1, 3 or 4), upright, resized to cover height x width and
 * cropped to its centre: out [height, width, channels]. Sets file->height and file->width. With
 * `exact`, any size but height x width is DDPM_ERROR_MISMATCH. Logs a remark if the file is
 * damaged but can be decoded. */
ddpm_status ddpm_picture_file_read(struct ddpm_picture_file *file, int channels, int height,
                                   int width, bool exact, uint8_t *out);

#endif

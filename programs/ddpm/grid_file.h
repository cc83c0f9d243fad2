/* Grids of drawn pictures as PNG files. */
#ifndef DDPM_PROGRAM_GRID_FILE_H
#define DDPM_PROGRAM_GRID_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "metadata.h"

/* `count` pictures of that size in a grid, enlarged `scale` times. */
struct ddpm_grid_shape {
    int count, height, width, channels, scale;
};

/* Columns of a grid of `count` pictures, as near to a square as possible. */
int ddpm_grid_columns(int64_t count);

/* DDPM_ERROR_ARGUMENT if the grid would be too large. */
ddpm_status ddpm_grid_check(const struct ddpm_grid_shape *shape);

/* Write pictures [count, height, width, channels] as a grid. */
ddpm_status ddpm_grid_write(const char *path, const struct ddpm_grid_shape *shape,
                            const uint8_t *pictures, const struct ddpm_metadata *metadata);

/* Does the name end in .png? */
bool ddpm_is_png_name(const char *path);

#endif

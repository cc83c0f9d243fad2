/* Pictures laid out in a grid, like torchvision's make_grid, with a border of 2 black pixels around
 * each picture (even around a single one). */
#ifndef DDPM_FORMATS_GRID_H
#define DDPM_FORMATS_GRID_H

#include <stdint.h>

#include "core/error.h"

#define DDPM_GRID_BORDER 2

/* Height and width of the grid of `count` pictures of height × width in rows of `columns` (fewer
 * when count is smaller). All at least 1; DDPM_ERROR_ARGUMENT otherwise, or if a side of the grid
 * would exceed 1,000,000. */
ddpm_status ddpm_grid_size(int count, int height, int width, int columns, int *grid_height,
                           int *grid_width);

/* Lay pictures [count, height, width, channels] into `grid` [grid_height, grid_width, channels] of
 * that size. */
ddpm_status ddpm_grid_fill(uint8_t *grid, const uint8_t *pictures, int count, int height, int width,
                           int channels, int columns);

/* The sides of a picture enlarged `scale` times, at least 1; DDPM_ERROR_ARGUMENT if one would
 * exceed 1,000,000. */
ddpm_status ddpm_enlarged_size(int height, int width, int scale, int *out_height, int *out_width);

/* Enlarge a picture [height, width, channels] into `out` of that size: every pixel becomes a
 * square.
 */
void ddpm_enlarge(uint8_t *out, const uint8_t *picture, int height, int width, int channels,
                  int scale);

#endif

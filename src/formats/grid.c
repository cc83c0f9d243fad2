/* Pictures laid out in a grid. */
#include "formats/grid.h"

#include <stddef.h>
#include <string.h>

#include "formats/png_common.h"

static int least(int a, int b)
{
    return a < b ? a : b;
}

ddpm_status ddpm_grid_size(int count, int height, int width, int columns, int *grid_height,
                           int *grid_width)
{
    if (count < 1 || height < 1 || width < 1 || columns < 1)
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "got a grid of %d pictures of %d x %d in %d columns, want at least 1 each", count,
            height, width, columns);
    int across = least(count, columns);
    int down = (count - 1) / across + 1;
    int64_t high = (int64_t)down * ((int64_t)height + DDPM_GRID_BORDER) + DDPM_GRID_BORDER;
    int64_t wide = (int64_t)across * ((int64_t)width + DDPM_GRID_BORDER) + DDPM_GRID_BORDER;
    if (high > DDPM_PNG_LARGEST_SIDE || wide > DDPM_PNG_LARGEST_SIDE)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got a grid of %lld x %lld pixels, want sides of at most %d: draw fewer "
                          "pictures or choose other columns",
                          (long long)high, (long long)wide, DDPM_PNG_LARGEST_SIDE);
    *grid_height = (int)high;
    *grid_width = (int)wide;
    return DDPM_OK;
}

ddpm_status ddpm_grid_fill(uint8_t *grid, const uint8_t *pictures, int count, int height, int width,
                           int channels, int columns)
{
    int grid_height, grid_width;
    DDPM_TRY(ddpm_grid_size(count, height, width, columns, &grid_height, &grid_width));
    size_t row = (size_t)width * (size_t)channels;
    size_t grid_row = (size_t)grid_width * (size_t)channels;
    int across = least(count, columns);
    memset(grid, 0, (size_t)grid_height * grid_row);
    for (int i = 0; i < count; ++i) {
        size_t top = (size_t)(i / across) * (size_t)(height + DDPM_GRID_BORDER) + DDPM_GRID_BORDER;
        size_t left = (size_t)(i % across) * (size_t)(width + DDPM_GRID_BORDER) + DDPM_GRID_BORDER;
        for (int y = 0; y < height; ++y)
            memcpy(grid + (top + (size_t)y) * grid_row + left * (size_t)channels,
                   pictures + ((size_t)i * (size_t)height + (size_t)y) * row, row);
    }
    return DDPM_OK;
}

ddpm_status ddpm_enlarged_size(int height, int width, int scale, int *out_height, int *out_width)
{
    if (scale < 1 || height > DDPM_PNG_LARGEST_SIDE / scale ||
        width > DDPM_PNG_LARGEST_SIDE / scale)
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "got a grid of %d x %d pixels enlarged %d times, want sides of at most %d", height,
            width, scale, DDPM_PNG_LARGEST_SIDE);
    *out_height = height * scale;
    *out_width = width * scale;
    return DDPM_OK;
}

void ddpm_enlarge(uint8_t *out, const uint8_t *picture, int height, int width, int channels,
                  int scale)
{
    const size_t pixel = (size_t)channels, times = (size_t)scale;
    const size_t row = (size_t)width * times * pixel;
    for (size_t y = 0; y < (size_t)height; ++y) {
        uint8_t *first = out + y * times * row;
        for (size_t x = 0; x < (size_t)width * times; ++x)
            memcpy(first + x * pixel, picture + (y * (size_t)width + x / times) * pixel, pixel);
        for (size_t copy = 1; copy < times; ++copy)
            memcpy(first + copy * row, first, row);
    }
}

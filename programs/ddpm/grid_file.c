/* Grids of drawn pictures. */
#include "grid_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/grid.h"

int ddpm_grid_columns(int64_t count)
{
    int columns = 1;
    while ((int64_t)columns * columns < count)
        ++columns;
    return columns;
}

/* Size of the grid, before and after enlarging. */
struct sides {
    int height, width, large_height, large_width;
};

static ddpm_status measure(const struct ddpm_grid_shape *shape, struct sides *sides)
{
    DDPM_TRY(ddpm_grid_size(shape->count, shape->height, shape->width,
                            ddpm_grid_columns(shape->count), &sides->height, &sides->width));
    return ddpm_enlarged_size(sides->height, sides->width, shape->scale, &sides->large_height,
                              &sides->large_width);
}

ddpm_status ddpm_grid_check(const struct ddpm_grid_shape *shape)
{
    struct sides sides;
    return measure(shape, &sides);
}

/* Enlarge *grid; the old grid is freed. */
static ddpm_status enlarge(uint8_t **grid, const struct sides *sides,
                           const struct ddpm_grid_shape *shape)
{
    uint8_t *large;
    if (shape->scale == 1)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&large,
                            (size_t)sides->large_height * (size_t)sides->large_width,
                            (size_t)shape->channels, "an enlarged grid"));
    ddpm_enlarge(large, *grid, sides->height, sides->width, shape->channels, shape->scale);
    free(*grid);
    *grid = large;
    return DDPM_OK;
}

ddpm_status ddpm_grid_write(const char *path, const struct ddpm_grid_shape *shape,
                            const uint8_t *pictures, const struct ddpm_metadata *metadata)
{
    struct sides sides;
    uint8_t *grid;
    DDPM_TRY(measure(shape, &sides));
    DDPM_TRY(ddpm_new_array((void **)&grid, (size_t)sides.height * (size_t)sides.width,
                            (size_t)shape->channels, "a grid"));
    ddpm_status status = ddpm_grid_fill(grid, pictures, shape->count, shape->height, shape->width,
                                        shape->channels, ddpm_grid_columns(shape->count));
    if (status == DDPM_OK)
        status = enlarge(&grid, &sides, shape);
    if (status == DDPM_OK)
        status = ddpm_png_write(path, grid, sides.large_height, sides.large_width, shape->channels,
                                metadata->texts, metadata->count);
    free(grid);
    return status;
}

bool ddpm_is_png_name(const char *path)
{
    return strlen(path) > 4 && ddpm_ends_with(path, ".png");
}

/* The chain of the first batch, streamed to disk. */
#include "trajectory.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "formats/file.h"
#include "formats/grid.h"
#include "grid_file.h"
#include "tensor/layout.h"

enum { FRAME_MILLISECONDS = 60, LAST_MILLISECONDS = 3000 };

ddpm_status ddpm_trajectory_begin(struct ddpm_trajectory *trajectory, const char *path, int scale,
                                  bool force, const struct ddpm_metadata *metadata)
{
    *trajectory = (struct ddpm_trajectory){.path = path, .scale = scale, .metadata = metadata};
    trajectory->folder = !ddpm_is_png_name(path);
    return trajectory->folder ? ddpm_make_output_folder(path, force) : DDPM_OK;
}

static ddpm_status prepare(struct ddpm_trajectory *trajectory,
                           const struct ddpm_sample_progress *progress)
{
    const int height = (int)progress->height, width = (int)progress->width;
    const size_t channels = (size_t)progress->channels;
    trajectory->count = progress->count;
    trajectory->columns = ddpm_grid_columns(progress->count);
    DDPM_TRY(ddpm_grid_size((int)progress->count, height, width, trajectory->columns,
                            &trajectory->grid_height, &trajectory->grid_width));
    DDPM_TRY(ddpm_enlarged_size(trajectory->grid_height, trajectory->grid_width, trajectory->scale,
                                &trajectory->height, &trajectory->width));
    size_t area = (size_t)progress->count * (size_t)height * (size_t)width;
    size_t grid_area = (size_t)trajectory->grid_height * (size_t)trajectory->grid_width;
    DDPM_TRY(ddpm_new_array((void **)&trajectory->pictures, area, channels, "a frame"));
    DDPM_TRY(ddpm_new_array((void **)&trajectory->grid, grid_area, channels, "a frame"));
    trajectory->frame = trajectory->grid;
    if (trajectory->scale > 1)
        DDPM_TRY(ddpm_new_array((void **)&trajectory->frame,
                                (size_t)trajectory->height * (size_t)trajectory->width, channels,
                                "an enlarged frame"));
    if (trajectory->folder)
        return DDPM_OK;
    return ddpm_apng_create(&trajectory->apng, trajectory->path, trajectory->height,
                            trajectory->width, (int)channels, 0, trajectory->metadata->texts,
                            trajectory->metadata->count);
}

static ddpm_status write_frame(struct ddpm_trajectory *trajectory,
                               const struct ddpm_sample_progress *progress)
{
    if (!trajectory->folder)
        return ddpm_apng_append(trajectory->apng, trajectory->frame,
                                progress->timestep == 0 ? LAST_MILLISECONDS : FRAME_MILLISECONDS);
    char *path;
    DDPM_TRY(ddpm_format(&path, "%s/%06lld-t%06lld.png", trajectory->path,
                         (long long)trajectory->frames, (long long)progress->timestep));
    ddpm_status status = ddpm_png_write(path, trajectory->frame, trajectory->height,
                                        trajectory->width, (int)progress->channels,
                                        trajectory->metadata->texts, trajectory->metadata->count);
    free(path);
    return status;
}

ddpm_status ddpm_trajectory_add(struct ddpm_trajectory *trajectory,
                                const struct ddpm_sample_progress *progress)
{
    if (!progress->x || progress->first != 0)
        return DDPM_OK;
    if (!trajectory->grid)
        DDPM_TRY(prepare(trajectory, progress));
    ddpm_bytes_of_planes(trajectory->pictures, progress->x, progress->count, progress->channels,
                         progress->height * progress->width);
    DDPM_TRY(ddpm_grid_fill(trajectory->grid, trajectory->pictures, (int)progress->count,
                            (int)progress->height, (int)progress->width, (int)progress->channels,
                            trajectory->columns));
    if (trajectory->scale > 1)
        ddpm_enlarge(trajectory->frame, trajectory->grid, trajectory->grid_height,
                     trajectory->grid_width, (int)progress->channels, trajectory->scale);
    DDPM_TRY(write_frame(trajectory, progress));
    ++trajectory->frames;
    return DDPM_OK;
}

ddpm_status ddpm_trajectory_finish(struct ddpm_trajectory *trajectory)
{
    return trajectory->apng ? ddpm_apng_finish(&trajectory->apng) : DDPM_OK;
}

void ddpm_trajectory_clear(struct ddpm_trajectory *trajectory)
{
    ddpm_apng_abandon(&trajectory->apng);
    free(trajectory->pictures);
    if (trajectory->frame != trajectory->grid)
        free(trajectory->frame);
    free(trajectory->grid);
    *trajectory = (struct ddpm_trajectory){0};
}

/* The first batch's chain, streamed to disk in constant memory: an animated PNG, or a folder of
 * PNGs. Every frame is a grid. */
#ifndef DDPM_PROGRAM_TRAJECTORY_H
#define DDPM_PROGRAM_TRAJECTORY_H

#include <ddpm/sampler.h>

#include "formats/apng_write.h"
#include "metadata.h"

struct ddpm_trajectory {
    const char *path;
    bool folder;
    const struct ddpm_metadata *metadata; /* borrowed */
    struct ddpm_apng *apng;               /* created with the first frame */
    uint8_t *pictures, *grid, *frame;     /* frame: the grid enlarged, or the grid itself */
    int64_t count;                        /* pictures in a frame */
    int columns, grid_height, grid_width;
    int scale, height, width; /* of a frame */
    int64_t frames;
};

/* A `path` that ends in .png is a file, any other a folder, which must be new or empty unless
 * `force`. Frames are enlarged `scale` times. */
ddpm_status ddpm_trajectory_begin(struct ddpm_trajectory *trajectory, const char *path, int scale,
                                  bool force, const struct ddpm_metadata *metadata);

/* Add what the sampler's callback got. */
ddpm_status ddpm_trajectory_add(struct ddpm_trajectory *trajectory,
                                const struct ddpm_sample_progress *progress);

/* Commit the file; the last frame is shown longer. */
ddpm_status ddpm_trajectory_finish(struct ddpm_trajectory *trajectory);

/* Free everything; an unfinished file is removed. */
void ddpm_trajectory_clear(struct ddpm_trajectory *trajectory);

#endif

/* The chain of the first batch, streamed to disk in constant memory: an animated PNG, or a folder
 * of PNGs, each frame a grid. */
#ifndef DDPM_PROGRAM_TRAJECTORY_H
#define DDPM_PROGRAM_TRAJECTORY_H

#include <ddpm/sampler.h>

#include "formats/apng_write.h"
#include "metadata.h"

struct ddpm_trajectory {
    const char *path;
    bool folder;
    const struct ddpm_metadata *metadata; /* borrowed */
    struct ddpm_apng *apng;               /* begun by the first frame */
    uint8_t *pictures, *grid;
    int64_t count; /* pictures of a frame */
    int columns, grid_height, grid_width;
    int64_t frames;
};

/* `path` ending in .png names a file, any other a folder, which must be new or empty unless
 * `force`. */
ddpm_status ddpm_trajectory_begin(struct ddpm_trajectory *trajectory, const char *path, bool force,
                                  const struct ddpm_metadata *metadata);

/* Add what a sampler's callback was given. */
ddpm_status ddpm_trajectory_add(struct ddpm_trajectory *trajectory,
                                const struct ddpm_sample_progress *progress);

/* Commit the file; the last frame is shown longer. */
ddpm_status ddpm_trajectory_finish(struct ddpm_trajectory *trajectory);

/* Free all; a file that was not finished is removed. */
void ddpm_trajectory_clear(struct ddpm_trajectory *trajectory);

#endif

/* The output of ddpm sample: pictures and their grid in a folder, or pictures as the frames of one
 * animated PNG, or all values in one array. The array can also be written in addition to the
 * others. */
#ifndef DDPM_PROGRAM_SAMPLE_OUTPUT_H
#define DDPM_PROGRAM_SAMPLE_OUTPUT_H

#include "formats/apng_write.h"
#include "formats/npy.h"
#include "grid_file.h"
#include "health.h"
#include "metadata.h"
#include "options.h"

struct ddpm_sample_output {
    const char *folder;                /* NULL: no pictures */
    bool is_new;                       /* the folder was made here */
    const char *array;                 /* file; NULL: none */
    const char *animation;             /* file, instead of the folder; NULL: none */
    const char *trajectory;            /* written elsewhere (trajectory.h); NULL: none */
    struct ddpm_metadata *metadata;    /* borrowed */
    int64_t first, count;              /* number of the first picture, and how many pictures */
    int64_t height, width, channels;   /* of a picture */
    int64_t chunk;                     /* how many pictures are added at once, at most */
    int scale;                         /* of the grid */
    uint8_t *pictures;                 /* [chunk, H, W, C], filled before they are added */
    float *values;                     /* [chunk, C, H, W], filled instead if there is one */
    uint8_t *cells;                    /* [grid, H, W, C], the first pictures */
    int64_t grid;                      /* how many of them */
    int64_t done;                      /* pictures added so far */
    int64_t kinds[DDPM_PICTURE_KINDS]; /* how many of each */
    struct ddpm_npy_writer *writer;
    struct ddpm_apng *frames;
};

/* Where to write, as --out and --array say: the frames of --interpolate go into one file if --out
 * names one. */
ddpm_status ddpm_sample_output_read_options(struct ddpm_sample_output *output,
                                            const struct ddpm_arguments *arguments);

/* Can a folder hold the pictures and their grid? Reads `folder`, `count` to `channels`, and
 * `scale`. DDPM_ERROR_UNSUPPORTED for more channels than PNG has, DDPM_ERROR_ARGUMENT for too
 * large a grid. */
ddpm_status ddpm_sample_output_check(struct ddpm_sample_output *output);

/* The fields up to `scale` are set. Check and allocate everything, then make the folder, which
 * must be new or empty unless `force`, and start the array and the animation. */
ddpm_status ddpm_sample_output_begin(struct ddpm_sample_output *output, bool force);

/* Allocate only what ddpm_sample_output_begin() allocates for drawing, because another process
 * writes. */
ddpm_status ddpm_sample_output_stand_in(struct ddpm_sample_output *output);

/* How many of `count` pictures the grid shows. */
uint64_t ddpm_grid_cells(int64_t count);

/* Bytes, or values, of one picture. */
size_t ddpm_sample_output_values(const struct ddpm_sample_output *output);

/* Write the `count` pictures in `pictures`, or in `values`; then DDPM_ERROR_NOT_FINITE if one has
 * diverged. */
ddpm_status ddpm_sample_output_add(struct ddpm_sample_output *output, int64_t count);

/* Write the grid, and commit the array and the animation. */
ddpm_status ddpm_sample_output_finish(struct ddpm_sample_output *output);

/* Free everything; unfinished files are removed, and a new folder without pictures. */
void ddpm_sample_output_clear(struct ddpm_sample_output *output);

#endif

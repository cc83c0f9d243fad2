/* What ddpm sample starts from instead of noise: pictures, and a mask. */
#ifndef DDPM_PROGRAM_FROM_PICTURES_H
#define DDPM_PROGRAM_FROM_PICTURES_H

#include <ddpm/sampler.h>

#include "data/folder.h"
#include "options.h"

/* Picture k of a drawing starts from file k of --from; after the last file it goes back to the
 * first. */
struct ddpm_from {
    const char *path, *mask_path; /* NULL: not given */
    bool invert;
    double strength;
    int64_t resample, jump;    /* 0: not given */
    struct ddpm_folder folder; /* empty if `path` is a file */
    int64_t files;
    int height, width, channels;
    int64_t held;      /* number of pictures below */
    uint8_t *pictures; /* [held, H, W, C] */
    float *values;     /* [chunk, C, H, W] */
    float *mask;       /* [H, W] or NULL */
};

/* If ddpm sample wrote the folder, remove its grid from the list: it is not one of the pictures. */
ddpm_status ddpm_leave_out_grid(struct ddpm_folder *folder);

/* Read the options of `arguments` and find the files. Errors that concern only these options
 * appear here. Free with ddpm_from_clear(), even after a failure. */
ddpm_status ddpm_from_read_options(struct ddpm_from *from, const struct ddpm_arguments *arguments);

/* How many pictures to draw without --count; 0: the usual number. */
int64_t ddpm_from_usual_count(const struct ddpm_from *from);

/* Bytes needed for `count` pictures of that many values, `chunk` of them drawn at a time. */
uint64_t ddpm_from_bytes(const struct ddpm_from *from, int64_t count, int64_t chunk,
                         uint64_t values);

/* Plan the sampler for them. */
void ddpm_from_plan(const struct ddpm_from *from, const struct ddpm_arguments *arguments,
                    struct ddpm_sampler_options *options);

/* Read the mask and the pictures that `count` drawings start from, beginning with drawing number
 * `first`. `shape` is that of the pictures; at most `chunk` are drawn at once. */
struct ddpm_picture_shape {
    int height, width, channels;
};
ddpm_status ddpm_from_read(struct ddpm_from *from, const struct ddpm_picture_shape *shape,
                           int64_t first, int64_t count);
ddpm_status ddpm_from_begin(struct ddpm_from *from, int64_t chunk);

/* Give a draw its pictures; `done` pictures have been drawn before it. */
void ddpm_from_give(struct ddpm_from *from, int64_t done, struct ddpm_draw *draw);

void ddpm_from_clear(struct ddpm_from *from);

#endif

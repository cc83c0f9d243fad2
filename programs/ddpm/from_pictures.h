/* What ddpm sample begins from beside noise: pictures, and a mask. */
#ifndef DDPM_PROGRAM_FROM_PICTURES_H
#define DDPM_PROGRAM_FROM_PICTURES_H

#include <ddpm/sampler.h>

#include "data/folder.h"
#include "options.h"

/* Picture k of a drawing begins from file k of --from, and from the first again behind the last. */
struct ddpm_from {
    const char *path, *mask_path; /* NULL: not given */
    bool invert;
    double strength;
    int64_t resample, jump;    /* 0: not given */
    struct ddpm_folder folder; /* empty where `path` is a file */
    int64_t files;
    int height, width, channels;
    int64_t held;      /* pictures below */
    uint8_t *pictures; /* [held, H, W, C] */
    float *values;     /* [chunk, C, H, W] */
    float *mask;       /* [H, W] or NULL */
};

/* Read the options of `arguments`, and find the files. Whatever is wrong with them alone shows
 * here. Free with ddpm_from_clear(), after a failure too. */
ddpm_status ddpm_from_read_options(struct ddpm_from *from, const struct ddpm_arguments *arguments);

/* How many pictures to draw when --count is not given; 0: the usual number. */
int64_t ddpm_from_usual_count(const struct ddpm_from *from);

/* Bytes that they take for `count` pictures of that many values, drawn `chunk` at a time. */
uint64_t ddpm_from_bytes(const struct ddpm_from *from, int64_t count, int64_t chunk,
                         uint64_t values);

/* Plan for them. */
void ddpm_from_plan(const struct ddpm_from *from, const struct ddpm_arguments *arguments,
                    struct ddpm_sampler_options *options);

/* Read the pictures that `count` drawings from number `first` on begin from, and the mask, for
 * pictures of `shape`; at most `chunk` are drawn at once. */
struct ddpm_picture_shape {
    int height, width, channels;
};
ddpm_status ddpm_from_read(struct ddpm_from *from, const struct ddpm_picture_shape *shape,
                           int64_t first, int64_t count);
ddpm_status ddpm_from_begin(struct ddpm_from *from, int64_t chunk);

/* Give a draw its pictures, where it begins `done` pictures behind the first. */
void ddpm_from_give(struct ddpm_from *from, int64_t done, struct ddpm_draw *draw);

void ddpm_from_clear(struct ddpm_from *from);

#endif

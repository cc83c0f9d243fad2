/* A start for chains that comes from the training pictures' statistics instead of pure noise.
 *
 * At high noise levels x shows little but the large-scale colours of the pictures that it may have
 * come from, and their distribution with that much noise is close to normal. There a solver spends
 * half of its steps on what has a closed form (Wang & Vastola, "The unreasonable effectiveness of
 * Gaussian score approximation for diffusion models", 2024, section 5). So draw x at a lower level
 * from the fitted normal distribution, and let the solver begin there.
 *
 * Pictures are reduced to means over blocks, scaled so that white noise keeps variance 1. With mean
 * m, principal directions q_k and standard deviations d_k of these, and white noise z, at
 * sigma/alpha s
 *
 *     x/alpha = m + Σ_k (√(d_k² + s²) - s)·(q_k·z)·q_k + s·z
 *
 * which is also where the exact probability flow of the normal distribution leads from z, so that a
 * seed gives nearly the same picture as with a start from noise. */
#ifndef DDPM_DIFFUSION_START_H
#define DDPM_DIFFUSION_START_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

#define DDPM_START_GRID 16       /* most blocks along a side */
#define DDPM_START_COMPONENTS 64 /* most principal directions */
#define DDPM_START_PICTURES 1024 /* most pictures that are used */
#define DDPM_START_FEWEST 100    /* with fewer there is no fit */
#define DDPM_START_VALUES 1024   /* most values of a reduced picture */

/* Pictures [height,width,channels] and their reduction to [rows,columns,channels]. */
struct ddpm_start_shape {
    int64_t height, width, channels, rows, columns;
};

struct ddpm_start {
    struct ddpm_start_shape shape;
    int64_t components;
    /* The smallest of a few sigma/alpha at which pictures with noise are close enough to normal;
     * INFINITY: none. */
    double level;
    float *mean;       /* [rows,columns,channels] */
    float *deviations; /* [components], falling */
    float *directions; /* [components,rows,columns,channels], orthonormal */
};

/* The shape of a reduction: the finest grid of equal blocks within the limits above. */
struct ddpm_start_shape ddpm_start_shape_of(int64_t height, int64_t width, int64_t channels);

/* Values of a reduced picture. */
int64_t ddpm_start_values(const struct ddpm_start_shape *shape);

/* Reduce a picture [height,width,channels] of bytes, taken as -1 … 1, to `out`. */
void ddpm_start_reduce(const struct ddpm_start_shape *shape, const uint8_t *picture, float *out);

/* Allocate the arrays. The caller frees them with ddpm_start_free(). DDPM_ERROR_MEMORY. */
ddpm_status ddpm_start_new(const struct ddpm_start_shape *shape, int64_t components,
                           struct ddpm_start **out);
void ddpm_start_free(struct ddpm_start **start);

/* A copy, which the caller frees as well. DDPM_ERROR_MEMORY. */
ddpm_status ddpm_start_copy(const struct ddpm_start *start, struct ddpm_start **out);

/* Fit a start to `count` reduced pictures [count,values], which are changed. *out is NULL on
 * failure. DDPM_ERROR_MEMORY. */
ddpm_status ddpm_start_fit(const struct ddpm_start_shape *shape, float *pictures, int64_t count,
                           struct ddpm_start **out);

/* The part of x/alpha at sigma/alpha `ratio` besides ratio·z, for z [height,width,channels]:
 * written to `out` of the same shape. */
void ddpm_start_picture(const struct ddpm_start *start, double ratio, const float *z, float *out);

#endif

/* Winograd's transforms F(4×4,3×3) of LANES channels at once, see winograd.h for the matrices: each
 * applies its one-dimensional form (winograd_1d.h) to the columns, then to the rows. */
#ifndef DDPM_KERNELS_CPU_WINOGRAD_2D_H
#define DDPM_KERNELS_CPU_WINOGRAD_2D_H

#include "kernels/cpu/winograd.h"
#include "kernels/cpu/winograd_1d.h"

#define WINOGRAD_UNROLL _Pragma("GCC unroll 6")

/* A square of pixels: the original, or, if it extends past the picture's edge, a copy padded with
 * zeros. Strides are in elements. */
struct patch {
    const void *from;
    int64_t row, pixel;
};

static inline struct patch patch_at(const struct ddpm_tensor *t, int64_t n, int64_t h, int64_t w,
                                    int64_t size, void *copy)
{
    const int64_t element = (int64_t)ddpm_dtype_size(t->dtype), corner = (n * t->h + h) * t->w + w;
    const char *data = t->data;
    if (h >= 0 && w >= 0 && h + size <= t->h && w + size <= t->w)
        return (struct patch){data + corner * t->pixel_stride * element, t->w * t->pixel_stride,
                              t->pixel_stride};
    const size_t bytes = (size_t)(t->c * element);
    for (int64_t i = 0; i < size; ++i)
        for (int64_t j = 0; j < size; ++j) {
            char *to = (char *)copy + (i * size + j) * t->c * element;
            if (h + i >= 0 && h + i < t->h && w + j >= 0 && w + j < t->w)
                memcpy(to, data + (corner + i * t->w + j) * t->pixel_stride * element, bytes);
            else
                memset(to, 0, bytes);
        }
    return (struct patch){copy, size * t->c, t->c};
}

/* The patch under a tile: `border` more pixels on every side. `copy` has room for it. */
static inline struct patch patch_of_tile(const struct ddpm_tensor *t, int64_t border, int64_t tile,
                                         void *copy)
{
    const struct ddpm_tiles tiles = ddpm_tiles_of(t);
    const int64_t line = tile / tiles.wide;
    return patch_at(t, line / tiles.high, line % tiles.high * 4 - border,
                    tile % tiles.wide * 4 - border, 4 + 2 * border, copy);
}

/* columns = Bᵀ x, channels [c, c + LANES). Transforming their rows gives those of Bᵀ x B. */
ALWAYS_INLINE void input_columns(const struct patch *patch, int64_t c, const enum ddpm_dtype dtype,
                                 vf columns[6][6])
{
    WINOGRAD_UNROLL for (int j = 0; j < 6; ++j)
    {
        vf d[6], t[6];
        WINOGRAD_UNROLL for (int i = 0; i < 6; ++i) d[i] =
            vf_load_as(patch->from, i * patch->row + j * patch->pixel + c, dtype);
        input_1d(d, t);
        WINOGRAD_UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = t[i];
    }
}

/* v = Bᵀ x B, channels [c, c + LANES). */
ALWAYS_INLINE void input_2d(const struct patch *patch, int64_t c, const enum ddpm_dtype dtype,
                            vf v[WINOGRAD_PLACES])
{
    vf columns[6][6];
    input_columns(patch, c, dtype, columns);
    WINOGRAD_UNROLL for (int i = 0; i < 6; ++i) input_1d(columns[i], v + i * 6);
}

/* d = A dy Aᵀ, channels [c, c + LANES); returns the sum of the pixels. */
ALWAYS_INLINE vf gradient_2d(const struct patch *patch, int64_t c, const enum ddpm_dtype dtype,
                             vf d[WINOGRAD_PLACES])
{
    vf columns[6][4], sum = {0};
    WINOGRAD_UNROLL for (int j = 0; j < 4; ++j)
    {
        vf dy[4], t[6];
        WINOGRAD_UNROLL for (int i = 0; i < 4; ++i) dy[i] =
            vf_load_as(patch->from, i * patch->row + j * patch->pixel + c, dtype);
        sum += (dy[0] + dy[1]) + (dy[2] + dy[3]);
        gradient_1d(dy, t);
        WINOGRAD_UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = t[i];
    }
    WINOGRAD_UNROLL for (int i = 0; i < 6; ++i) gradient_1d(columns[i], d + i * 6);
    return sum;
}

/* u = G w Gᵀ for the columns from n on, w[9][GEMM_COLUMNS]. */
ALWAYS_INLINE void weights_2d(const float *w, int64_t n, vf u[WINOGRAD_PLACES])
{
    vf columns[6][3];
    WINOGRAD_UNROLL for (int j = 0; j < 3; ++j)
    {
        vf d[3], t[6];
        WINOGRAD_UNROLL for (int i = 0; i < 3; ++i) d[i] =
            vf_load(w + (i * 3 + j) * GEMM_COLUMNS + n);
        weights_1d(d, t);
        WINOGRAD_UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = t[i];
    }
    WINOGRAD_UNROLL for (int i = 0; i < 6; ++i) weights_1d(columns[i], u + i * 6);
}

#endif

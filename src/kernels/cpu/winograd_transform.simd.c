/* The transforms of a Winograd tile, on LANES channels at once. See winograd.h.
 *
 * Each is its one-dimensional form on the columns, then on the rows; even and odd powers of ±a and
 * ±b are computed once for both signs. */
#include "kernels/cpu/winograd.h"

#define A1 0.625f
#define A2 (A1 * A1)
#define A3 (A1 * A2)
#define B1 1.5f
#define B2 (B1 * B1)
#define B3 (B1 * B2)
#define P_INVERSE (1.0f / (2.0f * A2 * (A2 - B2)))
#define Q_INVERSE (1.0f / (2.0f * B2 * (B2 - A2)))

#define UNROLL _Pragma("GCC unroll 6")

/* t = Bᵀ d */
static inline void input_1d(const vf d[6], vf t[6])
{
    vf even_a = d[4] - B2 * d[2], odd_a = A1 * (d[3] - B2 * d[1]);
    vf even_b = d[4] - A2 * d[2], odd_b = B1 * (d[3] - A2 * d[1]);
    t[0] = A2 * B2 * d[0] - (A2 + B2) * d[2] + d[4];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = A2 * B2 * d[1] - (A2 + B2) * d[3] + d[5];
}

/* t = A d */
static inline void gradient_1d(const vf d[4], vf t[6])
{
    vf even_a = d[0] + A2 * d[2], odd_a = A1 * d[1] + A3 * d[3];
    vf even_b = d[0] + B2 * d[2], odd_b = B1 * d[1] + B3 * d[3];
    t[0] = d[0];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = d[3];
}

/* y = Aᵀ m */
static inline void output_1d(const vf m[6], vf y[4])
{
    vf even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + even_a + even_b;
    y[1] = A1 * odd_a + B1 * odd_b;
    y[2] = A2 * even_a + B2 * even_b;
    y[3] = A3 * odd_a + B3 * odd_b + m[5];
}

/* u = G w */
static inline void weights_1d(const vf w[3], vf u[6])
{
    vf even_a = P_INVERSE * (w[0] + A2 * w[2]), odd_a = P_INVERSE * A1 * w[1];
    vf even_b = Q_INVERSE * (w[0] + B2 * w[2]), odd_b = Q_INVERSE * B1 * w[1];
    u[0] = 1.0f / (A2 * B2) * w[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = w[2];
}

/* w = Gᵀ m */
static inline void weight_gradient_1d(const vf m[6], vf w[3])
{
    vf even_a = P_INVERSE * (m[1] + m[2]), odd_a = P_INVERSE * A1 * (m[1] - m[2]);
    vf even_b = Q_INVERSE * (m[3] + m[4]), odd_b = Q_INVERSE * B1 * (m[3] - m[4]);
    w[0] = 1.0f / (A2 * B2) * m[0] + even_a + even_b;
    w[1] = odd_a + odd_b;
    w[2] = A2 * even_a + B2 * even_b + m[5];
}

/* A patch of size × size pixels from (h, w) on: where it lies, or, if it hangs over the picture's
 * edge, a copy filled up with zeros. Strides are in elements. */
static const float *patch_at(const struct ddpm_tensor *t, int64_t n, int64_t h, int64_t w,
                             int64_t size, float *patch, int64_t *row_stride, int64_t *pixel_stride)
{
    const float *data = t->data;
    int64_t corner = (n * t->h + h) * t->w + w;
    if (h >= 0 && w >= 0 && h + size <= t->h && w + size <= t->w) {
        *pixel_stride = t->pixel_stride;
        *row_stride = t->w * t->pixel_stride;
        return data + corner * t->pixel_stride;
    }
    *pixel_stride = t->c;
    *row_stride = size * t->c;
    for (int64_t i = 0; i < size; ++i)
        for (int64_t j = 0; j < size; ++j) {
            float *to = patch + (i * size + j) * t->c;
            if (h + i >= 0 && h + i < t->h && w + j >= 0 && w + j < t->w)
                memcpy(to, data + (corner + i * t->w + j) * t->pixel_stride,
                       (size_t)t->c * sizeof *to);
            else
                memset(to, 0, (size_t)t->c * sizeof *to);
        }
    return patch;
}

void SIMD(winograd_input)(const struct ddpm_tensor *x, int64_t tile, float *v, int64_t stride,
                          float *patch)
{
    struct ddpm_tiles tiles = ddpm_tiles_of(x);
    int64_t row, pixel, line = tile / tiles.wide;
    const float *from = patch_at(x, line / tiles.high, line % tiles.high * 4 - 1,
                                 tile % tiles.wide * 4 - 1, 6, patch, &row, &pixel);
    for (int64_t c = 0; c < x->c; c += LANES) {
        vf columns[6][6];
        UNROLL for (int j = 0; j < 6; ++j)
        {
            vf d[6], t[6];
            UNROLL for (int i = 0; i < 6; ++i) d[i] = vf_load(from + i * row + j * pixel + c);
            input_1d(d, t);
            UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = t[i];
        }
        UNROLL for (int i = 0; i < 6; ++i)
        {
            vf t[6];
            input_1d(columns[i], t);
            UNROLL for (int j = 0; j < 6; ++j) vf_store(v + (i * 6 + j) * stride + c, t[j]);
        }
    }
}

void SIMD(winograd_gradient)(const struct ddpm_tensor *dy, int64_t tile, float *v, int64_t stride,
                             float *patch)
{
    struct ddpm_tiles tiles = ddpm_tiles_of(dy);
    int64_t row, pixel, line = tile / tiles.wide;
    const float *from = patch_at(dy, line / tiles.high, line % tiles.high * 4,
                                 tile % tiles.wide * 4, 4, patch, &row, &pixel);
    for (int64_t c = 0; c < dy->c; c += LANES) {
        vf columns[6][4], sum = {0};
        UNROLL for (int j = 0; j < 4; ++j)
        {
            vf d[4], t[6];
            UNROLL for (int i = 0; i < 4; ++i) d[i] = vf_load(from + i * row + j * pixel + c);
            sum += (d[0] + d[1]) + (d[2] + d[3]);
            gradient_1d(d, t);
            UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = t[i];
        }
        UNROLL for (int i = 0; i < 6; ++i)
        {
            vf t[6];
            gradient_1d(columns[i], t);
            UNROLL for (int j = 0; j < 6; ++j) vf_store(v + (i * 6 + j) * stride + c, t[j]);
        }
        vf_store(v + WINOGRAD_PLACES * stride + c, sum);
    }
}

void SIMD(winograd_output)(const float *m, int64_t stride, const float *bias,
                           const struct ddpm_tensor *residual, const struct ddpm_tensor *y,
                           int64_t tile)
{
    struct ddpm_tiles tiles = ddpm_tiles_of(y);
    int64_t line = tile / tiles.wide, w = tile % tiles.wide * 4;
    int64_t n = line / tiles.high, h = line % tiles.high * 4;
    int64_t rows = y->h - h < 4 ? y->h - h : 4, cols = y->w - w < 4 ? y->w - w : 4;
    int64_t corner = (n * y->h + h) * y->w + w;
    float *to = (float *)y->data + corner * y->pixel_stride;
    const float *add = NULL;
    if (residual && ddpm_tensor_present(residual))
        add = (const float *)residual->data + corner * residual->pixel_stride;
    for (int64_t c = 0; c < y->c; c += LANES) {
        vf columns[4][6], start = {0};
        UNROLL for (int j = 0; j < 6; ++j)
        {
            vf d[6], t[4];
            UNROLL for (int i = 0; i < 6; ++i) d[i] = vf_load(m + (i * 6 + j) * stride + c);
            output_1d(d, t);
            UNROLL for (int i = 0; i < 4; ++i) columns[i][j] = t[i];
        }
        if (bias)
            start = vf_load(bias + c);
        for (int i = 0; i < rows; ++i) {
            vf t[4];
            output_1d(columns[i], t);
            UNROLL for (int j = 0; j < 4; ++j)
            {
                if (j >= cols)
                    continue;
                vf value = t[j] + start;
                if (add)
                    value += vf_load(add + (i * y->w + j) * residual->pixel_stride + c);
                vf_store(to + (i * y->w + j) * y->pixel_stride + c, value);
            }
        }
    }
}

void SIMD(winograd_weights)(const float *w, float *u, int64_t stride)
{
    for (int n = 0; n < GEMM_COLUMNS; n += LANES) {
        vf columns[6][3];
        UNROLL for (int j = 0; j < 3; ++j)
        {
            vf d[3], t[6];
            UNROLL for (int i = 0; i < 3; ++i) d[i] = vf_load(w + (i * 3 + j) * GEMM_COLUMNS + n);
            weights_1d(d, t);
            UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = t[i];
        }
        UNROLL for (int i = 0; i < 6; ++i)
        {
            vf t[6];
            weights_1d(columns[i], t);
            UNROLL for (int j = 0; j < 6; ++j) vf_store(u + (i * 6 + j) * stride + n, t[j]);
        }
    }
}

void SIMD(winograd_weight_gradient)(const float *m, int64_t stride, int64_t channels, float *dw)
{
    for (int64_t c = 0; c < channels; c += LANES) {
        vf columns[3][6];
        UNROLL for (int j = 0; j < 6; ++j)
        {
            vf d[6], t[3];
            UNROLL for (int i = 0; i < 6; ++i) d[i] = vf_load(m + (i * 6 + j) * stride + c);
            weight_gradient_1d(d, t);
            UNROLL for (int i = 0; i < 3; ++i) columns[i][j] = t[i];
        }
        UNROLL for (int i = 0; i < 3; ++i)
        {
            vf t[3];
            weight_gradient_1d(columns[i], t);
            UNROLL for (int j = 0; j < 3; ++j)
            {
                float *to = dw + (i * 3 + j) * channels + c;
                vf_store(to, vf_load(to) + t[j]);
            }
        }
    }
}

/* Measured: from 16 channels on it wins wherever the 36 weights are shared by enough tiles, and
 * tiles that hang over the edges do not undo what is saved. */
bool SIMD(winograd_suits)(const struct ddpm_call *call, const struct ddpm_tensor *x,
                          const struct ddpm_tensor *y)
{
    const struct ddpm_attributes *at = &call->attributes;
    struct ddpm_tiles tiles = ddpm_tiles_of(x);
    int64_t pixels = ddpm_tensor_pixels(x);
    return !call->device->direct && ddpm_call_is_f32(call) && at->kernel_h == 3 &&
           at->kernel_w == 3 && at->stride == 1 && at->padding == 1 &&
           x->c % WINOGRAD_CHANNELS == 0 && y->c % WINOGRAD_CHANNELS == 0 && tiles.count >= 16 &&
           tiles.count * 16 <= pixels * 2;
}

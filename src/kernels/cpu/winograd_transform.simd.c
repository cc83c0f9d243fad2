/* The transforms of a Winograd tile. See winograd.h. The dtype is a constant wherever a function of
 * this file is inlined. */
#include "kernels/cpu/winograd_2d.h"

#define UNROLL WINOGRAD_UNROLL

/* Store the places: fp32, or rounded to bf16, or as pairs with those of the previous tile. */
enum form { FORM_F32, FORM_BF16, FORM_PAIRS };

ALWAYS_INLINE void put(const vf places[WINOGRAD_PLACES], const vf *first, void *v, int64_t stride,
                       int64_t c, const enum form form)
{
    UNROLL for (int place = 0; place < WINOGRAD_PLACES; ++place)
    {
        if (form == FORM_F32)
            vf_store((float *)v + place * stride + c, places[place]);
        else if (form == FORM_BF16)
            vf_store_bf16((uint16_t *)v + 2 * place * stride + c, places[place]);
        else
            vf_store((float *)v + place * stride + c,
                     (vf)vf_to_bf16_pairs(first[place], places[place]));
    }
}

void SIMD(winograd_input)(const struct ddpm_tensor *x, int64_t tile, void *v, int64_t stride,
                          void *copy)
{
    const struct patch patch = patch_of_tile(x, 1, tile, copy);
    vf places[WINOGRAD_PLACES];
    for (int64_t c = 0; c < x->c; c += LANES)
        if (x->dtype == DDPM_F32) {
            input_2d(&patch, c, DDPM_F32, places);
            put(places, NULL, v, stride, c, FORM_F32);
        } else {
            input_2d(&patch, c, DDPM_BF16, places);
            put(places, NULL, v, stride, c, FORM_BF16);
        }
}

void SIMD(winograd_input_columns)(const struct ddpm_tensor *x, int64_t tile, int tiles, void *v,
                                  int64_t stride, void *copy)
{
    const struct patch patch = patch_of_tile(x, 1, tile, copy);
    struct patch next = patch;
    vf first[WINOGRAD_PLACES], second[WINOGRAD_PLACES] = {{0}};
    if (tiles == 2)
        next = patch_of_tile(x, 1, tile + 1, (uint16_t *)copy + WINOGRAD_PLACES * x->c);
    for (int64_t c = 0; c < x->c; c += LANES)
        if (x->dtype == DDPM_F32) {
            input_2d(&patch, c, DDPM_F32, first);
            put(first, NULL, v, stride, c, FORM_F32);
        } else {
            input_2d(&patch, c, DDPM_BF16, first);
            if (tiles == 2)
                input_2d(&next, c, DDPM_BF16, second);
            put(second, first, v, stride, c, FORM_PAIRS);
        }
}

void SIMD(winograd_gradient_columns)(const struct ddpm_tensor *dy, int64_t tile, int tiles, void *v,
                                     int64_t stride, void *copy)
{
    const struct patch patch = patch_of_tile(dy, 0, tile, copy);
    struct patch next = patch;
    float *sums = (float *)v + WINOGRAD_PLACES * stride;
    vf first[WINOGRAD_PLACES], second[WINOGRAD_PLACES] = {{0}};
    if (tiles == 2)
        next = patch_of_tile(dy, 0, tile + 1, (uint16_t *)copy + 16 * dy->c);
    for (int64_t c = 0; c < dy->c; c += LANES)
        if (dy->dtype == DDPM_F32) {
            vf_store(sums + c, gradient_2d(&patch, c, DDPM_F32, first));
            put(first, NULL, v, stride, c, FORM_F32);
        } else {
            vf sum = gradient_2d(&patch, c, DDPM_BF16, first);
            if (tiles == 2)
                sum += gradient_2d(&next, c, DDPM_BF16, second);
            put(second, first, v, stride, c, FORM_PAIRS);
            vf_store(sums + c, sum);
        }
}

ALWAYS_INLINE void output_as(const float *p, int64_t stride, const float *bias,
                             const struct ddpm_tensor *residual, const struct ddpm_tensor *y,
                             int64_t tile, const enum ddpm_dtype dtype)
{
    struct ddpm_tiles tiles = ddpm_tiles_of(y);
    int64_t line = tile / tiles.wide, w = tile % tiles.wide * 4;
    int64_t n = line / tiles.high, h = line % tiles.high * 4;
    int64_t rows = y->h - h < 4 ? y->h - h : 4, cols = y->w - w < 4 ? y->w - w : 4;
    int64_t corner = (n * y->h + h) * y->w + w;
    bool add = residual && ddpm_tensor_present(residual);
    for (int64_t c = 0; c < y->c; c += LANES) {
        vf columns[4][6], start = {0};
        UNROLL for (int j = 0; j < 6; ++j)
        {
            vf d[6], t[4];
            UNROLL for (int i = 0; i < 6; ++i) d[i] = vf_load(p + (i * 6 + j) * stride + c);
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
                int64_t pixel = corner + i * y->w + j;
                vf value = t[j] + start;
                if (add)
                    value += vf_load_as(residual->data, pixel * residual->pixel_stride + c, dtype);
                vf_store_as(y->data, pixel * y->pixel_stride + c, value, dtype);
            }
        }
    }
}

void SIMD(winograd_output)(const float *p, int64_t stride, const float *bias,
                           const struct ddpm_tensor *residual, const struct ddpm_tensor *y,
                           int64_t tile)
{
    if (y->dtype == DDPM_F32)
        output_as(p, stride, bias, residual, y, tile, DDPM_F32);
    else
        output_as(p, stride, bias, residual, y, tile, DDPM_BF16);
}

void SIMD(winograd_weights)(const float *w, enum ddpm_dtype dtype, void *u, int64_t stride)
{
    vf first[WINOGRAD_PLACES], second[WINOGRAD_PLACES];
    for (int n = 0; n < GEMM_COLUMNS; n += LANES) {
        weights_2d(w, n, first);
        if (dtype == DDPM_F32) {
            put(first, NULL, u, stride, n, FORM_F32);
        } else {
            weights_2d(w + 9 * GEMM_COLUMNS, n, second);
            put(second, first, u, stride, n, FORM_PAIRS);
        }
    }
}

void SIMD(winograd_weight_gradient)(const float *p, int64_t stride, int64_t channels, bool fresh,
                                    float *dw)
{
    for (int64_t c = 0; c < channels; c += LANES) {
        vf columns[3][6];
        UNROLL for (int j = 0; j < 6; ++j)
        {
            vf d[6], t[3];
            UNROLL for (int i = 0; i < 6; ++i) d[i] = vf_load(p + (i * 6 + j) * stride + c);
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
                vf_store(to, (fresh ? (vf){0} : vf_load(to)) + t[j]);
            }
        }
    }
}

/* Do all activations have the same dtype, and one that the kernels support? */
static bool same_activations(const struct ddpm_call *call, const struct ddpm_tensor *x,
                             const struct ddpm_tensor *y)
{
    if (call->op == DDPM_OP_CONV2D && ddpm_tensor_present(&call->in[3]) &&
        call->in[3].dtype != x->dtype)
        return false;
    return x->dtype == y->dtype && is_activation_dtype(x->dtype);
}

/* Minimum number of tiles that share the weights, and the pictures to count when the batch size
 * must not matter. */
enum { LEAST_TILES = 16, ANY_BATCH = 4 };

/* Measured: from 16 channels on, it wins if enough tiles share the 36 weights, and if tiles that
 * hang over the edges do not undo the savings. */
bool SIMD(winograd_suits)(const struct ddpm_call *call, const struct ddpm_tensor *x,
                          const struct ddpm_tensor *y)
{
    const struct ddpm_attributes *at = &call->attributes;
    struct ddpm_tiles tiles = ddpm_tiles_of(x);
    int64_t pixels = ddpm_tensor_pixels(x);
    const int64_t shared = call->any_batch ? tiles.count / x->n * ANY_BATCH : tiles.count;
    return !call->device->direct && same_activations(call, x, y) && at->kernel_h == 3 &&
           at->kernel_w == 3 && at->stride == 1 && at->padding == 1 &&
           x->c % WINOGRAD_CHANNELS == 0 && y->c % WINOGRAD_CHANNELS == 0 &&
           shared >= LEAST_TILES && tiles.count * 16 <= pixels * 2;
}

/* The transforms of a Winograd tile, on LANES channels at once. See winograd.h.
 *
 * Each is its one-dimensional form on the columns, then on the rows; even and odd powers of ±a and
 * ±b are computed once for both signs. The dtype is a constant wherever a function of this file is
 * inlined. */
#include "kernels/cpu/amx_layout.h"
#include "kernels/cpu/winograd.h"
#include "kernels/cpu/winograd_1d.h"

#if WINOGRAD_SPLIT
#include "kernels/cpu/amx.h"
#endif

#define UNROLL _Pragma("GCC unroll 6")

#define TILE_FLOATS (AMX_TILE / (int64_t)sizeof(float))

/* A square of pixels: where it lies, or, if it hangs over the picture's edge, a copy filled up with
 * zeros. Strides are in elements. */
struct patch {
    const void *from;
    int64_t row, pixel;
};

static struct patch patch_at(const struct ddpm_tensor *t, int64_t n, int64_t h, int64_t w,
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

/* The patch under a tile: `border` pixels more on every side. */
static struct patch patch_of_tile(const struct ddpm_tensor *t, int64_t border, int64_t tile,
                                  void *copy)
{
    struct ddpm_tiles tiles = ddpm_tiles_of(t);
    int64_t line = tile / tiles.wide;
    return patch_at(t, line / tiles.high, line % tiles.high * 4 - border,
                    tile % tiles.wide * 4 - border, 4 + 2 * border, copy);
}

/* How a transformed tile is put down. */
enum form {
    FORM_F32,    /* fp32 */
    FORM_BF16,   /* rounded to bf16 */
    FORM_FIRST,  /* kept in `first`, for */
    FORM_SECOND, /* the next tile, which makes pairs of both */
    FORM_SPLIT,  /* pairs with `first`, fp32 in three parts: rows of a, in matrix tiles */
    FORM_PAIRS,  /* the same, rows of b */
};

/* Pairs of two values' numbers, in parts that lie `stride` numbers apart; rows of a past the
 * caches, which are smaller than all of them (conv_winograd.simd.c says when that is over). */
ALWAYS_INLINE void put_pairs(float *v, int64_t stride, vf low, vf high, const enum form form)
{
    vf pairs[AMX_PARTS];
    amx_split_pairs(low, high, pairs);
    for (int i = 0; i < AMX_PARTS; ++i, v += stride) {
#if WINOGRAD_SPLIT
        if (form == FORM_SPLIT) {
            amx_write_line(v, (__m512i)pairs[i]);
            continue;
        }
#endif
        vf_store(v, pairs[i]);
    }
    (void)form;
}

ALWAYS_INLINE void put(void *v, int64_t stride, int64_t c, int place, vf value,
                       const enum form form, vf *first)
{
    if (form == FORM_F32)
        vf_store((float *)v + place * stride + c, value);
    else if (form == FORM_BF16)
        vf_store_bf16((uint16_t *)v + 2 * place * stride + c, value);
    else if (form == FORM_FIRST)
        first[place] = value;
    else if (form == FORM_SPLIT)
        put_pairs((float *)v + place * stride + c / AMX_DEPTH * AMX_PARTS * TILE_FLOATS,
                  TILE_FLOATS, first[place], value, form);
    else if (form == FORM_PAIRS)
        put_pairs((float *)v + place * stride + c / AMX_ROWS * stride / AMX_PARTS / 2,
                  stride / AMX_PARTS, first[place], value, form);
    else
        vf_store((float *)v + place * stride + c, (vf)vf_to_bf16_pairs(first[place], value));
}

/* Bᵀ x B, channels [c, c + LANES). */
ALWAYS_INLINE void input_2d(const struct patch *patch, const enum ddpm_dtype dtype, void *v,
                            int64_t stride, int64_t c, const enum form form, vf *first)
{
    vf columns[6][6];
    UNROLL for (int j = 0; j < 6; ++j)
    {
        vf d[6], t[6];
        UNROLL for (int i = 0; i < 6; ++i)
        {
            const int64_t at = i * patch->row + j * patch->pixel + c;
            if (WINOGRAD_SPLIT && j >= 2)
                __builtin_prefetch((const float *)patch->from + at + 4 * patch->pixel);
            d[i] = vf_load_as(patch->from, at, dtype);
        }
        input_1d(d, t);
        UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = t[i];
    }
    UNROLL for (int i = 0; i < 6; ++i)
    {
        vf t[6];
        input_1d(columns[i], t);
        UNROLL for (int j = 0; j < 6; ++j) put(v, stride, c, i * 6 + j, t[j], form, first);
    }
}

void SIMD(winograd_input)(const struct ddpm_tensor *x, int64_t tile, void *v, int64_t stride,
                          void *copy)
{
    struct patch patch = patch_of_tile(x, 1, tile, copy);
    if (WINOGRAD_SPLIT && x->dtype == DDPM_F32) {
        for (int64_t c = 0; c < x->c; c += AMX_DEPTH) {
            vf first[WINOGRAD_PLACES];
            input_2d(&patch, DDPM_F32, v, stride, c, FORM_FIRST, first);
            if (c + LANES < x->c)
                input_2d(&patch, DDPM_F32, v, stride, c + LANES, FORM_SPLIT, first);
            else
                for (int place = 0; place < WINOGRAD_PLACES; ++place)
                    put(v, stride, c + LANES, place, (vf){0}, FORM_SPLIT, first);
        }
    } else if (x->dtype == DDPM_F32) {
        for (int64_t c = 0; c < x->c; c += LANES)
            input_2d(&patch, DDPM_F32, v, stride, c, FORM_F32, NULL);
    } else {
        for (int64_t c = 0; c < x->c; c += LANES)
            input_2d(&patch, DDPM_BF16, v, stride, c, FORM_BF16, NULL);
    }
}

void SIMD(winograd_input_columns)(const struct ddpm_tensor *x, int64_t tile, int tiles, void *v,
                                  int64_t stride, void *copy)
{
    struct patch patch = patch_of_tile(x, 1, tile, copy), next;
    if (x->dtype == DDPM_F32) {
        for (int64_t c = 0; c < x->c; c += LANES)
            input_2d(&patch, DDPM_F32, v, stride, c, FORM_F32, NULL);
        return;
    }
    if (tiles == 2)
        next = patch_of_tile(x, 1, tile + 1, (uint16_t *)copy + WINOGRAD_PLACES * x->c);
    for (int64_t c = 0; c < x->c; c += LANES) {
        vf first[WINOGRAD_PLACES];
        input_2d(&patch, DDPM_BF16, v, stride, c, FORM_FIRST, first);
        if (tiles == 2)
            input_2d(&next, DDPM_BF16, v, stride, c, FORM_SECOND, first);
        else
            for (int place = 0; place < WINOGRAD_PLACES; ++place)
                put(v, stride, c, place, (vf){0}, FORM_SECOND, first);
    }
}

/* A dy Aᵀ, channels [c, c + LANES); returns the sum of the pixels. */
ALWAYS_INLINE vf gradient_2d(const struct patch *patch, const enum ddpm_dtype dtype, void *v,
                             int64_t stride, int64_t c, const enum form form, vf *first)
{
    vf columns[6][4], sum = {0};
    UNROLL for (int j = 0; j < 4; ++j)
    {
        vf d[4], t[6];
        UNROLL for (int i = 0; i < 4; ++i) d[i] =
            vf_load_as(patch->from, i * patch->row + j * patch->pixel + c, dtype);
        sum += (d[0] + d[1]) + (d[2] + d[3]);
        gradient_1d(d, t);
        UNROLL for (int i = 0; i < 6; ++i) columns[i][j] = t[i];
    }
    UNROLL for (int i = 0; i < 6; ++i)
    {
        vf t[6];
        gradient_1d(columns[i], t);
        UNROLL for (int j = 0; j < 6; ++j) put(v, stride, c, i * 6 + j, t[j], form, first);
    }
    return sum;
}

void SIMD(winograd_gradient_columns)(const struct ddpm_tensor *dy, int64_t tile, int tiles, void *v,
                                     int64_t stride, void *copy)
{
    struct patch patch = patch_of_tile(dy, 0, tile, copy), next;
    float *sums = (float *)v + WINOGRAD_PLACES * stride;
    if (dy->dtype == DDPM_F32) {
        for (int64_t c = 0; c < dy->c; c += LANES)
            vf_store(sums + c, gradient_2d(&patch, DDPM_F32, v, stride, c, FORM_F32, NULL));
        return;
    }
    if (tiles == 2)
        next = patch_of_tile(dy, 0, tile + 1, (uint16_t *)copy + 16 * dy->c);
    for (int64_t c = 0; c < dy->c; c += LANES) {
        vf first[WINOGRAD_PLACES];
        vf sum = gradient_2d(&patch, DDPM_BF16, v, stride, c, FORM_FIRST, first);
        if (tiles == 2)
            sum += gradient_2d(&next, DDPM_BF16, v, stride, c, FORM_SECOND, first);
        else
            for (int place = 0; place < WINOGRAD_PLACES; ++place)
                put(v, stride, c, place, (vf){0}, FORM_SECOND, first);
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

ALWAYS_INLINE void weights_2d(const float *w, void *u, int64_t stride, int64_t n,
                              const enum form form, vf *first)
{
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
        UNROLL for (int j = 0; j < 6; ++j) put(u, stride, n, i * 6 + j, t[j], form, first);
    }
}

ALWAYS_INLINE void weight_pairs(const float *w, void *u, int64_t stride, int64_t n,
                                const enum form form)
{
    vf first[WINOGRAD_PLACES];
    weights_2d(w, u, stride, n, FORM_FIRST, first);
    weights_2d(w + 9 * GEMM_COLUMNS, u, stride, n, form, first);
}

void SIMD(winograd_weights)(const float *w, enum ddpm_dtype dtype, void *u, int64_t stride)
{
    for (int n = 0; n < GEMM_COLUMNS; n += LANES) {
        if (dtype == DDPM_BF16)
            weight_pairs(w, u, stride, n, FORM_SECOND);
        else if (WINOGRAD_SPLIT)
            weight_pairs(w, u, stride, n, FORM_PAIRS);
        else
            weights_2d(w, u, stride, n, FORM_F32, NULL);
    }
}

void SIMD(winograd_weight_gradient)(const float *p, int64_t stride, int64_t channels, float *dw)
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
                vf_store(to, vf_load(to) + t[j]);
            }
        }
    }
}

/* All activations of one dtype that the kernels know? */
static bool same_activations(const struct ddpm_call *call, const struct ddpm_tensor *x,
                             const struct ddpm_tensor *y)
{
    if (call->op == DDPM_OP_CONV2D && ddpm_tensor_present(&call->in[3]) &&
        call->in[3].dtype != x->dtype)
        return false;
    return x->dtype == y->dtype && is_activation_dtype(x->dtype);
}

/* Measured: from 16 channels on it wins wherever the 36 weights are shared by enough tiles, and
 * tiles that hang over the edges do not undo what is saved. */
bool SIMD(winograd_suits)(const struct ddpm_call *call, const struct ddpm_tensor *x,
                          const struct ddpm_tensor *y)
{
    const struct ddpm_attributes *at = &call->attributes;
    struct ddpm_tiles tiles = ddpm_tiles_of(x);
    int64_t pixels = ddpm_tensor_pixels(x);
    return !call->device->direct && same_activations(call, x, y) && at->kernel_h == 3 &&
           at->kernel_w == 3 && at->stride == 1 && at->padding == 1 &&
           x->c % WINOGRAD_CHANNELS == 0 && y->c % WINOGRAD_CHANNELS == 0 && tiles.count >= 16 &&
           tiles.count * 16 <= pixels * 2;
}

/* Gradient of convolution weights, of bf16 or of fp32 in parts, in matrix tiles (amx.h):
 *
 *   dw[k][r][s][c] += Σ_pixels dy[pixel][k] · x[pixel·stride + (r,s) - padding][c]
 *   dbias[k]       += Σ_pixels dy[pixel][k]
 *
 * The depth runs over pixels, so dy is turned round, [k][pixel], and x is laid in pairs of pixels,
 * [pair][c][2], once for every column of taps, shifted by it (the pairs differ); the rows of taps
 * then are offsets of whole rows. Pixels of a block of rows follow each other without a border, and
 * tiles run over the ends of rows. Both copies lie by groups of 16 channels, so that every tile is
 * 1 KB in a row: operands are taken from L2, and prefetchers follow such loads only. Of fp32, the
 * parts of 16 channels follow each other.
 *
 * Pictures of few channels take the S·C numbers under a row of the kernel as their channels.
 *
 * A unit is (group of blocks, block of k, block of c). For each block it makes its copies, in L2,
 * and adds all taps' products to sums of its own. Groups of blocks have sums of their own, added up
 * in order at the end; how many there are depends on the shapes only, so the result does not depend
 * on the threads. */
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/winograd.h"

#define BLOCK_PIXELS 256
#define BLOCK_CHANNELS 128     /* of k and of c */
#define BLOCK_CHANNELS_1X1 256 /* fewer products per number copied: copy each less often */
#define LEAST_PIXELS_SPLIT 64
#define UNITS 32            /* cut the work at least so fine, for machines of many cores, but */
#define BLOCKS_PER_GROUP 16 /* sums of a group must be worth adding up */
#define PAIR 64             /* bytes of a pair of pixels, 16 channels */
#define SKEW 64             /* bytes between groups of channels: they fall into other cache sets */

struct weight {
    struct ddpm_tensor x, dy;
    int taps_h, taps_w, stride, padding;
    int64_t k_size, c_size, k_block, c_block, k_blocks,
        c_blocks;                    /* blocks: multiples of AMX_BLOCK */
    int64_t rows, columns, pictures; /* pixels of dy in a block */
    int64_t pitch;                   /* pixels of a row in the copies: even */
    int64_t blocks_h, blocks_w, blocks_n, blocks, groups;
    int64_t steps;          /* of the depth of one picture of a block, AMX_DEPTH pixels each */
    int64_t x_rows, copies; /* rows in a copy of x; copies */
    bool split;             /* x and dy are fp32, in parts */
    int64_t parts, size;    /* of a number; bytes of an element */
    int64_t x_picture, x_part, x_group,
        x_copy;                /* bytes between pictures, parts, 16 channels, copies of x */
    int64_t dy_part, dy_group; /* bytes between parts, 16 channels in the copy of dy */
    int64_t x_bytes, dy_bytes, sum_bytes, thread_bytes;
    float *dw, *dbias;             /* of group 0; group g's are g·stride further */
    int64_t group_dw, group_dbias; /* elements; 0 when there is one group */
    int64_t pixel_count;           /* pointers to pixels of a row of x, or of dy's block */
    const char **pixels;
    bool few;   /* channels: the S·C numbers under a kernel's row are the channels */
    char *line; /* few: a row of x with its border */
    int64_t line_bytes;
    char *memory;
};

/* Blocks of `limit` at most, as even as multiples of `unit` allow. */
static int64_t even_block(int64_t size, int64_t limit, int64_t unit)
{
    int64_t block = ddpm_ceil_div(size, ddpm_ceil_div(size, limit));
    return ddpm_ceil_div(block, unit) * unit;
}

static struct weight weight_plan(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    struct weight p = {.x = call->in[0],
                       .dy = call->in[1],
                       .taps_h = at->kernel_h,
                       .taps_w = at->kernel_w,
                       .stride = at->stride,
                       .padding = at->padding,
                       .k_size = call->in[1].c,
                       .c_size = call->in[0].c};
    const bool single = at->kernel_h == 1 && at->kernel_w == 1;
    p.split = p.x.dtype == DDPM_F32;
    p.parts = p.split ? AMX_PARTS : 1;
    p.size = (int64_t)ddpm_dtype_size(p.x.dtype);
    p.few = ddpm_few_channels(call);
    if (p.few) {
        p.c_size *= p.taps_w;
        p.taps_w = 1;
    }
    if (single && at->stride == 1 && at->padding == 0) {
        p.x.w = p.dy.w = ddpm_tensor_pixels(&p.x);
        p.x.n = p.x.h = p.dy.n = p.dy.h = 1;
    }
    p.columns = even_block(p.dy.w, BLOCK_PIXELS, 2);
    p.pitch = p.columns;
    p.rows = BLOCK_PIXELS / p.columns;
    p.rows = even_block(p.dy.h, p.rows < 1 ? 1 : p.rows, 1);
    p.pictures = p.rows < p.dy.h || p.columns < p.dy.w
                     ? 1
                     : ddpm_smaller(ddpm_ceil_div(BLOCK_PIXELS, p.rows * p.pitch), p.dy.n);
    p.blocks_h = ddpm_ceil_div(p.dy.h, p.rows);
    p.blocks_w = ddpm_ceil_div(p.dy.w, p.columns);
    p.blocks_n = ddpm_ceil_div(p.dy.n, p.pictures);
    p.blocks = p.blocks_n * p.blocks_h * p.blocks_w;
    p.steps = ddpm_ceil_div(p.rows * p.pitch, AMX_DEPTH);

    const int64_t most = single ? BLOCK_CHANNELS_1X1 : BLOCK_CHANNELS;
    p.k_block = even_block(p.k_size, most, AMX_BLOCK);
    p.c_block = even_block(p.c_size, most, AMX_BLOCK);
    p.k_blocks = ddpm_ceil_div(p.k_size, p.k_block);
    p.c_blocks = ddpm_ceil_div(p.c_size, p.c_block);
    p.groups = ddpm_ceil_div(UNITS, p.k_blocks * p.c_blocks);
    p.groups = ddpm_smaller(p.groups, ddpm_ceil_div(p.blocks, BLOCKS_PER_GROUP));

    /* a stride leaves rows between those of one tap: every tap has a copy */
    p.x_rows = p.stride == 1 ? p.rows + p.taps_h - 1 : p.rows;
    p.copies = p.stride == 1 ? p.taps_w : p.taps_h * p.taps_w;
    p.x_picture = (p.x_rows * p.pitch / 2 + AMX_DEPTH / 2) * PAIR; /* steps may end behind it */
    p.x_part = p.pictures * p.x_picture + SKEW;
    p.x_group = p.parts * p.x_part;
    p.x_copy = p.c_block / 16 * p.x_group;
    p.dy_part = p.pictures * p.steps * AMX_TILE + SKEW;
    p.dy_group = p.parts * p.dy_part;
    p.x_bytes = (int64_t)ddpm_align_up((size_t)(p.copies * p.x_copy));
    p.dy_bytes = p.k_block / 16 * p.dy_group;
    p.sum_bytes = p.k_block * p.c_block * p.taps_h * p.taps_w * (int64_t)sizeof(float);
    p.pixel_count = p.pictures * p.steps * AMX_DEPTH;
    int64_t width = (p.pitch - 1) * p.stride + p.taps_w;
    p.pixel_count = p.pixel_count > width ? p.pixel_count : width;
    if (p.few)
        p.line_bytes = ((width - 1) * p.x.c + p.c_size) * p.size;
    p.thread_bytes = p.x_bytes + p.dy_bytes + p.sum_bytes +
                     (int64_t)ddpm_align_up((size_t)p.pixel_count * sizeof(void *)) +
                     (int64_t)ddpm_align_up((size_t)p.line_bytes);
    if (p.groups > 1) {
        p.group_dw = ddpm_ceil_div(p.k_size * p.taps_h * p.taps_w * p.c_size, LANES) * LANES;
        p.group_dbias = ddpm_ceil_div(p.k_size, LANES) * LANES;
    }
    return p;
}

/* fp32 by vectors is faster where Winograd suits pictures too small for conv_weight_rows_amx.c, or
 * where sums pass through memory for few pixels. */
static bool split_pays(const struct ddpm_call *call)
{
    return ddpm_tensor_pixels(&call->in[1]) >= LEAST_PIXELS_SPLIT &&
           !SIMD(winograd_suits)(call, &call->in[0], &call->in[1]);
}

static bool weight_supports(const struct ddpm_call *call)
{
    const enum ddpm_dtype dtype = call->in[0].dtype;
    return dtype == call->in[1].dtype &&
           (dtype == DDPM_BF16 || (dtype == DDPM_F32 && split_pays(call))) &&
           (call->in[0].c >= AMX_DEPTH / 2 || ddpm_few_channels(call)) &&
           call->in[1].c >= AMX_DEPTH / 2;
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    size_t sums = (size_t)(p.groups * (p.group_dw + p.group_dbias)) * sizeof(float);
    call->scratch_bytes = (size_t)(call->device->threads * p.thread_bytes) + sums;
    return DDPM_OK;
}

/* Where a row's pixels begin: `step` pixels apart from w on, zeros where there is none. */
static void fill_pixels(const struct ddpm_tensor *t, int64_t n, int64_t h, int64_t w, int64_t step,
                        int64_t count, int64_t end_h, int64_t end_w, int64_t channel,
                        const char **pixels)
{
    static const float zeros[BLOCK_CHANNELS_1X1] __attribute__((aligned(64)));
    const bool inside = n < t->n && h >= 0 && h < end_h;
    const int64_t size = (int64_t)ddpm_dtype_size(t->dtype);
    for (int64_t i = 0; i < count; ++i, w += step) {
        const int64_t at = ((n * t->h + h) * t->w + w) * t->pixel_stride + channel;
        pixels[i] =
            inside && w >= 0 && w < end_w ? (const char *)t->data + at * size : (const char *)zeros;
    }
}

/* The same of windows of few channels, in a copy of the row with its border. */
static void fill_windows(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t count,
                         int64_t channel)
{
    const struct ddpm_tensor *x = &p->x;
    const bool inside = n < x->n && h >= 0 && h < x->h;
    const int64_t row = (n * x->h + h) * x->w, pixel = x->c * p->size;
    memset(p->line, 0, (size_t)p->line_bytes);
    for (int64_t i = 0; inside && i < count - 1 + p->c_size / x->c; ++i)
        if (w + i >= 0 && w + i < x->w)
            memcpy(p->line + i * pixel,
                   (const char *)x->data + (row + w + i) * x->pixel_stride * p->size,
                   (size_t)pixel);
    for (int64_t i = 0; i < count; ++i)
        p->pixels[i] = p->line + i * pixel + channel * p->size;
}

/* Two pixels' channels from c on as pairs: 0–15 in *low, 16–31 in *high; the first `left` of them
 * exist. */
ALWAYS_INLINE void load_pairs(const char *even, const char *odd, int64_t c, int64_t left,
                              __m512i *low, __m512i *high)
{
    const __m512i low_half =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high_half = _mm512_add_epi16(low_half, _mm512_set1_epi16(16));
    const __mmask32 mask = left >= 32 ? ~0u : left > 0 ? (1u << left) - 1 : 0;
    const __m512i a = _mm512_maskz_loadu_epi16(mask, even + 2 * c);
    const __m512i b = _mm512_maskz_loadu_epi16(mask, odd + 2 * c);
    *low = _mm512_permutex2var_epi16(a, low_half, b);
    *high = _mm512_permutex2var_epi16(a, high_half, b);
}

/* The same of 16 channels of fp32, in parts. */
ALWAYS_INLINE void load_pairs_split(const char *even, const char *odd, int64_t c, int64_t left,
                                    vf pairs[AMX_PARTS])
{
    const __mmask16 mask = (__mmask16)(left >= 16 ? 0xffff : left > 0 ? (1u << left) - 1 : 0);
    amx_split_pairs((vf)_mm512_maskz_loadu_ps(mask, even + 4 * c),
                    (vf)_mm512_maskz_loadu_ps(mask, odd + 4 * c), pairs);
}

/* Two pixels of x, 32 channels from c on, into the copy. */
ALWAYS_INLINE void put_pairs(const struct weight *p, const char *even, const char *odd, int64_t c,
                             int64_t left, char *to, const bool split)
{
    for (int64_t half = 0; half < 2; ++half, to += p->x_group) {
        vf pairs[AMX_PARTS];
        __m512i both[2];
        if (split) {
            load_pairs_split(even, odd, c + half * 16, left - half * 16, pairs);
        } else {
            load_pairs(even, odd, c, left, &both[0], &both[1]);
            pairs[0] = (vf)both[half];
        }
        for (int64_t part = 0; part < (split ? AMX_PARTS : 1); ++part)
            vf_store((float *)(void *)(to + part * p->x_part), pairs[part]);
    }
}

/* The copies of x for a block whose first pixel of dy is (n, h, w):
 * [copy][16 channels][part][pair].
 */
ALWAYS_INLINE void copy_x_as(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t c0,
                             char *to, const bool split)
{
    const struct ddpm_tensor *x = &p->x;
    const int64_t left = p->c_size - c0, row_bytes = p->pitch / 2 * PAIR;
    const int64_t end = p->x_rows * row_bytes, width = (p->pitch - 1) * p->stride + p->taps_w;
    for (int64_t i = 0; i < p->copies * p->c_block / 16 * p->parts * p->pictures; ++i)
        memset(to + i / p->pictures * p->x_part + i % p->pictures * p->x_picture + end, 0,
               (size_t)(p->x_picture - end));
    for (int64_t r = 0; r < p->copies / p->taps_w; ++r, to += p->taps_w * p->x_copy)
        for (int64_t line = 0; line < p->pictures * p->x_rows; ++line) {
            const int64_t i = line / p->x_rows, row = line % p->x_rows;
            char *pairs = to + i * p->x_picture + row * row_bytes;
            const int64_t x_h = (h + row) * p->stride + r - p->padding;
            const int64_t x_w = w * p->stride - p->padding;
            if (p->few)
                fill_windows(p, n + i, x_h, x_w, width, c0);
            else
                fill_pixels(x, n + i, x_h, x_w, 1, width, x->h, x->w, c0, p->pixels);
            for (int64_t j = 0; j < p->pitch; j += 2, pairs += PAIR)
                for (int64_t c = 0; c < p->c_block; c += 32) {
                    fetch_ahead(p->pixels[j * p->stride], c, x->dtype);
                    fetch_ahead(p->pixels[(j + 1) * p->stride], c, x->dtype);
                    for (int64_t s = 0; s < p->taps_w; ++s) {
                        const char *const *pixel = p->pixels + j * p->stride + s;
                        put_pairs(p, pixel[0], pixel[p->stride], c, left - c,
                                  pairs + s * p->x_copy + c / 16 * p->x_group, split);
                    }
                }
        }
}

static void copy_x(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t c0, char *to)
{
    if (p->split)
        copy_x_as(p, n, h, w, c0, to, true);
    else
        copy_x_as(p, n, h, w, c0, to, false);
}

/* A tile of dy: 16 pairs of pixels, turned round. */
ALWAYS_INLINE void put_tile(__m512i pairs[AMX_ROWS], char *to)
{
    amx_transpose(pairs);
    for (int i = 0; i < AMX_ROWS; ++i)
        _mm512_storeu_si512(to + i * 64, pairs[i]);
}

/* 32 pixels of dy, 32 channels from k on; `ahead` pixels further lie the next ones. */
static void copy_dy_step(const struct weight *p, const char *const *pixel, int64_t ahead, int64_t k,
                         int64_t left, char *to)
{
    __m512i low[AMX_ROWS], high[AMX_ROWS];
    for (int i = 0; i < AMX_ROWS; ++i) {
        _mm_prefetch(pixel[ahead + 2 * i] + 2 * k, _MM_HINT_T0);
        _mm_prefetch(pixel[ahead + 2 * i + 1] + 2 * k, _MM_HINT_T0);
        load_pairs(pixel[2 * i], pixel[2 * i + 1], k, left, &low[i], &high[i]);
    }
    put_tile(low, to);
    put_tile(high, to + p->dy_group);
}

static void copy_dy_step_split(const struct weight *p, const char *const *pixel, int64_t ahead,
                               int64_t k, int64_t left, char *to)
{
    for (int half = 0; half < 2; ++half, k += 16, left -= 16, to += p->dy_group) {
        __m512i tiles[AMX_PARTS][AMX_ROWS];
        for (int i = 0; i < AMX_ROWS; ++i) {
            vf pairs[AMX_PARTS];
            _mm_prefetch(pixel[ahead + 2 * i] + 4 * k, _MM_HINT_T0);
            _mm_prefetch(pixel[ahead + 2 * i + 1] + 4 * k, _MM_HINT_T0);
            load_pairs_split(pixel[2 * i], pixel[2 * i + 1], k, left, pairs);
            for (int part = 0; part < AMX_PARTS; ++part)
                tiles[part][i] = (__m512i)pairs[part];
        }
        for (int part = 0; part < AMX_PARTS; ++part)
            put_tile(tiles[part], to + part * p->dy_part);
    }
}

/* The copy of dy: [16 channels][part][step], tiles of AMX_DEPTH pixels for each channel. */
static void copy_dy(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t k0, char *to)
{
    const int64_t steps = p->pictures * p->steps, row_pixels = p->steps * AMX_DEPTH;
    for (int64_t i = 0; i < p->pictures; ++i)
        for (int64_t j = 0; j < row_pixels; j += p->pitch) /* the last may be cut */
            fill_pixels(&p->dy, n + i, h + j / p->pitch, w, 1,
                        ddpm_smaller(p->pitch, row_pixels - j),
                        j / p->pitch < p->rows ? p->dy.h : 0, ddpm_smaller(w + p->columns, p->dy.w),
                        k0, p->pixels + i * row_pixels + j);
    for (int64_t step = 0; step < steps; ++step)
        for (int64_t k = 0; k < p->k_block; k += 32) {
            const char *const *pixel = p->pixels + step * AMX_DEPTH;
            const int64_t ahead = step + 1 < steps ? AMX_DEPTH : 0; /* columns defeat prefetchers */
            const int64_t left = p->k_size - k0 - k;
            char *out = to + step * AMX_TILE + k / 16 * p->dy_group;
            if (p->split)
                copy_dy_step_split(p, pixel, ahead, k, left, out);
            else
                copy_dy_step(p, pixel, ahead, k, left, out);
        }
}

/* dbias of channels from k0 on, over a block. */
static void add_bias(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t k0,
                     float *dbias)
{
    const struct ddpm_tensor *dy = &p->dy;
    const int64_t end_n = ddpm_smaller(n + p->pictures, dy->n),
                  end_h = ddpm_smaller(h + p->rows, dy->h);
    const int64_t end_w = ddpm_smaller(w + p->columns, dy->w);
    const int64_t end_k = ddpm_smaller(k0 + p->k_block, p->k_size);
    for (int64_t k = k0; k < end_k; k += LANES) {
        vf sum = {0};
        for (int64_t i = n; i < end_n; ++i)
            for (int64_t y = h; y < end_h; ++y)
                for (int64_t z = w; z < end_w; ++z)
                    sum +=
                        vf_load_upto(dy->data, ((i * dy->h + y) * dy->w + z) * dy->pixel_stride + k,
                                     end_k - k, dy->dtype);
        vf_store_upto(dbias, k, vf_load_upto(dbias, k, end_k - k, DDPM_F32) + sum, end_k - k,
                      DDPM_F32);
    }
}

/* The products of all taps of a block whose copies are made: sums[c][k][tap], blocks of 32×32. */
static void weight_block(const struct weight *p, const char *x, const char *dy, bool first,
                         float *sums)
{
    const int64_t row = p->pitch / 2 * PAIR; /* a row of taps further */
    const int64_t taps = (int64_t)p->taps_h * p->taps_w;
    for (int64_t c = 0; c < p->c_block; c += AMX_BLOCK)
        for (int64_t k = 0; k < p->k_block; k += AMX_BLOCK)
            for (int64_t i = 0; i < taps; ++i, sums += AMX_BLOCK * AMX_BLOCK) {
                const int64_t s = i / p->taps_h, r = i % p->taps_h;
                const char *b = x + c / 16 * p->x_group;
                b += p->stride == 1 ? s * p->x_copy + r * row : (r * p->taps_w + s) * p->x_copy;
                const char *low = dy + k / 16 * p->dy_group, *high = low + p->dy_group;
                if (first)
                    amx_block_zero();
                else
                    amx_block_load(sums);
                for (int64_t n = 0; n < p->pictures; ++n, b += p->x_picture)
                    for (int64_t step = 0; step < p->steps; ++step) {
                        if (p->split)
                            amx_block_step_split(low, high, 64, p->dy_part, b + step * AMX_TILE,
                                                 p->x_part, p->x_group);
                        else
                            amx_block_step(low, high, 64, b + step * AMX_TILE, 64, p->x_group);
                        low += AMX_TILE;
                        high += AMX_TILE;
                    }
                amx_block_store(sums);
            }
    amx_fence();
}

/* Add a unit's sums to dw. */
static void put_sums(const struct weight *p, const float *sums, int64_t k0, int64_t c0, float *dw)
{
    const int64_t taps = (int64_t)p->taps_h * p->taps_w;
    for (int64_t c = c0; c < c0 + p->c_block; c += AMX_BLOCK)
        for (int64_t k = k0; k < k0 + p->k_block; k += AMX_BLOCK)
            for (int64_t i = 0; i < taps; ++i, sums += AMX_BLOCK * AMX_BLOCK)
                for (int64_t m = 0; m < AMX_BLOCK && k + m < p->k_size; ++m)
                    for (int64_t j = 0; j < AMX_BLOCK && c + j < p->c_size; j += LANES) {
                        const int64_t tap = i % p->taps_h * p->taps_w + i / p->taps_h;
                        float *to = dw + ((k + m) * taps + tap) * p->c_size + c + j;
                        const int64_t left = p->c_size - c - j;
                        vf sum = vf_load(amx_block_row(sums, m) + j / LANES * 256);
                        vf_store_upto(to, 0, vf_load_upto(to, 0, left, DDPM_F32) + sum, left,
                                      DDPM_F32);
                    }
}

static void weight_unit(const struct weight *shared, int64_t group, int64_t k0, int64_t c0,
                        char *memory)
{
    struct weight own = *shared, *p = &own;
    char *x = memory, *dy = x + p->x_bytes;
    float *sums = (float *)(void *)(dy + p->dy_bytes);
    p->pixels = (const char **)(void *)((char *)sums + p->sum_bytes);
    p->line = (char *)p->pixels + ddpm_align_up((size_t)p->pixel_count * sizeof(void *));
    float *dbias = p->dbias && c0 == 0 ? p->dbias + group * p->group_dbias : NULL;
    const int64_t begin = group * p->blocks / p->groups, end = (group + 1) * p->blocks / p->groups;
    for (int64_t block = begin; block < end; ++block) {
        const int64_t w = block % p->blocks_w * p->columns, line = block / p->blocks_w;
        const int64_t h = line % p->blocks_h * p->rows, n = line / p->blocks_h * p->pictures;
        copy_x(p, n, h, w, c0, x);
        copy_dy(p, n, h, w, k0, dy);
        amx_fence();
        weight_block(p, x, dy, block == begin, sums);
        if (dbias)
            add_bias(p, n, h, w, k0, dbias);
    }
    put_sums(p, sums, k0, c0, p->dw + group * p->group_dw);
}

static void weight_units(void *context, int64_t begin, int64_t end, int thread)
{
    const struct weight *p = context;
    amx_begin();
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t c = unit % p->c_blocks, rest = unit / p->c_blocks;
        int64_t k = rest % p->k_blocks, group = rest / p->k_blocks;
        weight_unit(p, group, k * p->k_block, c * p->c_block, p->memory + thread * p->thread_bytes);
    }
    amx_end();
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    const int threads = call->device->threads;
    const bool bias = ddpm_tensor_present(&call->out[1]);
    const int64_t units = p.groups * p.k_blocks * p.c_blocks;
    p.memory = call->scratch;
    p.dw = call->out[0].data;
    p.dbias = bias ? call->out[1].data : NULL;
    if (p.groups == 1) {
        ddpm_parallel_for(threads, units, 1, weight_units, &p);
        return DDPM_OK;
    }
    p.dw = (float *)(void *)(p.memory + threads * p.thread_bytes);
    p.dbias = bias ? p.dw + p.groups * p.group_dw : NULL;
    memset(p.dw, 0, (size_t)(p.groups * (p.group_dw + p.group_dbias)) * sizeof *p.dw);
    ddpm_parallel_for(threads, units, 1, weight_units, &p);
    SIMD(conv_add_groups)
    (threads, p.dw, p.group_dw, p.groups, ddpm_tensor_count(&call->out[0]), call->out[0].data);
    if (bias)
        SIMD(conv_add_groups)
    (threads, p.dbias, p.group_dbias, p.groups, p.k_size, call->out[1].data);
    return DDPM_OK;
}

const struct ddpm_kernel ddpm_conv2d_backward_weight_amx = {.name = "conv2d_backward_weight_amx",
                                                            .supports = weight_supports,
                                                            .prepare = weight_prepare,
                                                            .run = weight_run};

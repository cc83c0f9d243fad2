/* Gradient of convolution weights, of bf16 in matrix tiles (amx.h):
 *
 *   dw[k][r][s][c] += Σ_pixels dy[pixel][k] · x[pixel·stride + (r,s) - padding][c]
 *   dbias[k]       += Σ_pixels dy[pixel][k]
 *
 * The depth runs over pixels, so dy is turned round, [k][pixel], and x is laid in pairs of pixels,
 * [pair][c][2], once for every column of taps, shifted by it (the pairs differ); the rows of taps
 * then are offsets of whole rows. Pixels of a block of rows follow each other without a border,
 * and the tiles run over the ends of rows.
 *
 * A unit is (group of blocks, block of k, block of c). For each block it makes its copies, in L2,
 * and adds all taps' products to sums of its own. Groups of blocks have sums of their own, added up
 * in order at the end; how many there are depends on the shapes only, so the result does not depend
 * on the threads. */
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/conv.h"

#define BLOCK_PIXELS 512
#define BLOCK_CHANNELS 128     /* of k and of c */
#define BLOCK_CHANNELS_1X1 256 /* fewer products per number copied: copy each less often */
#define UNITS 32               /* cut the work at least so fine, for machines of many cores, but */
#define BLOCKS_PER_GROUP 8     /* sums of a group must be worth adding up */
#define SKEW 64                /* bytes between rows: they fall into different cache sets */

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
    int64_t pair, x_picture, x_copy; /* bytes between pairs, pictures, copies of x */
    int64_t dy_row;                  /* bytes between rows of dy's copy, of one k each */
    int64_t x_bytes, dy_bytes, sum_bytes, thread_bytes;
    float *dw, *dbias;             /* of group 0; group g's are g·stride further */
    int64_t group_dw, group_dbias; /* elements; 0 when there is one group */
    char *memory;
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

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
                     : smaller(ddpm_ceil_div(BLOCK_PIXELS, p.rows * p.pitch), p.dy.n);
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
    p.groups = smaller(p.groups, ddpm_ceil_div(p.blocks, BLOCKS_PER_GROUP));

    /* a stride leaves rows between those of one tap: every tap has a copy */
    p.x_rows = p.stride == 1 ? p.rows + p.taps_h - 1 : p.rows;
    p.copies = p.stride == 1 ? p.taps_w : p.taps_h * p.taps_w;
    p.pair = p.c_block * (int64_t)sizeof(float) + SKEW;
    p.x_picture = (p.x_rows * p.pitch / 2 + AMX_DEPTH / 2) * p.pair; /* steps may end behind it */
    p.x_copy = p.pictures * p.x_picture;
    p.dy_row = p.pictures * p.steps * AMX_DEPTH * (int64_t)sizeof(uint16_t) + SKEW;
    p.x_bytes = (int64_t)ddpm_align_up((size_t)(p.copies * p.x_copy));
    p.dy_bytes = p.k_block * p.dy_row;
    p.sum_bytes = p.k_block * p.c_block * p.taps_h * p.taps_w * (int64_t)sizeof(float);
    p.thread_bytes = p.x_bytes + p.dy_bytes + p.sum_bytes;
    if (p.groups > 1) {
        p.group_dw = ddpm_ceil_div(p.k_size * p.taps_h * p.taps_w * p.c_size, LANES) * LANES;
        p.group_dbias = ddpm_ceil_div(p.k_size, LANES) * LANES;
    }
    return p;
}

static bool weight_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_BF16 && call->in[1].dtype == DDPM_BF16 &&
           call->in[0].c >= AMX_DEPTH / 2 && call->in[1].c >= AMX_DEPTH / 2;
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    size_t sums = (size_t)(p.groups * (p.group_dw + p.group_dbias)) * sizeof(float);
    call->scratch_bytes = (size_t)(call->device->threads * p.thread_bytes) + sums;
    return DDPM_OK;
}

/* The first `count` ≤ 32 bf16 numbers; the others are 0. */
ALWAYS_INLINE __m512i load_upto(const uint16_t *from, int64_t count)
{
    return _mm512_maskz_loadu_epi16(count >= 32 ? ~0u : (1u << count) - 1, from);
}

/* Pixels of x in pairs under a row of a block: those at w, w + stride, …, `count` of them, at
 * channels [c, c + left); zeros where there is no pixel, and up to the block's channels. */
static void pair_row(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t count,
                     int64_t c, int64_t left, char *to)
{
    const __m512i low_half =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high_half = _mm512_add_epi16(low_half, _mm512_set1_epi16(16));
    const struct ddpm_tensor *x = &p->x;
    const bool inside = h >= 0 && h < x->h;
    const uint16_t *row = (const uint16_t *)x->data + (n * x->h + h) * x->w * x->pixel_stride + c;
    for (int64_t i = 0; i < p->pitch; i += 2, w += 2 * p->stride, to += p->pair) {
        const bool has_low = inside && i < count && w >= 0 && w < x->w;
        const bool has_high = inside && i + 1 < count && w + p->stride >= 0 && w + p->stride < x->w;
        const uint16_t *low = row + w * x->pixel_stride, *high = low + p->stride * x->pixel_stride;
        for (int64_t at = 0; at < p->c_block; at += 32) {
            __m512i a = _mm512_setzero_si512(), b = a;
            if (has_low && at < left)
                a = load_upto(low + at, left - at);
            if (has_high && at < left)
                b = load_upto(high + at, left - at);
            _mm512_storeu_si512(to + at * 4, _mm512_permutex2var_epi16(a, low_half, b));
            _mm512_storeu_si512(to + at * 4 + 64, _mm512_permutex2var_epi16(a, high_half, b));
        }
    }
}

/* The copies of x for a block whose first pixel of dy is (n, h, w). */
static void copy_x(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t c0, char *to)
{
    const int64_t left = p->c_size - c0, count = smaller(p->columns, p->dy.w - w);
    for (int64_t copy = 0; copy < p->copies; ++copy) {
        const int64_t r = copy / p->taps_w, s = copy % p->taps_w;
        for (int64_t i = 0; i < p->pictures; ++i) {
            char *picture = to + copy * p->x_copy + i * p->x_picture;
            const int64_t end = p->x_rows * p->pitch / 2 * p->pair;
            for (int64_t row = 0; row < p->x_rows && n + i < p->x.n; ++row)
                pair_row(p, n + i, (h + row) * p->stride + r - p->padding,
                         w * p->stride + s - p->padding, count, c0, left,
                         picture + row * (p->pitch / 2) * p->pair);
            if (n + i >= p->x.n)
                memset(picture, 0, (size_t)p->x_picture);
            else
                memset(picture + end, 0, (size_t)(p->x_picture - end));
        }
    }
}

/* dy's pixels [pixel, pixel + AMX_DEPTH) of one picture's part of a block, 16 channels from k on,
 * as 16 rows of AMX_DEPTH pixels. */
static void turn(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t pixel, int64_t k,
                 char *to)
{
    const struct ddpm_tensor *dy = &p->dy;
    const int64_t left = p->k_size - k, rows = smaller(p->rows, dy->h - h);
    const int64_t columns = smaller(p->columns, dy->w - w);
    const __mmask16 mask = left >= 16 ? 0xffff : left > 0 ? (__mmask16)((1u << left) - 1) : 0;
    __m512i pairs[16];
    int64_t i = pixel / p->pitch, j = pixel % p->pitch;
    for (int pair = 0; pair < 16; ++pair) {
        __m256i half[2];
        for (int odd = 0; odd < 2; ++odd) {
            half[odd] = _mm256_setzero_si256();
            if (i < rows && j < columns)
                half[odd] = _mm256_maskz_loadu_epi16(
                    mask, (const uint16_t *)dy->data +
                              ((n * dy->h + h + i) * dy->w + w + j) * dy->pixel_stride + k);
            if (++j == p->pitch) {
                j = 0;
                ++i;
            }
        }
        pairs[pair] = _mm512_or_si512(_mm512_cvtepu16_epi32(half[0]),
                                      _mm512_slli_epi32(_mm512_cvtepu16_epi32(half[1]), 16));
    }
    amx_transpose(pairs);
    for (int row = 0; row < 16; ++row)
        _mm512_storeu_si512(to + row * p->dy_row, pairs[row]);
}

static void copy_dy(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t k0, char *to)
{
    for (int64_t i = 0; i < p->pictures; ++i)
        for (int64_t step = 0; step < p->steps; ++step) {
            char *column = to + (i * p->steps + step) * 64;
            for (int64_t k = 0; k < p->k_block; k += 16) {
                if (n + i < p->dy.n)
                    turn(p, n + i, h, w, step * AMX_DEPTH, k0 + k, column + k * p->dy_row);
                else
                    for (int row = 0; row < 16; ++row)
                        memset(column + (k + row) * p->dy_row, 0, 64);
            }
        }
}

/* dbias of channels from k0 on, over a block. */
static void add_bias(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t k0,
                     float *dbias)
{
    const struct ddpm_tensor *dy = &p->dy;
    const int64_t end_n = smaller(n + p->pictures, dy->n), end_h = smaller(h + p->rows, dy->h);
    const int64_t end_w = smaller(w + p->columns, dy->w);
    const int64_t end_k = smaller(k0 + p->k_block, p->k_size);
    for (int64_t k = k0; k < end_k; k += LANES) {
        vf sum = {0};
        for (int64_t i = n; i < end_n; ++i)
            for (int64_t y = h; y < end_h; ++y)
                for (int64_t z = w; z < end_w; ++z)
                    sum +=
                        vf_load_upto(dy->data, ((i * dy->h + y) * dy->w + z) * dy->pixel_stride + k,
                                     end_k - k, DDPM_BF16);
        vf_store_upto(dbias, k, vf_load_upto(dbias, k, end_k - k, DDPM_F32) + sum, end_k - k,
                      DDPM_F32);
    }
}

/* The products of all taps of a block whose copies are made: sums[c][tap][k], blocks of 32×32. */
static void weight_block(const struct weight *p, const char *x, const char *dy, bool first,
                         float *sums)
{
    const int64_t row = p->pitch / 2 * p->pair; /* a row of taps further */
    for (int64_t c = 0; c < p->c_block; c += AMX_BLOCK)
        for (int64_t tap = 0; tap < (int64_t)p->taps_h * p->taps_w; ++tap) {
            const int64_t r = tap / p->taps_w, s = tap % p->taps_w;
            const char *b =
                x + c * 4 + (p->stride == 1 ? s * p->x_copy + r * row : tap * p->x_copy);
            for (int64_t k = 0; k < p->k_block; k += AMX_BLOCK, sums += AMX_BLOCK * AMX_BLOCK) {
                const char *low = dy + k * p->dy_row, *high = low + AMX_ROWS * p->dy_row;
                if (first)
                    amx_block_zero();
                else
                    amx_block_load(sums);
                for (int64_t i = 0; i < p->pictures; ++i)
                    for (int64_t step = 0; step < p->steps; ++step, low += 64, high += 64)
                        amx_block_step(low, high, p->dy_row,
                                       b + i * p->x_picture + step * (AMX_DEPTH / 2) * p->pair,
                                       p->pair, 64);
                amx_block_store(sums);
            }
        }
    amx_fence();
}

/* Add a unit's sums to dw. */
static void put_sums(const struct weight *p, const float *sums, int64_t k0, int64_t c0, float *dw)
{
    const int64_t taps = (int64_t)p->taps_h * p->taps_w;
    for (int64_t c = c0; c < c0 + p->c_block; c += AMX_BLOCK)
        for (int64_t tap = 0; tap < taps; ++tap)
            for (int64_t k = k0; k < k0 + p->k_block; k += AMX_BLOCK, sums += AMX_BLOCK * AMX_BLOCK)
                for (int64_t m = 0; m < AMX_BLOCK && k + m < p->k_size; ++m)
                    for (int64_t half = 0; half < AMX_BLOCK && c + half < p->c_size;
                         half += LANES) {
                        float *to = dw + ((k + m) * taps + tap) * p->c_size + c + half;
                        const int64_t left = p->c_size - c - half;
                        vf sum = vf_load(amx_block_row(sums, m) + half / LANES * 256);
                        vf_store_upto(to, 0, vf_load_upto(to, 0, left, DDPM_F32) + sum, left,
                                      DDPM_F32);
                    }
}

static void weight_unit(const struct weight *p, int64_t group, int64_t k0, int64_t c0, char *memory)
{
    char *x = memory, *dy = x + p->x_bytes;
    float *sums = (float *)(void *)(dy + p->dy_bytes);
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

/* Depthwise convolution of bf16 in matrix tiles (amx.h), stride 1, forward and gradient of x, which
 * is the same convolution of dy with the filter rotated by 180°:
 *
 *     y[b,h,w,c] = bias[c] + time[b,c] + Σ_{r,s} tap[r][s]·x[b,h+r-pad,w+s-pad]     for each c
 *
 * For one channel, 16 rows of 16 pixels of y are a matrix product for each row r of the filter:
 *
 *     y[h][w] += Σ_j x[h + r][j] · band[j][w],   band[j][w] = tap[r][j - w],  0 ≤ j < 32
 *
 * Four fifths of the band's numbers are zeros, and yet tiles take only two thirds of the time of
 * vectors. Rows of x come from a copy by channels: planes, whose rows start at the padding. Because
 * band[j][w] depends only on j - w, the 16 rows of its tile overlap in a line of 46 pairs, from
 * which the tile is loaded with a stride of -8 bytes.
 *
 * A unit of work is a block of pictures, rows and columns of up to 64 channels. It copies its
 * planes, and computes the products of four tiles at a time, channel by channel. While they run,
 * the next unit's part of x is prefetched into L2, and the sums of the previous channels are
 * rounded to pairs of channels; once there are 32 of these, they are transposed to pixels and
 * written with non-temporal stores. Statistics are moments of each tile and 32 channels.
 *
 * Packed: lines of pairs [channel][r][48]. Scratch: struct moments [B][tiles][32 channels], then
 * for each thread its planes, sums and pairs. */
#include "core/memory.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/depthwise.h"
#include "kernels/cpu/moments.h"

#define TILE 16     /* rows and columns of y in a tile */
#define CHANNELS 32 /* transposed together */
#define PAIRS (CHANNELS / 2)
#define BATCH 4 /* tiles at a time */
#define LINE 48 /* pairs of a packed row of the filter; 46 of them are read */
#define PART 8  /* rows written at once */
#define PARTS (BATCH * TILE / PART)
#define MOST_TAPS (AMX_DEPTH - TILE + 1)
#define BLOCK_ROWS 32
#define BLOCK_COLUMNS 128
#define PLANES_BYTES ((int64_t)768 << 10)
#define SKEW 64 /* bytes, which spread planes and pairs over the cache sets */
#define SUMS_BYTES                                                                                 \
    (4 * BATCH * AMX_TILE) /* of two channels being computed, and two being written */
#define SUM_FLOATS (BATCH * TILE * TILE)
#define PAIR_STRIDE (SUM_FLOATS + SKEW / 4)
#define UNITS_AT_ONCE 4 /* one after the other on a thread, so that it knows the next one */
#define FETCHED 3       /* pixels of the next unit to prefetch per filter row */

struct depthwise {
    const struct ddpm_call *call;
    struct ddpm_tensor x, y;
    int64_t rows, taps, pad_h, pad_w;                  /* R, S */
    int64_t channels;                                  /* of a unit */
    int64_t pictures, block_h, block_w;                /* of a unit; rows and columns of y */
    int64_t groups, blocks_n, blocks_h, blocks_w;      /* units along each */
    int64_t row, picture, plane;                       /* bytes between them in the copy */
    int64_t tiles_h, tiles_w, halves;                  /* tiles of a picture; 32 channels of it */
    int64_t planes_bytes, thread_bytes, moments_bytes; /* moments_bytes: 0, not wanted */
    bool lines;                                        /* 32 channels of y are a cache line */
    char *memory;
};

static struct depthwise depthwise_plan(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    struct depthwise p = {.call = call, .x = call->in[0], .y = call->out[0]};
    const bool turned = call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA;
    const int64_t wanted = DEPTHWISE_PIECES;
    p.rows = at->kernel_h;
    p.taps = at->kernel_w;
    p.pad_h = turned ? p.rows - 1 - at->padding : at->padding;
    p.pad_w = turned ? p.taps - 1 - at->padding : at->padding;
    p.tiles_h = ddpm_ceil_div(p.y.h, TILE);
    p.tiles_w = ddpm_ceil_div(p.y.w, TILE);
    p.halves = ddpm_ceil_div(p.y.c, CHANNELS);
    p.channels = p.halves > 1 ? 2 * CHANNELS : CHANNELS;
    p.groups = ddpm_ceil_div(p.y.c, p.channels);
    p.block_w = ddpm_smaller(p.tiles_w * TILE, BLOCK_COLUMNS);
    p.blocks_w = ddpm_ceil_div(p.y.w, p.block_w);
    p.block_h = ddpm_smaller(p.tiles_h * TILE, BLOCK_ROWS);
    if (p.groups * p.x.n * ddpm_ceil_div(p.y.h, p.block_h) * p.blocks_w < wanted)
        p.block_h = TILE;
    p.blocks_h = ddpm_ceil_div(p.y.h, p.block_h);
    p.row = ddpm_ceil_div(p.block_w - TILE + AMX_DEPTH, 32) * 64;
    p.picture = (p.block_h + p.rows - 1) * p.row;
    p.pictures = 1;
    if (p.blocks_h == 1 && p.blocks_w == 1) {
        int64_t most =
            ddpm_smaller(PLANES_BYTES / (p.channels * p.picture), p.groups * p.x.n / wanted);
        most = ddpm_smaller(most, BATCH);
        p.pictures = most < 1 ? 1 : most;
    }
    p.blocks_n = ddpm_ceil_div(p.x.n, p.pictures);
    p.plane = p.pictures * p.picture + SKEW;
    p.planes_bytes = p.channels * p.plane;
    p.thread_bytes = p.planes_bytes + SUMS_BYTES +
                     (int64_t)ddpm_align_up(PAIRS * PAIR_STRIDE * sizeof(uint32_t));
    if (!turned && ddpm_tensor_present(&call->out[1]))
        p.moments_bytes = (int64_t)ddpm_align_up(
            (size_t)(p.x.n * p.tiles_h * p.tiles_w * p.halves) * sizeof(struct moments));
    return p;
}

/* --- planes of x --- */

/* 32 pixels × 32 channels from c on (`left` of them exist), as 32 pixels of a channel's row. */
ALWAYS_INLINE void turn_pixels(const uint16_t *const *pixels, int64_t ahead, int64_t c,
                               int64_t left, char *to, int64_t plane)
{
    __m512i low[16], high[16];
    const __mmask32 mask = left >= 32 ? ~0u : left > 0 ? (1u << left) - 1 : 0;
    for (int k = 0; k < 16; ++k) {
        _mm_prefetch(pixels[ahead + 2 * k] + c, _MM_HINT_T0);
        _mm_prefetch(pixels[ahead + 2 * k + 1] + c, _MM_HINT_T0);
        const __m512i a = _mm512_maskz_loadu_epi16(mask, pixels[2 * k] + c);
        const __m512i b = _mm512_maskz_loadu_epi16(mask, pixels[2 * k + 1] + c);
        low[k] = _mm512_unpacklo_epi16(a, b);
        high[k] = _mm512_unpackhi_epi16(a, b);
    }
    amx_transpose(low);
    amx_transpose(high);
    for (int i = 0; i < 16; ++i) {
        _mm512_storeu_si512(to + (i / 4 * 8 + i % 4) * plane, low[i]);
        _mm512_storeu_si512(to + (i / 4 * 8 + i % 4 + 4) * plane, high[i]);
    }
}

/* Row h of picture n, from column w on, for channels from c on. */
static void copy_row(const struct depthwise *p, int64_t n, int64_t h, int64_t w, int64_t c,
                     char *to)
{
    static const uint16_t zeros[2 * CHANNELS] __attribute__((aligned(64)));
    const struct ddpm_tensor *x = &p->x;
    const int64_t count = p->row / 2;
    const uint16_t *pixels[BLOCK_COLUMNS + 2 * AMX_DEPTH];
    const uint16_t *row = (const uint16_t *)x->data + (n * x->h + h) * x->w * x->pixel_stride + c;
    if (h < 0 || h >= x->h) {
        for (int64_t i = 0; i < p->channels; ++i)
            memset(to + i * p->plane, 0, (size_t)p->row);
        return;
    }
    for (int64_t i = 0; i < count; ++i)
        pixels[i] = w + i >= 0 && w + i < x->w ? row + (w + i) * x->pixel_stride : zeros;
    for (int64_t i = 0; i < count; i += 32)
        for (int64_t half = 0; half < p->channels; half += CHANNELS)
            turn_pixels(pixels + i, i + 32 < count ? 32 : 0, half, x->c - c - half,
                        to + half * p->plane + 2 * i, p->plane);
}

/* --- products --- */

struct place {
    int64_t at;          /* of its first row in a plane */
    int64_t n, h, w;     /* its first pixel */
    int64_t rows, lanes; /* that exist */
};

/* The sums of two channels on their way to the buffer of pairs. */
struct put {
    const float *sums; /* [2][BATCH][TILE][TILE] */
    uint32_t *pairs;
    int64_t c;    /* first of the two, of CHANNELS */
    int64_t part; /* the next one */
};

/* Of a batch of tiles. */
struct batch {
    struct place places[BATCH];
    float start[BATCH][CHANNELS]; /* bias and time */
    int64_t channels;             /* that exist */
    bool statistics;
    float pivot[BATCH];
    vf sum[BATCH], squares[BATCH];
};

/* A part of a tile: PART rows, and those columns that are in `mask`. */
ALWAYS_INLINE void put_part_as(struct batch *batch, const struct put *put, int64_t part,
                               const bool statistics, const bool whole)
{
    const int64_t tile = part / (TILE / PART), first = part % (TILE / PART) * PART;
    const struct place *place = &batch->places[tile];
    const float *low_sums = put->sums + part * PART * TILE;
    const float *high_sums = low_sums + SUM_FLOATS;
    uint32_t *pairs = put->pairs + part * PART * TILE;
    const vf low_start = vf_set(batch->start[tile][put->c]);
    const vf high_start = vf_set(batch->start[tile][put->c + 1]);
    const __m512 pivot = _mm512_set1_ps(batch->pivot[tile]);
    const __mmask16 mask = whole ? 0xffff : (__mmask16)((1u << place->lanes) - 1);
    vf sum[2] = {{0}, {0}}, squares[2] = {{0}, {0}};
    for (int64_t row = 0; row < PART; ++row) {
        const vf low = vf_load(low_sums + row * TILE) + low_start;
        const vf high = vf_load(high_sums + row * TILE) + high_start;
        const vu both = vf_to_bf16_pairs(low, high);
        memcpy(pairs + row * TILE, &both, sizeof both);
        if (!statistics || (!whole && first + row >= place->rows))
            continue;
        const vf a = (vf)_mm512_maskz_sub_ps(mask, (__m512)low, pivot);
        const vf b =
            (vf)_mm512_maskz_sub_ps(put->c + 1 < batch->channels ? mask : 0, (__m512)high, pivot);
        sum[0] += a;
        sum[1] += b;
        squares[0] += a * a;
        squares[1] += b * b;
    }
    if (statistics) {
        batch->sum[tile] += sum[0] + sum[1];
        batch->squares[tile] += squares[0] + squares[1];
    }
}

static void put_part(struct batch *batch, struct put *put)
{
    const int64_t part = put->part++;
    const struct place *place = &batch->places[part / (TILE / PART)];
    if (!batch->statistics || put->c >= batch->channels)
        put_part_as(batch, put, part, false, true);
    else if (place->rows == TILE && place->lanes == TILE && put->c + 1 < batch->channels)
        put_part_as(batch, put, part, true, true);
    else
        put_part_as(batch, put, part, true, false);
}

/* Start with two channels: the first of them provides the pivots. */
static struct put put_begin(struct batch *batch, const float *sums, uint32_t *pairs, int64_t c)
{
    for (int i = 0; i < BATCH && c == 0; ++i)
        batch->pivot[i] = moments_pivot(sums[i * TILE * TILE] + batch->start[i][0]);
    return (struct put){.sums = sums, .pairs = pairs, .c = c, .part = 0};
}

/* Pixels still to be prefetched. */
struct fetch {
    const char *at;
    int64_t pixel, lines, left; /* bytes between pixels, lines of each, pixels */
};

ALWAYS_INLINE void fetch_some(struct fetch *fetch)
{
    for (int i = 0; i < FETCHED && fetch->left > 0; ++i, --fetch->left, fetch->at += fetch->pixel)
        for (int64_t line = 0; line < fetch->lines; ++line)
            _mm_prefetch(fetch->at + 64 * line, _MM_HINT_T1);
}

/* One channel: its four tiles' sums, while rows of the previous channels are written. */
ALWAYS_INLINE void multiply(const struct depthwise *p, struct batch *batch, struct put *put,
                            const char *plane, const char *line, float *sums, struct fetch *fetch)
{
    const char *a[BATCH];
    for (int i = 0; i < BATCH; ++i)
        a[i] = plane + batch->places[i].at;
    line += 4 * (AMX_DEPTH - 2); /* where the tile's first row starts */
    amx_block_zero();
    for (int64_t r = 0; r < p->rows; ++r, line += LINE * 4) {
        _tile_loadd(6, line, -8);
        _tile_loadd(4, a[0] + r * p->row, p->row);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, a[1] + r * p->row, p->row);
        _tile_dpbf16ps(1, 5, 6);
        _tile_loadd(7, a[2] + r * p->row, p->row);
        _tile_dpbf16ps(2, 7, 6);
        _tile_loadd(4, a[3] + r * p->row, p->row);
        _tile_dpbf16ps(3, 4, 6);
        if (put->part < PARTS)
            put_part(batch, put);
        fetch_some(fetch);
    }
    amx_block_store(sums);
    amx_fence();
}

/* The tile's rows of all pairs, transposed to pixels. */
static void write_tile(const struct depthwise *p, const struct place *place, const uint32_t *pairs,
                       int64_t c)
{
    const struct ddpm_tensor *y = &p->y;
    const int64_t left = y->c - c;
    const __mmask32 mask = left >= CHANNELS ? ~0u : (1u << left) - 1;
    for (int64_t row = 0; row < place->rows; ++row) {
        uint16_t *to = (uint16_t *)y->data +
                       ((place->n * y->h + place->h + row) * y->w + place->w) * y->pixel_stride + c;
        __m512i v[16];
        for (int i = 0; i < PAIRS; ++i)
            v[i] = _mm512_loadu_si512(pairs + i * PAIR_STRIDE + row * TILE);
        amx_transpose(v);
        for (int i = 0; i < TILE && i < place->lanes; ++i)
            if (p->lines && left >= CHANNELS)
                amx_write_line(to + i * y->pixel_stride, v[i]);
            else
                _mm512_mask_storeu_epi16(to + i * y->pixel_stride, mask, v[i]);
    }
}

static void put_moments(const struct depthwise *p, const struct batch *batch, int64_t tile,
                        int64_t c)
{
    const struct place *place = &batch->places[tile];
    const int64_t number = (place->n * p->tiles_h + place->h / TILE) * p->tiles_w + place->w / TILE;
    ((struct moments *)p->call->scratch)[number * p->halves + c / CHANNELS] =
        moments_of_block((double)(place->rows * place->lanes * batch->channels), batch->pivot[tile],
                         (double)vf_sum(batch->sum[tile]), (double)vf_sum(batch->squares[tile]));
}

/* CHANNELS channels from c on of the batch's tiles; the first `count` are written. */
static void run_batch(const struct depthwise *p, struct batch *batch, int64_t count, int64_t c,
                      const char *planes, char *buffers, struct fetch *fetch)
{
    float *sums = (float *)(void *)buffers;
    uint32_t *pairs = (uint32_t *)(void *)(buffers + SUMS_BYTES);
    const int64_t line_bytes = p->rows * LINE * 4;
    struct put put = {.part = PARTS};
    batch->statistics = p->moments_bytes > 0;
    batch->channels = ddpm_smaller(CHANNELS, p->y.c - c);
    for (int i = 0; i < BATCH; ++i) {
        batch->sum[i] = batch->squares[i] = (vf){0};
        for (int64_t k = 0; k < CHANNELS; k += LANES)
            vf_store(batch->start[i] + k, c + k < p->y.c
                                              ? depthwise_start(p->call, batch->places[i].n, c + k)
                                              : (vf){0});
    }
    for (int64_t i = 0; i < CHANNELS; ++i) {
        multiply(p, batch, &put, planes + i * p->plane,
                 (const char *)p->call->packed + (c + i) * line_bytes, sums + i % 4 * SUM_FLOATS,
                 fetch);
        if (i % 2) {
            while (put.part < PARTS)
                put_part(batch, &put);
            put = put_begin(batch, sums + (i % 4 - 1) * SUM_FLOATS, pairs + i / 2 * PAIR_STRIDE,
                            i - 1);
        }
    }
    while (put.part < PARTS)
        put_part(batch, &put);
    for (int64_t i = 0; i < count; ++i) {
        write_tile(p, &batch->places[i], pairs + i * TILE * TILE, c);
        if (batch->statistics)
            put_moments(p, batch, i, c);
    }
}

/* First picture, row, column, channel of a unit. Channels vary fastest, because they share
 * pages. */
struct origin {
    int64_t n, h, w, c;
};

static struct origin origin_of(const struct depthwise *p, int64_t unit)
{
    const int64_t group = unit % p->groups, column = unit / p->groups;
    const int64_t line = column / p->blocks_w;
    return (struct origin){.n = line / p->blocks_h * p->pictures,
                           .h = line % p->blocks_h * p->block_h,
                           .w = column % p->blocks_w * p->block_w,
                           .c = group * p->channels};
}

/* The pixels that a unit will copy, if they are contiguous. */
static struct fetch fetch_of(const struct depthwise *p, int64_t unit)
{
    const struct origin from = origin_of(p, unit);
    const struct ddpm_tensor *x = &p->x;
    const int64_t first = from.h - p->pad_h < 0 ? 0 : from.h - p->pad_h;
    const int64_t end = ddpm_smaller(x->h, from.h - p->pad_h + p->block_h + p->rows - 1);
    if (from.n >= x->n || p->blocks_w > 1)
        return (struct fetch){.left = 0};
    const int64_t pixel = (from.n * x->h + first) * x->w;
    return (struct fetch){.at = (const char *)x->data + 2 * (pixel * x->pixel_stride + from.c),
                          .pixel = 2 * x->pixel_stride,
                          .lines = p->channels / CHANNELS,
                          .left = ((p->pictures - 1) * x->h + end - first) * x->w};
}

static void run_unit(const struct depthwise *p, int64_t unit, char *memory)
{
    const struct origin from = origin_of(p, unit);
    const int64_t n0 = from.n, h0 = from.h, w0 = from.w, c0 = from.c;
    const int64_t pictures = ddpm_smaller(p->pictures, p->x.n - n0);
    const int64_t end_c = ddpm_smaller(p->y.c, c0 + p->channels);
    const int64_t rows = ddpm_smaller(p->block_h, p->y.h - h0);
    const int64_t columns = ddpm_smaller(p->block_w, p->y.w - w0);
    const int64_t tiles_w = ddpm_ceil_div(columns, TILE), tiles_h = ddpm_ceil_div(rows, TILE);
    const int64_t tiles = pictures * tiles_h * tiles_w;
    for (int64_t i = 0; i < pictures; ++i)
        for (int64_t r = 0; r < p->block_h + p->rows - 1; ++r)
            copy_row(p, n0 + i, h0 + r - p->pad_h, w0 - p->pad_w, c0,
                     memory + i * p->picture + r * p->row);
    amx_fence();
    struct fetch fetch = fetch_of(p, unit + 1);
    for (int64_t first = 0; first < tiles; first += BATCH) {
        struct batch batch;
        for (int64_t i = 0; i < BATCH; ++i) {
            const int64_t tile = ddpm_smaller(first + i, tiles - 1);
            const int64_t n = tile / (tiles_h * tiles_w), h = tile / tiles_w % tiles_h * TILE;
            const int64_t w = tile % tiles_w * TILE;
            batch.places[i] = (struct place){.at = n * p->picture + h * p->row + 2 * w,
                                             .n = n0 + n,
                                             .h = h0 + h,
                                             .w = w0 + w,
                                             .rows = ddpm_smaller(TILE, rows - h),
                                             .lanes = ddpm_smaller(TILE, columns - w)};
        }
        for (int64_t c = c0; c < end_c; c += CHANNELS)
            run_batch(p, &batch, ddpm_smaller(BATCH, tiles - first), c,
                      memory + (c - c0) * p->plane, memory + p->planes_bytes, &fetch);
    }
}

static void run_units(void *context, int64_t begin, int64_t end, int thread)
{
    const struct depthwise *p = context;
    amx_begin();
    for (int64_t unit = begin; unit < end; ++unit)
        run_unit(p, unit, p->memory + thread * p->thread_bytes);
    amx_lines_end();
    amx_end();
}

static ddpm_status depthwise_run(const struct ddpm_call *call)
{
    struct depthwise p = depthwise_plan(call);
    const int64_t units = p.groups * p.blocks_n * p.blocks_h * p.blocks_w;
    const int64_t at_once = units / (UNITS_AT_ONCE * call->device->threads);
    p.memory = (char *)call->scratch + p.moments_bytes;
    p.lines = amx_has_lines(&p.y);
    ddpm_parallel_for(call->device->threads, units,
                      at_once < 1 ? 1 : ddpm_smaller(at_once, UNITS_AT_ONCE), run_units, &p);
    if (p.moments_bytes)
        moments_finish_images(call, p.tiles_h * p.tiles_w * p.halves, &call->out[1]);
    return DDPM_OK;
}

static ddpm_status depthwise_prepare(struct ddpm_call *call)
{
    const struct depthwise p = depthwise_plan(call);
    call->packed_bytes = (size_t)(p.groups * p.channels * p.rows * LINE * 4);
    call->scratch_bytes = (size_t)(p.moments_bytes + call->device->threads * p.thread_bytes);
    return DDPM_OK;
}

/* Pair q of a line is (tap[r][30 - q], tap[r][31 - q]): row i of the tile starts at q = 30 - 2i. */
static ddpm_status depthwise_pack(const struct ddpm_call *call)
{
    const struct depthwise p = depthwise_plan(call);
    const struct ddpm_tensor *w = &call->in[1];
    const bool turned = call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA;
    uint16_t *to = call->packed;
    memset(to, 0, call->packed_bytes);
    for (int64_t c = 0; c < w->c; ++c)
        for (int64_t r = 0; r < p.rows; ++r, to += 2 * LINE)
            for (int64_t s = 0; s < p.taps; ++s) {
                const int64_t tap = r * p.taps + s, all = p.rows * p.taps;
                const uint16_t bits = ddpm_float_to_bf16(
                    ((const float *)w->data)[(turned ? all - 1 - tap : tap) * w->c + c]);
                to[2 * (AMX_DEPTH - 2 - s)] = bits;
                to[2 * (AMX_DEPTH - 1 - s) + 1] = bits;
            }
    return DDPM_OK;
}

/* If a row is one tile, half of its window is border, and vectors are faster. */
static bool depthwise_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1) && call->in[0].dtype == DDPM_BF16 && call->in[0].c >= AMX_ROWS &&
           call->in[0].w >= 2 * TILE && call->in[1].dtype == DDPM_F32 &&
           call->attributes.kernel_h <= DEPTHWISE_ROWS && call->attributes.kernel_w <= MOST_TAPS &&
           (call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA
                ? !ddpm_tensor_present(&call->in[2])
                : ((!ddpm_tensor_present(&call->in[3]) || call->in[3].dtype == DDPM_BF16) &&
                   (!ddpm_tensor_present(&call->out[1]) || call->out[1].dtype == DDPM_F32)));
}

const struct ddpm_kernel ddpm_depthwise_conv2d_tiles_amx = {.name = "depthwise_conv2d_tiles_amx",
                                                            .supports = depthwise_supports,
                                                            .prepare = depthwise_prepare,
                                                            .pack = depthwise_pack,
                                                            .run = depthwise_run};
const struct ddpm_kernel ddpm_depthwise_conv2d_backward_data_tiles_amx = {
    .name = "depthwise_conv2d_backward_data_tiles_amx",
    .supports = depthwise_supports,
    .prepare = depthwise_prepare,
    .pack = depthwise_pack,
    .run = depthwise_run};

/* 3×3 convolutions of stride 1 of fp32, forward and gradient of the data, in matrix tiles with
 * Winograd's F(4,3) along the rows:
 *
 *   1. v[place][row][tile][c] = Bᵀ x            6 places for 4 pixels of a row, see winograd.h
 *   2. p[place][row][tile][n] = Σ_r Σ_c v[place][row + r][tile][c] · u[place][r][c][n]
 *   3. y = bias + residual + Aᵀ p
 *
 * That is half of the products of direct convolution. F(4×4,3×3) halves them again, but its 36
 * places go through the caches, and tiles wait for those. Here the three rows of taps are summed in
 * the tiles. v and u are fp32 in three parts of bf16 (amx_layout.h).
 *
 * Each unit of work computes v for some rows and some columns of tiles, in a buffer that stays in
 * L2, with a border of zeros above and below each picture, in one plane per place; there a row of
 * taps is just an offset. Blocks are 32 tiles × 32 outputs. The order of every sum is independent
 * of the number of threads. */
#include "core/memory.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/winograd_1d.h"

#define BUFFER_BYTES ((int64_t)1040 << 10) /* of v */
#define UNIT_COLUMNS 8                     /* tiles in a row of a unit, at most */
#define UNITS_PER_THREAD 4
#define MOST_CHANNELS 256                       /* of x; more, or */
#define MOST_WEIGHTS (256 * 256)                /* this many go to F(4×4,3×3): units read all */
#define CHUNK_BYTES (AMX_PARTS * AMX_ROW_BYTES) /* of AMX_DEPTH channels */
#define STEP_BYTES (AMX_PARTS * AMX_PANEL_STEP)
#define SKEW 64 /* bytes between tiles of v, which spread them over the cache sets */

struct conv {
    struct ddpm_tensor x, y, residual;
    const float *bias; /* or NULL */
    const char *packed;
    int64_t chunks, panels, columns; /* columns: tiles of a row of y */
    int64_t unit_pictures, unit_rows, unit_columns, blocks_n, blocks_h, blocks_w, groups;
    int64_t tile, row, picture, plane; /* bytes between them in v */
    int64_t picture_tiles;             /* matrix tiles per unit in one picture */
    bool lines;                        /* see amx_has_lines() */
    char *buffers;
    int64_t unit_bytes;
};

static struct conv conv_plan(const struct ddpm_call *call)
{
    struct conv conv = {.x = call->in[0], .y = call->out[0], .packed = call->packed};
    if (call->op == DDPM_OP_CONV2D) {
        conv.residual = call->in[3];
        conv.bias = ddpm_tensor_present(&call->in[2]) ? call->in[2].data : NULL;
    }
    const int64_t wanted = UNITS_PER_THREAD * call->device->threads;
    const int64_t pictures = conv.x.n, height = conv.x.h;
    conv.chunks = ddpm_ceil_div(conv.x.c, AMX_DEPTH);
    conv.panels = ddpm_ceil_div(conv.y.c, AMX_BLOCK);
    conv.columns = ddpm_ceil_div(conv.x.w, F43_PIXELS);
    conv.blocks_w = ddpm_ceil_div(conv.columns, UNIT_COLUMNS);
    conv.unit_columns = ddpm_ceil_div(conv.columns, conv.blocks_w);
    conv.tile = conv.chunks * CHUNK_BYTES + SKEW;
    conv.row = conv.unit_columns * conv.tile;
    int64_t rows = BUFFER_BYTES / F43_PLACES / conv.row - (F43_TAPS - 1);
    rows = ddpm_smaller(rows < 1 ? 1 : rows, height);
    conv.unit_rows = ddpm_ceil_div(height, ddpm_ceil_div(height, rows));
    conv.picture = (conv.unit_rows + F43_TAPS - 1) * conv.row;
    conv.unit_pictures = 1;
    if (conv.unit_rows == height) {
        int64_t most = ddpm_smaller(BUFFER_BYTES / F43_PLACES / conv.picture, pictures / wanted);
        conv.unit_pictures = most < 1 ? 1 : most;
    }
    /* the last tile reads past the last row, for sums that are thrown away */
    conv.plane = conv.unit_pictures * conv.picture + AMX_ROWS * conv.tile;
    conv.picture_tiles = ddpm_ceil_div(conv.unit_rows * conv.unit_columns, AMX_ROWS);
    conv.blocks_n = ddpm_ceil_div(pictures, conv.unit_pictures);
    conv.blocks_h = ddpm_ceil_div(height, conv.unit_rows);
    const int64_t blocks = conv.blocks_n * conv.blocks_h * conv.blocks_w;
    conv.groups = ddpm_smaller(ddpm_ceil_div(wanted, blocks), conv.panels);
    conv.unit_bytes = (int64_t)ddpm_align_up((size_t)(F43_PLACES * conv.plane));
    return conv;
}

/* A unit's place: its first picture, row and column of tiles, and where those end. */
struct unit {
    char *v;
    int64_t n, h, w, n_end, h_end, w_end;
};

/* The places of a tile whose first pixel is at column w of a row of x, for 32 channels from c
 * on. */
ALWAYS_INLINE void transform_chunk(const struct conv *conv, const float *row, int64_t w, int64_t c,
                                   char *to, const bool inside)
{
    const int64_t stride = conv->x.pixel_stride, width = conv->x.w;
    vf v[2][F43_PLACES];
    for (int half = 0; half < 2; ++half) {
        const int64_t first = c + half * LANES;
        vf d[F43_PLACES];
        for (int j = 0; j < F43_PLACES; ++j) {
            const int64_t at = w + j - 1;
            const bool there = first < conv->x.c && (inside || (at >= 0 && at < width));
            d[j] = there ? vf_load(row + at * stride + first) : (vf){0};
            if (inside && j >= 2)
                fetch_ahead(row, at * stride + first, DDPM_F32);
        }
        input_1d(d, v[half]);
    }
    for (int place = 0; place < F43_PLACES; ++place, to += conv->plane)
        amx_put_split(to, AMX_ROW_BYTES, v[0][place], v[1][place]);
}

/* Compute v for a unit. */
static void transform_unit(const struct conv *conv, const struct unit *unit)
{
    const struct ddpm_tensor *x = &conv->x;
    for (int64_t n = unit->n; n < unit->n_end; ++n)
        for (int64_t i = 0; i < conv->unit_rows + F43_TAPS - 1; ++i) {
            const int64_t h = unit->h - 1 + i;
            char *to = unit->v + (n - unit->n) * conv->picture + i * conv->row;
            if (h < 0 || h >= x->h) {
                for (int place = 0; place < F43_PLACES; ++place)
                    memset(to + place * conv->plane, 0, (size_t)conv->row);
                continue;
            }
            const float *row = (const float *)x->data + (n * x->h + h) * x->w * x->pixel_stride;
            for (int64_t tile = unit->w; tile < unit->w_end; ++tile, to += conv->tile) {
                const int64_t w = tile * F43_PIXELS;
                const bool inside = w > 0 && w + F43_PIXELS < x->w;
                for (int64_t chunk = 0; chunk < conv->chunks; ++chunk)
                    if (inside && (chunk + 1) * AMX_DEPTH <= x->c)
                        transform_chunk(conv, row, w, chunk * AMX_DEPTH, to + chunk * CHUNK_BYTES,
                                        true);
                    else
                        transform_chunk(conv, row, w, chunk * AMX_DEPTH, to + chunk * CHUNK_BYTES,
                                        false);
            }
        }
}

/* A finished block of sums, to be written to y. */
struct put {
    const float *sums, *bias;  /* sums[F43_PLACES][AMX_SUMS], bias[AMX_BLOCK] */
    int64_t pixels[AMX_BLOCK]; /* in y, the first pixel of each tile; -1: none */
    int64_t n;                 /* first output */
    int64_t left;              /* tiles to write: the last ones */
};

/* Which pixels the matrix tiles at `at` and at the next place of a unit represent. */
static void fill_pixels(const struct conv *conv, const struct unit *unit, int64_t at,
                        int64_t *pixels)
{
    for (int64_t m = 0; m < AMX_BLOCK; ++m) {
        const int64_t tile = at + m / AMX_ROWS,
                      i = tile % conv->picture_tiles * AMX_ROWS + m % AMX_ROWS;
        const int64_t n = unit->n + tile / conv->picture_tiles;
        const int64_t h = unit->h + i / conv->unit_columns, w = unit->w + i % conv->unit_columns;
        const bool there = n < unit->n_end && h < unit->h_end && w < unit->w_end;
        pixels[m] = there ? (n * conv->y.h + h) * conv->y.w + w * F43_PIXELS : -1;
    }
}

/* Write the next `tiles` tiles of a block. */
static void put_tiles(const struct conv *conv, struct put *put, int64_t tiles)
{
    const struct ddpm_tensor *y = &conv->y, *residual = &conv->residual;
    const bool add = ddpm_tensor_present(residual);
    for (; tiles > 0 && put->left > 0; --tiles, --put->left) {
        const int64_t m = AMX_BLOCK - put->left, pixel = put->pixels[m];
        if (pixel < 0)
            continue;
        const int64_t count = ddpm_smaller(F43_PIXELS, y->w - pixel % y->w);
        for (int64_t i = 0; i < AMX_BLOCK && put->n + i < y->c; i += LANES) {
            const vf bias = vf_load(put->bias + i);
            const int64_t n = put->n + i;
            vf p[F43_PLACES], out[F43_PIXELS];
            for (int place = 0; place < F43_PLACES; ++place)
                p[place] = vf_load(amx_block_at(put->sums + place * AMX_SUMS, m, i));
            output_1d(p, out);
            for (int64_t j = 0; j < count; ++j) {
                vf value = out[j] + bias;
                if (add)
                    value += vf_load((const float *)residual->data +
                                     (pixel + j) * residual->pixel_stride + n);
                float *to = (float *)y->data + (pixel + j) * y->pixel_stride + n;
                if (conv->lines)
                    amx_write_line(to, (__m512i)value);
                else
                    vf_store(to, value);
            }
        }
    }
}

/* Prefetch the residual of a tile: a load that misses would stall the products. */
static void fetch_residual(const struct conv *conv, int64_t pixel, int64_t n)
{
    const struct ddpm_tensor *residual = &conv->residual;
    for (int64_t j = 0; pixel >= 0 && j < F43_PIXELS; ++j)
        for (int64_t i = 0; i < AMX_BLOCK; i += LANES)
            __builtin_prefetch((const float *)residual->data +
                               (pixel + j) * residual->pixel_stride + n + i);
}

/* One panel of outputs of a unit. While a block's products are computed, the previous block is
 * written and the residual of this one is prefetched. */
static void conv_panel(const struct conv *conv, const struct unit *unit, int64_t panel)
{
    float sums[2][F43_PLACES * AMX_SUMS] __attribute__((aligned(64)));
    float spare[AMX_TILE / sizeof(float)] __attribute__((aligned(64))), bias[AMX_BLOCK] = {0};
    const bool has_residual = ddpm_tensor_present(&conv->residual);
    const int64_t tiles = (unit->n_end - unit->n) * conv->picture_tiles;
    struct put puts[2] = {{.bias = bias, .n = panel * AMX_BLOCK},
                          {.bias = bias, .n = panel * AMX_BLOCK}};
    const int64_t n = panel * AMX_BLOCK;
    if (conv->bias)
        memcpy(bias, conv->bias + n, (size_t)ddpm_smaller(AMX_BLOCK, conv->y.c - n) * sizeof *bias);
    for (int64_t at = 0; at < tiles; at += 2) {
        struct put *put = &puts[at / 2 % 2], *before = &puts[1 - at / 2 % 2];
        const int64_t next = at + 1 < tiles ? at + 1 : at;
        const char *low = unit->v + at / conv->picture_tiles * conv->picture +
                          at % conv->picture_tiles * AMX_ROWS * conv->tile;
        const char *high = unit->v + next / conv->picture_tiles * conv->picture +
                           next % conv->picture_tiles * AMX_ROWS * conv->tile;
        const char *b = conv->packed + panel * F43_PLACES * conv->chunks * F43_TAPS * STEP_BYTES;
        int64_t steps = 0, fetched = has_residual ? 0 : AMX_BLOCK;
        fill_pixels(conv, unit, at, put->pixels);
        for (int place = 0; place < F43_PLACES; ++place, low += conv->plane, high += conv->plane) {
            amx_block_zero();
            for (int64_t chunk = 0; chunk < conv->chunks * CHUNK_BYTES; chunk += CHUNK_BYTES)
                for (int r = 0; r < F43_TAPS; ++r, b += STEP_BYTES) {
                    const int64_t from = chunk + r * conv->row;
                    amx_block_step_split(low + from, high + from, conv->tile, AMX_ROW_BYTES, b,
                                         AMX_PANEL_STEP, AMX_TILE);
                    put_tiles(conv, before, 1);
                    if (fetched < AMX_BLOCK)
                        fetch_residual(conv, put->pixels[fetched++], n);
                    if (++steps % AMX_SPLIT_STEPS_PER_STORE == 0)
                        amx_store_spare(spare);
                }
            amx_block_store(sums[at / 2 % 2] + place * AMX_SUMS);
        }
        put_tiles(conv, before, AMX_BLOCK);
        amx_fence();
        put->sums = sums[at / 2 % 2];
        put->left = AMX_BLOCK;
    }
    put_tiles(conv, &puts[0], AMX_BLOCK);
    put_tiles(conv, &puts[1], AMX_BLOCK);
}

static void conv_units(void *context, int64_t begin, int64_t end, int thread)
{
    const struct conv *conv = context;
    struct unit unit = {.v = conv->buffers + thread * conv->unit_bytes};
    amx_begin();
    for (int64_t i = begin; i < end; ++i) {
        const int64_t group = i % conv->groups, block = i / conv->groups;
        const int64_t last = (group + 1) * conv->panels / conv->groups,
                      line = block / conv->blocks_w;
        unit.w = block % conv->blocks_w * conv->unit_columns;
        unit.h = line % conv->blocks_h * conv->unit_rows;
        unit.n = line / conv->blocks_h * conv->unit_pictures;
        unit.w_end = ddpm_smaller(unit.w + conv->unit_columns, conv->columns);
        unit.h_end = ddpm_smaller(unit.h + conv->unit_rows, conv->y.h);
        unit.n_end = ddpm_smaller(unit.n + conv->unit_pictures, conv->y.n);
        transform_unit(conv, &unit);
        amx_fence();
        for (int64_t panel = group * conv->panels / conv->groups; panel < last; ++panel)
            conv_panel(conv, &unit, panel);
    }
    amx_lines_end();
    amx_end();
}

static ddpm_status conv_run(const struct ddpm_call *call)
{
    struct conv conv = conv_plan(call);
    conv.buffers = call->scratch;
    conv.lines = amx_has_lines(&conv.y) && conv.residual.data != conv.y.data;
    ddpm_parallel_for(call->device->threads,
                      conv.blocks_n * conv.blocks_h * conv.blocks_w * conv.groups, 1, conv_units,
                      &conv);
    return DDPM_OK;
}

static ddpm_status conv_prepare(struct ddpm_call *call)
{
    const struct conv conv = conv_plan(call);
    call->packed_bytes = (size_t)(conv.panels * F43_PLACES * conv.chunks * F43_TAPS * STEP_BYTES);
    call->scratch_bytes = (size_t)(call->device->threads * conv.unit_bytes);
    return DDPM_OK;
}

/* The three weights of a row of taps, `step` apart, for LANES consecutive elements: G w. */
ALWAYS_INLINE void transform_weights(const float *from, int64_t step, vf u[F43_PLACES])
{
    vf w[F43_TAPS];
    for (int s = 0; s < F43_TAPS; ++s)
        w[s] = vf_load(from + s * step);
    weights_1d(w, u);
}

/* Rows of one tile of b for each place and part. Forward, row i is output n + i with its pairs of
 * channels, still to be transposed; for the gradient, row i is the i-th pair of channels of dy. */
static void pack_rows(const struct ddpm_call *call, int64_t depth, int64_t n, int r,
                      vf rows[F43_PLACES][AMX_PARTS][AMX_ROWS])
{
    const struct ddpm_tensor *w = &call->in[1];
    const bool forward = call->op == DDPM_OP_CONV2D;
    const int64_t outputs = forward ? w->n : w->c, channels = forward ? w->c : w->n;
    const float *weights = w->data;
    for (int64_t i = 0; i < AMX_ROWS; ++i) {
        vf first[F43_PLACES] = {{0}}, second[F43_PLACES] = {{0}};
        if (forward && n + i < outputs) {
            const float *from = weights + ((n + i) * F43_TAPS + r) * F43_TAPS * w->c + depth;
            transform_weights(from, w->c, first);
            if (depth + LANES < channels)
                transform_weights(from + LANES, w->c, second);
        } else if (!forward && n < outputs) {
            const int64_t k = depth + i, last = F43_TAPS * F43_TAPS - 1 - r * F43_TAPS;
            if (k < channels)
                transform_weights(weights + (k * F43_TAPS * F43_TAPS + last) * w->c + n, -w->c,
                                  first);
            if (k + LANES < channels)
                transform_weights(weights + ((k + LANES) * F43_TAPS * F43_TAPS + last) * w->c + n,
                                  -w->c, second);
        }
        for (int place = 0; place < F43_PLACES; ++place)
            amx_put_split((char *)&rows[place][0][i], sizeof rows[place][0], first[place],
                          second[place]);
    }
}

/* packed[panel][place][chunk][r][part]: two tiles; units are (panel, chunk). */
static void pack_units(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const bool forward = call->op == DDPM_OP_CONV2D;
    const int64_t chunks = ddpm_ceil_div(call->in[0].c, AMX_DEPTH);
    for (int64_t unit = begin; unit < end; ++unit)
        for (int i = 0; i < 2 * F43_TAPS; ++i) {
            const int64_t panel = unit / chunks, chunk = unit % chunks, r = i / 2, half = i % 2;
            vf rows[F43_PLACES][AMX_PARTS][AMX_ROWS];
            pack_rows(call, chunk * AMX_DEPTH, panel * AMX_BLOCK + half * AMX_ROWS, (int)r, rows);
            for (int64_t place = 0; place < F43_PLACES; ++place)
                for (int64_t part = 0; part < AMX_PARTS; ++part) {
                    const int64_t step =
                        ((panel * F43_PLACES + place) * chunks + chunk) * F43_TAPS + r;
                    char *to = (char *)call->packed + step * STEP_BYTES + part * AMX_PANEL_STEP +
                               half * AMX_TILE;
                    if (forward)
                        amx_transpose((__m512i *)rows[place][part]);
                    memcpy(to, rows[place][part], AMX_TILE);
                }
        }
}

static ddpm_status conv_pack(const struct ddpm_call *call)
{
    const struct conv conv = conv_plan(call);
    ddpm_parallel_for(call->device->threads, conv.panels * conv.chunks, 1, pack_units,
                      (void *)(uintptr_t)call);
    return DDPM_OK;
}

static bool conv_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    const bool residual = call->op == DDPM_OP_CONV2D && ddpm_tensor_present(&call->in[3]);
    return winograd_rows_suit(call, x, y, AMX_ROWS) &&
           (!residual || call->in[3].dtype == DDPM_F32) && x->c <= MOST_CHANNELS &&
           x->c * y->c < MOST_WEIGHTS;
}

const struct ddpm_kernel ddpm_conv2d_rows_amx = {.name = "conv2d_rows_amx",
                                                 .supports = conv_supports,
                                                 .prepare = conv_prepare,
                                                 .pack = conv_pack,
                                                 .run = conv_run};

const struct ddpm_kernel ddpm_conv2d_backward_data_rows_amx = {.name =
                                                                   "conv2d_backward_data_rows_amx",
                                                               .supports = conv_supports,
                                                               .prepare = conv_prepare,
                                                               .pack = conv_pack,
                                                               .run = conv_run};

/* Convolutions in matrix tiles (amx.h), of bf16 or of fp32 in parts, forward and gradient of the
 * data:
 *
 *   y[pixel][n] = bias[n] + residual[pixel][n] + Σ_taps Σ_c x[pixel + tap][c] · w[n][tap][c]
 *
 * summed over chunks of AMX_DEPTH channels, then taps, then channels. bf16 products run sixteen
 * times as fast as with vectors, so direct convolution is faster here than just the transforms of
 * Winograd's would be. For fp32 this computes every convolution but 3×3 ones (conv_rows_amx.c).
 *
 * A tile needs pixels that are equally far apart. So each unit of work copies the rows of x that it
 * reads, with a border of zeros and whole chunks of channels, into a buffer that stays in L2; there
 * a tap is just an offset. Rows with many pixels are cut into tiles. The rows of small pictures
 * follow each other in tiles that extend over the border, and those sums are thrown away. If no
 * border is needed and the channels fill whole chunks, tiles are loaded from x itself. fp32 is
 * split into parts during the copy, chunk by chunk.
 *
 * A unit computes blocks of 32 pixels × 32 outputs: all its pixels for one panel of outputs, then
 * the next panel, so that a panel's weights stay in cache. The order of every sum is independent of
 * the number of threads. */
#include "core/memory.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/conv.h"

#define BUFFER_BYTES ((int64_t)768 << 10)       /* bytes of x that a unit copies */
#define BUFFER_BYTES_SPLIT ((int64_t)960 << 10) /* the same in parts */
#define UNIT_TILES 64                           /* of a unit that copies nothing */
#define UNITS_PER_THREAD 4
#define SKEW 64 /* bytes between pixels of the copy, which spread them over the cache sets */
#define FLAT_WIDTH                                                                                 \
    1024 /* width of the rows that pixels are split into if neighbours do not matter */
#define MOST_WINDOW 256 /* fp32 numbers under a row of the kernel */

/* y is computed on a grid of pixels, see conv_direct.simd.c. */
struct conv {
    struct ddpm_tensor x, y, residual;
    const float *bias; /* or NULL */
    int taps_h, taps_w, stride, pad_h, pad_w;
    int window; /* pixels of x that one pixel of the copy holds side by side: 1, or S for few
                   channels */
    int64_t grid_h, grid_w, grid_pixels; /* grid_pixels: in all pictures */
    int y_step, y_h0, y_w0;
    const char *packed;
    bool split;                                      /* x and weights are fp32, in parts */
    int64_t chunks, panels, chunk_bytes, step_bytes; /* of a pixel's chunk; of a step's weights */
    bool copied, lines;                              /* lines: of y, see amx_has_lines() */
    int64_t pixel, row, picture;                     /* bytes between them in the copy, or in x */
    int64_t width;                                   /* pixels of a row's tiles */
    int64_t picture_tiles;                           /* tiles per unit in one picture */
    int64_t unit_pictures, unit_rows, blocks_n, blocks_h, groups;
    char *buffers;
    int64_t copy_bytes, unit_bytes;
};

static int64_t conv_taps(const struct conv *conv)
{
    return (int64_t)conv->taps_h * conv->taps_w;
}

/* A 1×1 convolution of stride 1 needs no rows: all pixels are split into rows of FLAT_WIDTH (the
 * last may be partial), or form a single row. A copy takes whole rows. */
static void flatten(struct conv *conv)
{
    const int64_t pixels = conv->grid_pixels, width = ddpm_smaller(pixels, FLAT_WIDTH);
    if (conv_taps(conv) > 1 || conv->window > 1 || conv->stride > 1 || conv->y_step > 1 ||
        conv->pad_h > 0 || conv->pad_w > 0 || (conv->copied && pixels > FLAT_WIDTH))
        return;
    conv->x.n = conv->y.n = 1;
    conv->x.h = conv->y.h = conv->grid_h = ddpm_ceil_div(pixels, width);
    conv->x.w = conv->y.w = conv->grid_w = width;
}

/* How the work is split into units, from the shapes. */
static void conv_finish(struct conv *conv, const struct ddpm_call *call)
{
    conv->grid_pixels = conv->x.n * conv->grid_h * conv->grid_w;
    conv->packed = call->packed;
    conv->split = conv->x.dtype == DDPM_F32;
    conv->chunk_bytes = AMX_DEPTH * (int64_t)sizeof(uint16_t) * (conv->split ? AMX_PARTS : 1);
    conv->step_bytes = AMX_PANEL_STEP * (conv->split ? AMX_PARTS : 1);
    conv->chunks = ddpm_ceil_div(conv->window * conv->x.c, AMX_DEPTH);
    conv->panels = ddpm_ceil_div(conv->y.c, AMX_BLOCK);
    conv->copied = conv->split || conv->window > 1 || conv->pad_h > 0 || conv->pad_w > 0 ||
                   conv->x.c % AMX_DEPTH > 0;
    flatten(conv);
    if (conv->grid_w < AMX_ROWS)
        conv->copied = true;
    const int64_t pictures = conv->x.n, taps_h = conv->taps_h, stride = conv->stride;
    const int64_t wanted = UNITS_PER_THREAD * call->device->threads;
    conv->width = ddpm_ceil_div(conv->grid_w, AMX_ROWS) * AMX_ROWS;
    if (!conv->copied) {
        conv->pixel = conv->x.pixel_stride * (int64_t)sizeof(uint16_t);
        conv->row = conv->x.w * conv->pixel;
        conv->picture = conv->x.h * conv->row;
        conv->unit_pictures = 1;
        conv->unit_rows =
            ddpm_smaller(ddpm_ceil_div(UNIT_TILES * AMX_ROWS, conv->width), conv->grid_h);
    } else {
        const int64_t buffer_bytes = conv->split ? BUFFER_BYTES_SPLIT : BUFFER_BYTES;
        int64_t columns = (conv->grid_w - 1) * stride + conv->taps_w;
        conv->pixel = conv->chunks * conv->chunk_bytes + SKEW;
        conv->row = columns * conv->pixel;
        if (stride == 1 && columns < conv->width)
            conv->width = columns; /* tiles extend over the border */
        int64_t rows = (buffer_bytes / conv->row - taps_h) / stride + 1;
        rows = ddpm_smaller(rows < 1 ? 1 : rows, conv->grid_h);
        conv->unit_rows = ddpm_ceil_div(conv->grid_h, ddpm_ceil_div(conv->grid_h, rows));
        conv->picture = ((conv->unit_rows - 1) * stride + taps_h) * conv->row;
        conv->unit_pictures = 1;
        if (conv->unit_rows == conv->grid_h) {
            int64_t most = ddpm_smaller(buffer_bytes / conv->picture, pictures / wanted);
            conv->unit_pictures = most < 1 ? 1 : most;
        }
    }
    conv->picture_tiles = ddpm_ceil_div(
        (conv->unit_rows - 1) * conv->width + ddpm_smaller(conv->grid_w, conv->width), AMX_ROWS);
    conv->blocks_n = ddpm_ceil_div(pictures, conv->unit_pictures);
    conv->blocks_h = ddpm_ceil_div(conv->grid_h, conv->unit_rows);
    conv->groups =
        ddpm_smaller(ddpm_ceil_div(wanted, conv->blocks_n * conv->blocks_h), conv->panels);
    conv->copy_bytes = 0;
    if (conv->copied) /* the last tile reads past the last row, for sums that are thrown away */
        conv->copy_bytes = (int64_t)ddpm_align_up(
            (size_t)(conv->unit_pictures * conv->picture + AMX_ROWS * stride * conv->pixel));
    conv->unit_bytes =
        conv->copy_bytes +
        (int64_t)ddpm_align_up(
            (size_t)(conv->unit_pictures * (conv->picture_tiles + 1) * AMX_ROWS) *
            sizeof(int64_t)) +
        (int64_t)ddpm_align_up((size_t)(conv->unit_pictures * (conv->picture_tiles + 1)) *
                               sizeof(void *));
}

static struct conv conv_forward(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    struct conv conv = {.x = call->in[0],
                        .y = call->out[0],
                        .residual = call->in[3],
                        .bias = ddpm_tensor_present(&call->in[2]) ? call->in[2].data : NULL,
                        .taps_h = at->kernel_h,
                        .taps_w = at->kernel_w,
                        .stride = at->stride,
                        .pad_h = at->padding,
                        .pad_w = at->padding,
                        .grid_h = call->out[0].h,
                        .grid_w = call->out[0].w,
                        .window = 1,
                        .y_step = 1};
    if (ddpm_few_channels(call)) {
        conv.window = conv.taps_w;
        conv.taps_w = 1;
    }
    conv_finish(&conv, call);
    return conv;
}

static struct conv conv_backward(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    const bool strided = at->stride > 1;
    struct conv conv = {.x = call->in[0],
                        .y = call->out[0],
                        .taps_h = strided ? 1 : at->kernel_h,
                        .taps_w = strided ? 1 : at->kernel_w,
                        .stride = 1,
                        .pad_h = strided ? 0 : at->kernel_h - 1 - at->padding,
                        .pad_w = strided ? 0 : at->kernel_w - 1 - at->padding,
                        .grid_h = strided ? call->in[0].h : call->out[0].h,
                        .grid_w = strided ? call->in[0].w : call->out[0].w,
                        .window = 1,
                        .y_step = at->stride};
    conv_finish(&conv, call);
    return conv;
}

/* The pixels of a unit: where the first one of each tile is in the copy or in x, and which pixel of
 * y each of its rows belongs to; -1: none. */
struct unit {
    char *copy;
    int64_t *pixels;    /* [tiles][AMX_ROWS] */
    const char **tiles; /* [tiles], and the last one repeated */
    int64_t count;
};

/* The first `bytes` of a pixel of the copy, padded with zeros to a whole chunk. */
ALWAYS_INLINE void copy_pixel(char *to, const char *from, int64_t bytes)
{
    int64_t at = 0;
    for (; at + 64 <= bytes; at += 64) {
        fetch_ahead(from + at, 0, DDPM_BF16);
        memcpy(to + at, from + at, 64);
    }
    if (at < bytes) {
        memset(to + at, 0, 64);
        memcpy(to + at, from + at, (size_t)(bytes - at));
    }
}

/* The same of `count` fp32 numbers, in parts. */
ALWAYS_INLINE void copy_pixel_split(char *to, const float *from, int64_t count)
{
    for (int64_t c = 0; c < count; c += AMX_DEPTH) {
        const int64_t left = count - c;
        fetch_ahead(from, c, DDPM_F32);
        fetch_ahead(from, c + LANES, DDPM_F32);
        const vf high =
            left > LANES ? vf_load_upto(from, c + LANES, left - LANES, DDPM_F32) : (vf){0};
        amx_put_split(to, AMX_ROW_BYTES, vf_load_upto(from, c, left, DDPM_F32), high);
        to += AMX_PARTS * AMX_ROW_BYTES;
    }
}

/* As many adjacent numbers as a pixel of the copy holds. */
static void copy_numbers(const struct conv *conv, char *to, const char *from)
{
    if (conv->split)
        copy_pixel_split(to, (const float *)(const void *)from, conv->window * conv->x.c);
    else
        copy_pixel(to, from, conv->window * conv->x.c * (int64_t)sizeof(uint16_t));
}

/* A pixel whose window starts at column w of x: part of it is outside, or not contiguous. */
static void copy_window(const struct conv *conv, char *to, const char *row, int64_t w)
{
    const struct ddpm_tensor *x = &conv->x;
    const int64_t size = (int64_t)ddpm_dtype_size(x->dtype), bytes = x->c * size;
    char numbers[MOST_WINDOW * sizeof(float)] = {0};
    for (int64_t s = 0; s < conv->window; ++s)
        if (w + s >= 0 && w + s < x->w)
            memcpy(numbers + s * bytes, row + (w + s) * x->pixel_stride * size, (size_t)bytes);
    copy_numbers(conv, to, numbers);
}

/* Rows of x under rows [h, h + unit_rows) of the grid of one picture. */
static void copy_picture(const struct conv *conv, int64_t n, int64_t h, char *to)
{
    const struct ddpm_tensor *x = &conv->x;
    const int64_t rows = conv->picture / conv->row, columns = conv->row / conv->pixel;
    const int64_t from_pixel = x->pixel_stride * (int64_t)ddpm_dtype_size(x->dtype);
    const bool together = conv->window == 1 || ddpm_tensor_dense(x);
    for (int64_t i = 0; i < rows; ++i, to += conv->row) {
        const int64_t x_h = h * conv->stride - conv->pad_h + i;
        if (x_h < 0 || x_h >= x->h) {
            memset(to, 0, (size_t)conv->row);
            continue;
        }
        const char *from = (const char *)x->data + (n * x->h + x_h) * x->w * from_pixel;
        for (int64_t j = 0; j < columns; ++j) {
            const int64_t x_w = j - conv->pad_w;
            char *pixel = to + j * conv->pixel;
            if (x_w >= 0 && x_w + conv->window <= x->w && together)
                copy_numbers(conv, pixel, from + x_w * from_pixel);
            else if (conv->window > 1)
                copy_window(conv, pixel, from, x_w);
            else
                memset(pixel, 0, (size_t)conv->pixel);
        }
    }
}

/* One tile, whose first pixel is at (h, w) of the picture's grid. If the row ends inside the tile,
 * and the tile is not in a copy, it starts earlier so as not to read past the end; the tile before
 * has already computed those pixels. */
static void put_tile(const struct conv *conv, struct unit *unit, int64_t n, const char *rows,
                     int64_t first_h, int64_t h, int64_t w)
{
    const int64_t step = conv->stride * conv->pixel;
    const int64_t end_h = ddpm_smaller(conv->grid_h, first_h + conv->unit_rows);
    int64_t *pixels = unit->pixels + unit->count * AMX_ROWS, skipped = 0;
    if (!conv->copied) {
        int64_t left = conv->grid_pixels - (n * conv->grid_h + h) * conv->grid_w - w;
        left = ddpm_smaller(left, conv->grid_w - w);
        skipped = left < AMX_ROWS ? AMX_ROWS - left : 0;
    }
    unit->tiles[unit->count++] =
        rows + (h - first_h) * conv->stride * conv->row + (w - skipped) * step;
    for (int64_t m = 0; m < skipped; ++m)
        pixels[m] = -1;
    for (int64_t m = skipped; m < AMX_ROWS; ++h, w = 0) {
        const int64_t row =
            (n * conv->y.h + h * conv->y_step + conv->y_h0) * conv->y.w + conv->y_w0;
        for (; m < AMX_ROWS && w < conv->width; ++m, ++w)
            pixels[m] = w < conv->grid_w && h < end_h ? row + w * conv->y_step : -1;
    }
}

static void fill_unit(const struct conv *conv, int64_t block, struct unit *unit)
{
    const int64_t first_n = block / conv->blocks_h * conv->unit_pictures;
    const int64_t first_h = block % conv->blocks_h * conv->unit_rows;
    const int64_t end_n = ddpm_smaller(conv->x.n, first_n + conv->unit_pictures);
    unit->count = 0;
    for (int64_t n = first_n; n < end_n; ++n) {
        const char *rows;
        if (conv->copied) {
            char *copy = unit->copy + (n - first_n) * conv->picture;
            copy_picture(conv, n, first_h, copy);
            rows = copy;
        } else {
            rows =
                (const char *)conv->x.data + n * conv->picture + first_h * conv->stride * conv->row;
        }
        for (int64_t tile = 0; tile < conv->picture_tiles; ++tile) {
            int64_t h = first_h + tile * AMX_ROWS / conv->width;
            int64_t w = tile * AMX_ROWS % conv->width;
            bool there = h < conv->grid_h && (w < conv->grid_w || conv->copied) &&
                         (n * conv->grid_h + h) * conv->grid_w + w < conv->grid_pixels;
            if (there)
                put_tile(conv, unit, n, rows, first_h, h, w);
        }
    }
    if (unit->count % 2) {
        unit->tiles[unit->count] = unit->tiles[unit->count - 1];
        for (int m = 0; m < AMX_ROWS; ++m)
            unit->pixels[unit->count * AMX_ROWS + m] = -1;
        ++unit->count;
    }
}

/* A finished block of sums, to be written to y. */
struct put {
    const float *sums, *bias; /* bias[AMX_BLOCK] */
    const int64_t *pixels;
    int64_t n;    /* first output */
    int64_t left; /* rows to write: the last ones */
};

/* Write the next `rows` rows of a block; `whole`: all its outputs exist. */
ALWAYS_INLINE void put_rows(const struct conv *conv, struct put *put, int64_t rows,
                            const enum ddpm_dtype dtype, const bool whole)
{
    const struct ddpm_tensor *y = &conv->y, *residual = &conv->residual;
    const int64_t low_count = whole ? LANES : y->c - put->n, high_count = low_count - LANES;
    const bool has_high = whole || high_count > 0;
    for (; rows > 0 && put->left > 0; --rows, --put->left) {
        const int64_t m = AMX_BLOCK - put->left, pixel = put->pixels[m];
        if (pixel < 0)
            continue;
        vf low = vf_load(amx_block_at(put->sums, m, 0)) + vf_load(put->bias);
        vf high = vf_load(amx_block_at(put->sums, m, LANES)) + vf_load(put->bias + LANES);
        if (ddpm_tensor_present(residual)) {
            const int64_t from = pixel * residual->pixel_stride + put->n;
            low += vf_load_upto(residual->data, from, low_count, dtype);
            if (has_high)
                high +=
                    vf_load_upto(residual->data, from + LANES, whole ? LANES : high_count, dtype);
        }
        const int64_t to = pixel * y->pixel_stride + put->n;
        if (whole && dtype == DDPM_BF16 && conv->lines) {
            amx_write_line((uint16_t *)y->data + to,
                           (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
            continue;
        }
        if (whole && dtype == DDPM_F32 && conv->lines) {
            amx_write_line((float *)y->data + to, (__m512i)low);
            amx_write_line((float *)y->data + to + LANES, (__m512i)high);
            continue;
        }
        vf_store_upto(y->data, to, low, low_count, dtype);
        if (has_high)
            vf_store_upto(y->data, to + LANES, high, whole ? LANES : high_count, dtype);
    }
}

/* Prefetch the residual of `rows` pixels: a load that misses would stall the products. */
ALWAYS_INLINE void fetch_residual(const struct conv *conv, const int64_t *pixels, int64_t n,
                                  int rows)
{
    const struct ddpm_tensor *residual = &conv->residual;
    const int64_t size = residual->dtype == DDPM_F32 ? 4 : 2;
    for (int m = 0; m < rows; ++m) {
        const int64_t pixel = pixels[m] < 0 ? 0 : pixels[m];
        const char *from =
            (const char *)residual->data + (pixel * residual->pixel_stride + n) * size;
        for (int64_t line = 0; line < AMX_BLOCK * size; line += 64)
            __builtin_prefetch(from + line);
    }
}

/* One panel of outputs. While a block's products are computed, the previous block is written and
 * the residual of this one is prefetched. */
ALWAYS_INLINE void conv_panel_as(const struct conv *conv, const struct unit *unit, int64_t panel,
                                 const enum ddpm_dtype dtype, const bool whole, const bool split)
{
    float sums[2][AMX_BLOCK_BYTES / sizeof(float)] __attribute__((aligned(64)));
    float spare[AMX_TILE / sizeof(float)] __attribute__((aligned(64))), bias[AMX_BLOCK] = {0};
    const int64_t taps = conv_taps(conv), step = conv->stride * conv->pixel;
    const bool has_residual = ddpm_tensor_present(&conv->residual);
    const int64_t parts = split ? AMX_PARTS : 1;
    const int64_t chunk_bytes = parts * AMX_DEPTH * (int64_t)sizeof(uint16_t);
    const int64_t step_bytes = parts * AMX_PANEL_STEP;
    const char *packed = conv->packed + panel * conv->chunks * taps * step_bytes;
    struct put put = {.bias = bias, .n = panel * AMX_BLOCK};
    if (conv->bias)
        memcpy(bias, conv->bias + put.n,
               (size_t)ddpm_smaller(AMX_BLOCK, conv->y.c - put.n) * sizeof *bias);
    for (int64_t tile = 0; tile < unit->count; tile += 2) {
        const char *low = unit->tiles[tile], *high = unit->tiles[tile + 1], *b = packed;
        const int64_t *pixels = unit->pixels + tile * AMX_ROWS;
        float *block = sums[tile / 2 % 2];
        int64_t since_store = 0, fetched = has_residual ? 0 : AMX_BLOCK;
        amx_block_zero();
        for (int64_t chunk = 0; chunk < conv->chunks;
             ++chunk, low += chunk_bytes, high += chunk_bytes)
            for (int64_t r = 0; r < conv->taps_h; ++r) {
                for (int64_t s = 0; s < conv->taps_w; ++s, b += step_bytes) {
                    const int64_t at = r * conv->row + s * conv->pixel;
                    if (split)
                        amx_block_step_split(low + at, high + at, step, AMX_ROW_BYTES, b,
                                             AMX_PANEL_STEP, AMX_TILE);
                    else
                        amx_block_step(low + at, high + at, step, b, AMX_ROW_BYTES, AMX_TILE);
                    put_rows(conv, &put, 2, dtype, whole);
                    if (fetched < AMX_BLOCK) {
                        fetch_residual(conv, pixels + fetched, put.n, 2);
                        fetched += 2;
                    }
                }
                since_store += conv->taps_w * (split ? AMX_PRODUCTS : 1);
                if (since_store >= AMX_STEPS_PER_STORE) {
                    since_store = 0;
                    amx_store_spare(spare);
                }
            }
        put_rows(conv, &put, AMX_BLOCK, dtype, whole);
        put.sums = block;
        put.pixels = pixels;
        put.left = AMX_BLOCK;
        amx_block_store(block);
        amx_fence();
    }
    put_rows(conv, &put, AMX_BLOCK, dtype, whole);
}

static void conv_panel(const struct conv *conv, const struct unit *unit, int64_t panel)
{
    const bool whole = (panel + 1) * AMX_BLOCK <= conv->y.c;
    if (conv->split && whole)
        conv_panel_as(conv, unit, panel, DDPM_F32, true, true);
    else if (conv->split)
        conv_panel_as(conv, unit, panel, DDPM_F32, false, true);
    else if (conv->y.dtype == DDPM_F32)
        conv_panel_as(conv, unit, panel, DDPM_F32, false, false);
    else if (whole)
        conv_panel_as(conv, unit, panel, DDPM_BF16, true, false);
    else
        conv_panel_as(conv, unit, panel, DDPM_BF16, false, false);
}

static void conv_units(void *context, int64_t begin, int64_t end, int thread)
{
    const struct conv *conv = context;
    char *memory = conv->buffers + thread * conv->unit_bytes;
    struct unit unit = {.copy = memory, .pixels = (int64_t *)(void *)(memory + conv->copy_bytes)};
    const int64_t tiles = conv->unit_pictures * (conv->picture_tiles + 1);
    unit.tiles = (const char **)(void *)(unit.pixels + tiles * AMX_ROWS);
    amx_begin();
    for (int64_t i = begin; i < end; ++i) {
        int64_t group = i % conv->groups, last = (group + 1) * conv->panels / conv->groups;
        fill_unit(conv, i / conv->groups, &unit);
        amx_fence();
        for (int64_t panel = group * conv->panels / conv->groups; panel < last; ++panel)
            conv_panel(conv, &unit, panel);
    }
    amx_lines_end();
    amx_end();
}

static void conv_run(struct conv *conv, const struct ddpm_call *call)
{
    conv->buffers = call->scratch;
    conv->lines = amx_has_lines(&conv->y) && conv->residual.data != conv->y.data;
    ddpm_parallel_for(call->device->threads, conv->blocks_n * conv->blocks_h * conv->groups, 1,
                      conv_units, conv);
}

static void conv_prepare(const struct conv *conv, struct ddpm_call *call, int64_t taps)
{
    call->packed_bytes = (size_t)(conv->panels * conv->chunks * taps * conv->step_bytes);
    call->scratch_bytes = (size_t)(call->device->threads * conv->unit_bytes);
}

/* bf16; or fp32, unless it is to be multiplied directly. */
static bool suits(const struct ddpm_call *call)
{
    const enum ddpm_dtype x = call->in[0].dtype, y = call->out[0].dtype;
    return x == DDPM_BF16 ? is_activation_dtype(y) : x == DDPM_F32 && y == DDPM_F32;
}

/* --- forward --- */

static bool forward_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *residual = &call->in[3], *x = &call->in[0];
    const bool few = ddpm_few_channels(call) && call->attributes.kernel_w * x->c <= MOST_WINDOW;
    return suits(call) && (x->c >= AMX_DEPTH / 2 || few) &&
           (!ddpm_tensor_present(residual) || residual->dtype == call->out[0].dtype) &&
           ddpm_tensor_dense(&call->in[1]);
}

static ddpm_status forward_prepare(struct ddpm_call *call)
{
    struct conv conv = conv_forward(call);
    conv_prepare(&conv, call, conv_taps(&conv));
    return DDPM_OK;
}

/* packed[panel][chunk][tap][part]: two tiles of [pair of channels][output]; units are (panel,
 * chunk). */
static void forward_pack_units(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *w = &call->in[1];
    const int64_t window = ddpm_few_channels(call) ? w->w : 1, channels = window * w->c;
    const int64_t chunks = ddpm_ceil_div(channels, AMX_DEPTH), taps = w->h * w->w / window;
    const int64_t parts = call->in[0].dtype == DDPM_F32 ? AMX_PARTS : 1;
    for (int64_t unit = begin; unit < end; ++unit)
        for (int64_t tile = 0; tile < 2 * parts * taps; ++tile) {
            const int64_t c = unit % chunks * AMX_DEPTH, left = channels - c;
            const int64_t n = unit / chunks * AMX_BLOCK + tile % 2 * AMX_ROWS;
            const int64_t tap = tile / 2 / parts, part = tile / 2 % parts;
            char *to = (char *)call->packed + (unit * 2 * parts * taps + tile) * AMX_TILE;
            __m512i rows[AMX_ROWS];
            for (int64_t i = 0; i < AMX_ROWS; ++i) {
                const float *from = (const float *)w->data + ((n + i) * taps + tap) * channels + c;
                vf a = {0}, b = {0};
                if (n + i < w->n) {
                    a = vf_load_upto(from, 0, left, DDPM_F32);
                    if (left > LANES)
                        b = vf_load_upto(from, LANES, left - LANES, DDPM_F32);
                }
                if (parts > 1) /* pairs as in amx_put_split() */
                    rows[i] = (__m512i)vf_to_bf16_pairs(amx_part(a, part), amx_part(b, part));
                else
                    rows[i] = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
            }
            amx_transpose(rows);
            memcpy(to, rows, sizeof rows);
        }
}

static int64_t pack_units(int64_t depth, int64_t outputs)
{
    return ddpm_ceil_div(depth, AMX_DEPTH) * ddpm_ceil_div(outputs, AMX_BLOCK);
}

static ddpm_status forward_pack(const struct ddpm_call *call)
{
    const struct ddpm_tensor *w = &call->in[1];
    const int64_t channels = ddpm_few_channels(call) ? w->w * w->c : w->c;
    ddpm_parallel_for(call->device->threads, pack_units(channels, w->n), 4, forward_pack_units,
                      (void *)(uintptr_t)call);
    return DDPM_OK;
}

static ddpm_status forward_run(const struct ddpm_call *call)
{
    struct conv conv = conv_forward(call);
    conv_run(&conv, call);
    return DDPM_OK;
}

/* --- gradient of the data --- */

static bool backward_supports(const struct ddpm_call *call)
{
    /* with a stride, every tap would copy and split dy again */
    const bool split = call->in[0].dtype == DDPM_F32;
    return suits(call) && !(split && call->attributes.stride > 1) &&
           call->in[0].c >= AMX_DEPTH / 2 && ddpm_tensor_dense(&call->in[1]) &&
           ddpm_conv_backward_suits(call);
}

static ddpm_status backward_prepare(struct ddpm_call *call)
{
    struct conv conv = conv_backward(call);
    conv_prepare(&conv, call, call->in[1].h * call->in[1].w);
    return DDPM_OK;
}

/* The depth is k: packed[panel][chunk][tap][part] with the taps reversed; strided:
 * [tap][panel][chunk][part]. */
static void backward_pack_units(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *w = &call->in[1];
    const bool strided = call->attributes.stride > 1;
    const int64_t chunks = ddpm_ceil_div(w->n, AMX_DEPTH), taps = w->h * w->w;
    const int64_t units = pack_units(w->n, w->c), row = taps * w->c;
    const int64_t parts = call->in[0].dtype == DDPM_F32 ? AMX_PARTS : 1;
    const int64_t apart = parts > 1 ? LANES : 1; /* the two k of a pair, see amx_put_split() */
    for (int64_t unit = begin; unit < end; ++unit)
        for (int64_t tile = 0; tile < taps * parts; ++tile) {
            const int64_t tap = tile / parts, part = tile % parts;
            const int64_t step = strided ? tap * units + unit : unit * taps + taps - 1 - tap;
            char *to = (char *)call->packed + (step * parts + part) * AMX_PANEL_STEP;
            const int64_t k0 = unit % chunks * AMX_DEPTH, c0 = unit / chunks * AMX_BLOCK;
            for (int64_t i = 0; i < 2 * AMX_ROWS; ++i, to += sizeof(vu)) {
                const int64_t k = k0 + i % AMX_ROWS * (parts > 1 ? 1 : 2);
                const int64_t c = c0 + i / AMX_ROWS * LANES;
                const float *from = (const float *)w->data + k * row + tap * w->c + c;
                vf low = {0}, high = {0};
                if (c < w->c && k < w->n)
                    low = vf_load_upto(from, 0, w->c - c, DDPM_F32);
                if (c < w->c && k + apart < w->n)
                    high = vf_load_upto(from, apart * row, w->c - c, DDPM_F32);
                if (parts > 1) {
                    low = amx_part(low, part);
                    high = amx_part(high, part);
                }
                const vu pairs = vf_to_bf16_pairs(low, high);
                memcpy(to, &pairs, sizeof pairs);
            }
        }
}

static ddpm_status backward_pack(const struct ddpm_call *call)
{
    const struct ddpm_tensor *w = &call->in[1];
    ddpm_parallel_for(call->device->threads, pack_units(w->n, w->c), 4, backward_pack_units,
                      (void *)(uintptr_t)call);
    return DDPM_OK;
}

static ddpm_status backward_run(const struct ddpm_call *call)
{
    struct conv conv = conv_backward(call);
    const int stride = call->attributes.stride;
    if (stride == 1) {
        conv_run(&conv, call);
        return DDPM_OK;
    }
    ddpm_conv_zero_unreached(call);
    for (int tap = 0; tap < stride * stride; ++tap) {
        conv.y_h0 = tap / stride;
        conv.y_w0 = tap % stride;
        conv_run(&conv, call);
        conv.packed += conv.panels * conv.chunks * conv.step_bytes;
    }
    return DDPM_OK;
}

const struct ddpm_kernel ddpm_conv2d_amx = {.name = "conv2d_amx",
                                            .supports = forward_supports,
                                            .prepare = forward_prepare,
                                            .pack = forward_pack,
                                            .run = forward_run};

const struct ddpm_kernel ddpm_conv2d_backward_data_amx = {.name = "conv2d_backward_data_amx",
                                                          .supports = backward_supports,
                                                          .prepare = backward_prepare,
                                                          .pack = backward_pack,
                                                          .run = backward_run};

/* 3×3 convolutions of stride 1 of fp32 with many channels, forward and gradient of the data, with
 * Winograd's F(4×4,3×3) in matrix tiles. See winograd.h for the mathematics.
 *
 *   1. v[place][tile][c] = Bᵀ x B
 *   2. p[place][tile][n] = Σ_c v[place][tile][c] · u[place][c][n]
 *   3. y = bias + residual + Aᵀ p A
 *
 * v and u are fp32 in three parts of bf16 (amx_layout.h), both stored in the order in which the
 * matrix tiles of step 2 load them; p is fp32. This needs a quarter of the products of direct
 * convolution, but v and u go through memory: for fewer channels conv_rows_amx.c is faster. All
 * threads take a block of Winograd's tiles through one step after the other. In step 2 each thread
 * takes whole places, so that every weight is read once per block. The order of every sum is
 * independent of the number of threads. */
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/winograd_2d.h"

#define BLOCK_BYTES ((int64_t)96 << 20) /* of v and p, at most */
#define BLOCK_TILES 256                 /* at most: v of a place stays in L2 */
#define UNITS_PER_THREAD 4
#define ROWS_TOGETHER 8 /* of packing */
#define SKEW                                                                                       \
    64 /* bytes between places, and between rows of p, which spread them over the cache sets */
#define STEP_BYTES (AMX_PARTS * AMX_TILE) /* 32 channels of 16 tiles of v, or of 16 outputs */

struct winograd {
    struct ddpm_tensor x, y, residual;
    const float *bias; /* or NULL */
    const char *packed;
    int64_t tiles, panels, group; /* group: bytes of 16 tiles at a place of v, or 16 outputs of u */
    int64_t block;                /* tiles processed at once */
    int64_t v_place, p_row, p_place, patch; /* bytes */
    int64_t unit_panels;                    /* of a unit of step 2 */
    char *v, *p, *patches;
    int64_t first, count; /* tiles in v */
};

static struct winograd winograd_plan(const struct ddpm_call *call)
{
    struct winograd w = {.x = call->in[0], .y = call->out[0], .packed = call->packed};
    if (call->op == DDPM_OP_CONV2D) {
        w.residual = call->in[3];
        w.bias = ddpm_tensor_present(&call->in[2]) ? call->in[2].data : NULL;
    }
    w.tiles = ddpm_tiles_of(&w.x).count;
    w.panels = ddpm_ceil_div(w.y.c, AMX_BLOCK);
    w.group = ddpm_ceil_div(w.x.c, AMX_DEPTH) * STEP_BYTES;
    w.p_row = w.panels * AMX_BLOCK * (int64_t)sizeof(float) + SKEW;
    const int64_t tile_bytes = WINOGRAD_PLACES * (w.group / AMX_ROWS + w.p_row);
    int64_t most = ddpm_smaller(BLOCK_BYTES / tile_bytes, BLOCK_TILES);
    most = most < AMX_BLOCK ? AMX_BLOCK : most / AMX_BLOCK * AMX_BLOCK;
    w.block = ddpm_ceil_div(w.tiles, ddpm_ceil_div(w.tiles, most));
    w.block = ddpm_ceil_div(w.block, AMX_BLOCK) * AMX_BLOCK;
    w.v_place = w.block / AMX_ROWS * w.group + SKEW;
    w.p_place = w.block * w.p_row + SKEW;
    w.patch = (int64_t)ddpm_align_up((size_t)(WINOGRAD_PLACES * w.x.c) * sizeof(float));
    /* as many panels as leave all threads some units of (place, panels) */
    const int64_t units = UNITS_PER_THREAD * call->device->threads;
    w.unit_panels = ddpm_ceil_div(w.panels, ddpm_ceil_div(units, WINOGRAD_PLACES));
    return w;
}

/* 32 channels of a patch from c on: a row of matrix tiles at each place, in parts. They are written
 * with non-temporal stores, because v does not fit into the caches. */
ALWAYS_INLINE void put_tile(const struct winograd *w, const struct patch *patch, int64_t c,
                            char *to)
{
    vf low[6][6], high[6][6] = {{{0}}};
    input_columns(patch, c, DDPM_F32, low);
    if (c + LANES < w->x.c)
        input_columns(patch, c + LANES, DDPM_F32, high);
    WINOGRAD_UNROLL for (int i = 0; i < 6; ++i)
    {
        vf first[6], second[6], pairs[AMX_PARTS];
        input_1d(low[i], first);
        input_1d(high[i], second);
        WINOGRAD_UNROLL for (int j = 0; j < 6; ++j, to += w->v_place)
        {
            amx_split_pairs(first[j], second[j], pairs);
            for (int part = 0; part < AMX_PARTS; ++part)
                amx_write_line(to + part * AMX_TILE, (__m512i)pairs[part]);
        }
    }
}

/* Prefetch the columns of pixels that the next patch adds. */
ALWAYS_INLINE void fetch_patch(const struct patch *patch, int64_t c)
{
    for (int i = 0; i < 6; ++i)
        for (int j = 6; j < 10; ++j) {
            const float *pixel = (const float *)patch->from + i * patch->row + j * patch->pixel + c;
            __builtin_prefetch(pixel);
            __builtin_prefetch(pixel + LANES);
        }
}

/* Step 1: tile i is row i % 16 of the matrix tiles of its group of 16. */
static void input_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct winograd *w = context;
    for (int64_t i = begin; i < end; ++i) {
        char *to = w->v + i / AMX_ROWS * w->group + i % AMX_ROWS * AMX_ROW_BYTES;
        const struct patch patch =
            patch_of_tile(&w->x, 1, w->first + i, w->patches + thread * w->patch);
        for (int64_t c = 0; c < w->x.c; c += AMX_DEPTH, to += STEP_BYTES) {
            fetch_patch(&patch, c);
            put_tile(w, &patch, c, to);
        }
    }
    amx_lines_end();
}

/* Step 2 at one place, panels [panel, end). */
static void multiply(const struct winograd *w, int64_t place, int64_t panel, int64_t end)
{
    float spare[AMX_TILE / sizeof(float)] __attribute__((aligned(64)));
    for (; panel < end; ++panel)
        for (int64_t i = 0; i < w->count; i += AMX_BLOCK) {
            const char *low = w->v + place * w->v_place + i / AMX_ROWS * w->group;
            const char *b = w->packed + (place * w->panels + panel) * 2 * w->group;
            char *to = w->p + place * w->p_place + i * w->p_row + panel * 2 * AMX_ROW_BYTES;
            amx_block_zero();
            for (int64_t at = 0; at < w->group; at += STEP_BYTES) {
                amx_block_step_split(low + at, low + w->group + at, AMX_ROW_BYTES, AMX_TILE,
                                     b + 2 * at, AMX_PANEL_STEP, AMX_TILE);
                if (at / STEP_BYTES % AMX_SPLIT_STEPS_PER_STORE == 0)
                    amx_store_spare(spare);
            }
            _tile_stored(0, to, w->p_row);
            _tile_stored(1, to + AMX_ROW_BYTES, w->p_row);
            to += AMX_ROWS * w->p_row;
            _tile_stored(2, to, w->p_row);
            _tile_stored(3, to + AMX_ROW_BYTES, w->p_row);
        }
}

static void multiply_units(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct winograd *w = context;
    const int64_t groups = ddpm_ceil_div(w->panels, w->unit_panels);
    amx_begin();
    for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t panel = unit % groups * w->unit_panels;
        multiply(w, unit / groups, panel, ddpm_smaller(panel + w->unit_panels, w->panels));
    }
    amx_end();
    amx_fence();
}

static void output_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct winograd *w = context;
    const int64_t place_floats = w->p_place / (int64_t)sizeof(float);
    for (int64_t i = begin; i < end; ++i)
        SIMD(winograd_output)
    ((const float *)(const void *)(w->p + i * w->p_row), place_floats, w->bias, &w->residual, &w->y,
     w->first + i);
}

static ddpm_status winograd_run(const struct ddpm_call *call)
{
    struct winograd w = winograd_plan(call);
    const int threads = call->device->threads;
    w.v = call->scratch;
    w.p = w.v + WINOGRAD_PLACES * w.v_place;
    w.patches = w.p + WINOGRAD_PLACES * w.p_place;
    const int64_t units = WINOGRAD_PLACES * ddpm_ceil_div(w.panels, w.unit_panels);
    for (; w.first < w.tiles; w.first += w.block) {
        w.count = ddpm_smaller(w.tiles - w.first, w.block);
        ddpm_parallel_for(threads, w.count, 4, input_range, &w);
        ddpm_parallel_for(threads, units, 1, multiply_units, &w);
        ddpm_parallel_for(threads, w.count, 4, output_range, &w);
    }
    return DDPM_OK;
}

static ddpm_status winograd_prepare(struct ddpm_call *call)
{
    const struct winograd w = winograd_plan(call);
    call->packed_bytes = (size_t)(WINOGRAD_PLACES * w.panels * 2 * w.group);
    call->scratch_bytes =
        (size_t)(WINOGRAD_PLACES * (w.v_place + w.p_place) + call->device->threads * w.patch);
    return DDPM_OK;
}

/* The nine taps of a channel c, with a panel's outputs adjacent. */
static void panel_taps(const struct ddpm_call *call, int64_t panel, int64_t c,
                       float taps[9][GEMM_COLUMNS])
{
    const struct ddpm_tensor *w = &call->in[1];
    const bool forward = call->op == DDPM_OP_CONV2D;
    const int64_t channels = forward ? w->c : w->n, first = panel * AMX_BLOCK;
    const int64_t outputs = (forward ? w->n : w->c) - first, step = forward ? 9 * w->c : 1;
    for (int tap = 0; tap < 9; ++tap) {
        const float *from = (const float *)w->data;
        from += forward ? (first * 9 + tap) * w->c + c : (c * 9 + 8 - tap) * w->c + first;
        for (int n = 0; n < AMX_BLOCK; ++n)
            taps[tap][n] = n < outputs && c < channels ? from[n * step] : 0;
    }
}

/* packed[place][panel][step]: AMX_PARTS · 2 tiles, whose row i is the pair of channels i and 16 + i
 * (amx_put_split). Units are (panel, step, rows). A few rows are first computed in a buffer: so
 * many streams of single rows would wait for memory each time. They are written with non-temporal
 * stores, because they do not fit into the caches. */
static void pack_units(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct winograd w = winograd_plan(call);
    const int64_t steps = w.group / STEP_BYTES, units = AMX_ROWS / ROWS_TOGETHER;
    for (int64_t unit = begin; unit < end; ++unit) {
        vf rows[WINOGRAD_PLACES][AMX_PARTS][2][ROWS_TOGETHER];
        const int64_t step = unit / units % steps, panel = unit / units / steps;
        const int64_t row = unit % units * ROWS_TOGETHER;
        for (int64_t i = 0; i < ROWS_TOGETHER; ++i) {
            float low[9][GEMM_COLUMNS], high[9][GEMM_COLUMNS];
            panel_taps(call, panel, step * AMX_DEPTH + row + i, low);
            panel_taps(call, panel, step * AMX_DEPTH + row + i + AMX_DEPTH / 2, high);
            for (int half = 0; half < 2; ++half) {
                vf first[WINOGRAD_PLACES], second[WINOGRAD_PLACES], pairs[AMX_PARTS];
                weights_2d(&low[0][0], half * LANES, first);
                weights_2d(&high[0][0], half * LANES, second);
                for (int place = 0; place < WINOGRAD_PLACES; ++place) {
                    amx_split_pairs(first[place], second[place], pairs);
                    for (int part = 0; part < AMX_PARTS; ++part)
                        rows[place][part][half][i] = pairs[part];
                }
            }
        }
        for (int64_t place = 0; place < WINOGRAD_PLACES; ++place) {
            char *to = (char *)call->packed +
                       ((place * w.panels + panel) * steps + step) * 2 * STEP_BYTES +
                       row * AMX_ROW_BYTES;
            for (int i = 0; i < AMX_PARTS * 2 * ROWS_TOGETHER; ++i)
                amx_write_line(to + i / ROWS_TOGETHER * AMX_TILE +
                                   i % ROWS_TOGETHER * AMX_ROW_BYTES,
                               (__m512i)rows[place][i / (2 * ROWS_TOGETHER)][i / ROWS_TOGETHER % 2]
                                            [i % ROWS_TOGETHER]);
        }
    }
    amx_lines_end();
}

static ddpm_status winograd_pack(const struct ddpm_call *call)
{
    const struct winograd w = winograd_plan(call);
    ddpm_parallel_for(call->device->threads,
                      w.panels * w.group / STEP_BYTES * (AMX_ROWS / ROWS_TOGETHER), 4, pack_units,
                      (void *)(uintptr_t)call);
    return DDPM_OK;
}

static bool winograd_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 && SIMD(winograd_suits)(call, &call->in[0], &call->out[0]);
}

const struct ddpm_kernel ddpm_conv2d_winograd_amx = {.name = "conv2d_winograd_amx",
                                                     .supports = winograd_supports,
                                                     .prepare = winograd_prepare,
                                                     .pack = winograd_pack,
                                                     .run = winograd_run};

const struct ddpm_kernel ddpm_conv2d_backward_data_winograd_amx = {
    .name = "conv2d_backward_data_winograd_amx",
    .supports = winograd_supports,
    .prepare = winograd_prepare,
    .pack = winograd_pack,
    .run = winograd_run};

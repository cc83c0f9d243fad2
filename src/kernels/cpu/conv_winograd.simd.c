/* 3×3 convolutions of stride 1, forward and gradient of the data, with Winograd's F(4×4,3×3). See
 * winograd.h for the mathematics.
 *
 *   1. v[place][tile][c] = Bᵀ x B                    per tile
 *   2. p[place][tile][n] = Σ_c v[place][tile][c] · packed[place][c][n]     gemm_rows
 *   3. y = bias + residual + Aᵀ p A                  per tile
 *
 * v and packed have the activations' dtype, p is fp32. The gradient of the data is the same
 * convolution of dy with the taps reversed and k and c exchanged. With many tiles, every thread
 * takes blocks of them through the three steps, so that v and p stay in its caches. With few tiles,
 * or many weights, all threads share the tiles, and each step is a loop of its own. Both compute
 * the same sums in the same order. */
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/winograd.h"

#define BLOCK_BYTES ((int64_t)1 << 19) /* v and p of a thread's block */
#define BLOCK_TILES_UNIT (28 / GEMM_ROWS * GEMM_ROWS)
#define BLOCK_TILES_MOST (4 * BLOCK_TILES_UNIT)
/* If the packed weights are larger than this, they are not read again for every block. */
#define WEIGHT_BYTES ((int64_t)8 << 20)
#define SHARED_BYTES ((int64_t)48 << 20)
#define PANELS_TOGETHER 4 /* per unit of step 2, shared */
#define UNITS_TOGETHER 8  /* of packing */
#define SKEW 16           /* elements between places, which spread them over the cache sets */

struct winograd {
    struct ddpm_tensor x, y, residual;
    const float *bias, *packed;
    int64_t tiles, panels, columns;
    int64_t steps; /* of the depth: a tile's channels, in units of four bytes */
    bool shared;
    int64_t block;              /* tiles processed at once */
    int64_t v_stride, p_stride; /* steps of v, elements of p between places */
    int64_t buffer, patch;      /* units of four bytes: v and p; one thread's patch */
    int64_t pointers;
    float *v, *patches; /* of thread 0, or shared */
    const void **rows;
    int64_t first, count; /* tiles in v, shared */
};

static struct winograd winograd_plan(const struct ddpm_call *call)
{
    struct winograd p = {.x = call->in[0], .y = call->out[0], .packed = call->packed};
    int threads = call->device->threads;
    if (call->op == DDPM_OP_CONV2D) {
        p.residual = call->in[3];
        p.bias = ddpm_tensor_present(&call->in[2]) ? call->in[2].data : NULL;
    }
    p.tiles = ddpm_tiles_of(&p.x).count;
    p.panels = ddpm_ceil_div(p.y.c, GEMM_COLUMNS);
    p.columns = p.panels * GEMM_COLUMNS;
    p.steps = ddpm_steps(&p.x);
    int64_t tile_bytes = WINOGRAD_PLACES * (p.steps + p.columns) * (int64_t)sizeof(float);
    p.block = BLOCK_BYTES / tile_bytes / BLOCK_TILES_UNIT * BLOCK_TILES_UNIT;
    p.block = p.block < BLOCK_TILES_UNIT ? BLOCK_TILES_UNIT : p.block;
    p.block = p.block > BLOCK_TILES_MOST ? BLOCK_TILES_MOST : p.block;
    p.shared = p.tiles < 4 * threads * p.block ||
               WINOGRAD_PLACES * p.steps * p.columns * (int64_t)sizeof(float) > WEIGHT_BYTES;
    if (p.shared) {
        int64_t most = SHARED_BYTES / tile_bytes / BLOCK_TILES_UNIT * BLOCK_TILES_UNIT;
        most = most < BLOCK_TILES_UNIT ? BLOCK_TILES_UNIT : most;
        p.block = p.tiles < most ? p.tiles : most;
    }
    p.v_stride = p.block * p.steps + SKEW;
    p.p_stride = p.block * p.columns + SKEW;
    p.buffer = WINOGRAD_PLACES * (p.v_stride + p.p_stride);
    p.patch = WINOGRAD_PLACES * p.steps;
    p.pointers = 2 * ddpm_ceil_div(p.block, GEMM_ROWS) * GEMM_ROWS;
    return p;
}

/* Scratch: v and p, per thread or shared, patches, row pointers. */
static size_t winograd_layout(struct winograd *p, const struct ddpm_call *call)
{
    size_t threads = (size_t)call->device->threads, buffers = p->shared ? 1 : threads;
    size_t v = ddpm_align_up(buffers * (size_t)p->buffer * sizeof(float));
    size_t patches = ddpm_align_up(threads * (size_t)p->patch * sizeof(float));
    p->v = call->scratch;
    p->patches = p->v ? (float *)((char *)call->scratch + v) : NULL;
    p->rows = p->v ? (const void **)((char *)call->scratch + v + patches) : NULL;
    return v + patches + ddpm_align_up(buffers * (size_t)p->pointers * sizeof(void *));
}

/* Where the rows of v and p start, at place 0; the last is repeated up to a multiple of
 * GEMM_ROWS. */
static void fill_rows(const struct winograd *p, int64_t count, float *v, const void **rows)
{
    float *products = v + WINOGRAD_PLACES * p->v_stride;
    for (int64_t i = 0; i < p->pointers / 2; ++i) {
        int64_t tile = i < count ? i : count - 1;
        rows[i] = v + tile * p->steps;
        rows[p->pointers / 2 + i] = products + tile * p->columns;
    }
}

/* Step 2 at one place, panels [panel, end). */
static void multiply(const struct winograd *p, int64_t count, const void *const *rows,
                     int64_t place, int64_t panel, int64_t end)
{
    const bool bf16 = p->x.dtype == DDPM_BF16;
    void *const *products = (void *const *)(const void *)(rows + p->pointers / 2);
    int64_t depth = bf16 ? p->steps : ddpm_ceil_div(p->steps, ddpm_ceil_div(p->steps, GEMM_DEPTH));
    for (int64_t c = 0; c < p->steps; c += depth)
        for (int64_t at = panel; at < end; ++at) {
            struct ddpm_gemm_rows g = {.segments = 1,
                                       .depth = p->steps - c < depth ? p->steps - c : depth,
                                       .a_offset = place * p->v_stride + c,
                                       .b = p->packed + ((place * p->panels + at) * p->steps + c) *
                                                            GEMM_COLUMNS,
                                       .offset = place * p->p_stride + at * GEMM_COLUMNS,
                                       .columns = GEMM_COLUMNS,
                                       .y_dtype = DDPM_F32};
            for (int64_t i = 0; i < count; i += GEMM_ROWS) {
                g.a = rows + i;
                g.y = products + i;
                g.add = c ? (const void *const *)g.y : NULL;
                g.rows = (int)(count - i < GEMM_ROWS ? count - i : GEMM_ROWS);
                if (bf16)
                    SIMD(gemm_rows_bf16)(&g);
                else
                    SIMD(gemm_rows)(&g);
            }
        }
}

static void input_tiles(const struct winograd *p, float *v, int64_t first, int64_t begin,
                        int64_t end, int thread)
{
    float *patch = p->patches + thread * p->patch;
    for (int64_t i = begin; i < end; ++i)
        SIMD(winograd_input)(&p->x, first + i, v + i * p->steps, p->v_stride, patch);
}

static void output_tiles(const struct winograd *p, const float *v, int64_t first, int64_t begin,
                         int64_t end)
{
    const float *products = v + WINOGRAD_PLACES * p->v_stride;
    for (int64_t i = begin; i < end; ++i)
        SIMD(winograd_output)
    (products + i * p->columns, p->p_stride, p->bias, &p->residual, &p->y, first + i);
}

static void own_blocks(void *context, int64_t begin, int64_t end, int thread)
{
    const struct winograd *p = context;
    float *v = p->v + thread * p->buffer;
    const void **rows = p->rows + thread * p->pointers;
    for (int64_t block = begin; block < end; ++block) {
        int64_t first = block * p->block, count = p->tiles - first;
        count = count < p->block ? count : p->block;
        input_tiles(p, v, first, 0, count, thread);
        fill_rows(p, count, v, rows);
        for (int64_t place = 0; place < WINOGRAD_PLACES; ++place)
            multiply(p, count, rows, place, 0, p->panels);
        output_tiles(p, v, first, 0, count);
    }
}

static void shared_input(void *context, int64_t begin, int64_t end, int thread)
{
    const struct winograd *p = context;
    input_tiles(p, p->v, p->first, begin, end, thread);
}

static void shared_multiply(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct winograd *p = context;
    int64_t groups = ddpm_ceil_div(p->panels, PANELS_TOGETHER);
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t panel = unit % groups * PANELS_TOGETHER, last = panel + PANELS_TOGETHER;
        multiply(p, p->count, p->rows, unit / groups, panel, last < p->panels ? last : p->panels);
    }
}

static void shared_output(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct winograd *p = context;
    output_tiles(p, p->v, p->first, begin, end);
}

static ddpm_status winograd_run(const struct ddpm_call *call)
{
    struct winograd p = winograd_plan(call);
    int threads = call->device->threads;
    winograd_layout(&p, call);
    if (!p.shared) {
        ddpm_parallel_for(threads, ddpm_ceil_div(p.tiles, p.block), 1, own_blocks, &p);
        return DDPM_OK;
    }
    for (p.first = 0; p.first < p.tiles; p.first += p.block) {
        p.count = p.tiles - p.first < p.block ? p.tiles - p.first : p.block;
        fill_rows(&p, p.count, p.v, p.rows);
        ddpm_parallel_for(threads, p.count, 4, shared_input, &p);
        ddpm_parallel_for(threads, WINOGRAD_PLACES * ddpm_ceil_div(p.panels, PANELS_TOGETHER), 1,
                          shared_multiply, &p);
        ddpm_parallel_for(threads, p.count, 4, shared_output, &p);
    }
    return DDPM_OK;
}

static ddpm_status winograd_prepare(struct ddpm_call *call)
{
    struct winograd p = winograd_plan(call);
    call->packed_bytes = (size_t)(WINOGRAD_PLACES * p.columns * p.steps) * sizeof(float);
    call->scratch_bytes = winograd_layout(&p, call);
    return DDPM_OK;
}

/* Channels of one step of the depth. */
static int channels_together(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_BF16 ? 2 : 1;
}

/* Taps of `count` neighbouring units (panel, step) of one panel: taps[channel][tap][output], with
 * the channels of a unit adjacent, two in bf16. Forward, a cache line of weights holds 16 channels
 * of one output, so the channels of all units are read together. */
static void unit_taps(const struct ddpm_call *call, int64_t unit, int64_t count,
                      float (*taps)[9][GEMM_COLUMNS])
{
    const struct ddpm_tensor *w = &call->in[1];
    const bool forward = call->op == DDPM_OP_CONV2D;
    const int together = channels_together(call);
    const int64_t outputs = forward ? w->n : w->c, steps = ddpm_steps(&call->in[0]);
    const int64_t first = unit / steps * GEMM_COLUMNS;
    const int64_t columns = ddpm_smaller(outputs - first, GEMM_COLUMNS);
    const int64_t c = unit % steps * together, channels = count * together;
    if (columns < GEMM_COLUMNS)
        memset(taps, 0, (size_t)channels * sizeof *taps);
    if (forward)
        for (int64_t n = 0; n < columns; ++n)
            for (int tap = 0; tap < 9; ++tap) {
                const float *from = (const float *)w->data + ((first + n) * 9 + tap) * w->c + c;
                __builtin_prefetch(from + channels); /* of the next units */
                for (int64_t i = 0; i < channels; ++i)
                    taps[i][tap][n] = from[i];
            }
    else
        for (int64_t i = 0; i < channels; ++i)
            for (int tap = 0; tap < 9; ++tap)
                memcpy(taps[i][tap],
                       (const float *)w->data + ((c + i) * 9 + 8 - tap) * w->c + first,
                       (size_t)columns * sizeof(float));
}

/* packed[place][panel][step][GEMM_COLUMNS] = G w Gᵀ; units are (panel, step), neighbours in memory.
 * Several are first computed in a buffer: 36 streams of single units would wait for memory each
 * time. They are written with non-temporal stores, because a network's packed weights do not fit
 * into the caches. */
static void pack_units(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *w = &call->in[1];
    const int64_t outputs = call->op == DDPM_OP_CONV2D ? w->n : w->c;
    const int64_t steps = ddpm_steps(&call->in[0]);
    const int64_t place_size = ddpm_ceil_div(outputs, GEMM_COLUMNS) * steps * GEMM_COLUMNS;
    const int together = channels_together(call);
    for (int64_t unit = begin, count; unit < end; unit += count) {
        float buffer[WINOGRAD_PLACES][UNITS_TOGETHER * GEMM_COLUMNS];
        float taps[2 * UNITS_TOGETHER][9][GEMM_COLUMNS];
        count = ddpm_smaller(ddpm_smaller(end - unit, steps - unit % steps), UNITS_TOGETHER);
        unit_taps(call, unit, count, taps);
        for (int64_t i = 0; i < count; ++i)
            SIMD(winograd_weights)
        (&taps[i * together][0][0], call->in[0].dtype, &buffer[0][i * GEMM_COLUMNS],
         UNITS_TOGETHER * GEMM_COLUMNS);
        for (int64_t place = 0; place < WINOGRAD_PLACES; ++place)
            for (int64_t i = 0; i < count * GEMM_COLUMNS; i += LANES)
                vf_store_past((float *)call->packed + place * place_size + unit * GEMM_COLUMNS + i,
                              vf_load(&buffer[place][i]));
    }
    vf_stores_past_end();
}

static ddpm_status winograd_pack(const struct ddpm_call *call)
{
    const struct ddpm_tensor *w = &call->in[1];
    int64_t outputs = call->op == DDPM_OP_CONV2D ? w->n : w->c;
    ddpm_parallel_for(call->device->threads,
                      ddpm_ceil_div(outputs, GEMM_COLUMNS) * ddpm_steps(&call->in[0]), 64,
                      pack_units, (void *)(uintptr_t)call);
    return DDPM_OK;
}

static bool winograd_supports(const struct ddpm_call *call)
{
    return SIMD(winograd_suits)(call, &call->in[0], &call->out[0]);
}

const struct ddpm_kernel SIMD(conv2d_winograd) = {.name = SIMD_NAME("conv2d_winograd"),
                                                  .supports = winograd_supports,
                                                  .prepare = winograd_prepare,
                                                  .pack = winograd_pack,
                                                  .run = winograd_run};

const struct ddpm_kernel SIMD(conv2d_backward_data_winograd) = {
    .name = SIMD_NAME("conv2d_backward_data_winograd"),
    .supports = winograd_supports,
    .prepare = winograd_prepare,
    .pack = winograd_pack,
    .run = winograd_run};

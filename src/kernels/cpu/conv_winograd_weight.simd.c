/* Gradient of 3×3 convolution weights in Winograd's domain. See winograd.h for the mathematics.
 *
 *   1. v[place][tile][c] = Bᵀ x B,  d[place][tile][k] = A dy Aᵀ             per tile
 *   2. m[place][k][c] += Σ_tile d[place][tile][k] · v[place][tile][c]       gemm_outer
 *   3. dw[k] += Gᵀ m[k] G                                                   per k
 *
 * bf16: the rows of v and d are pairs of tiles, c by c and k by k; "row" below is a tile or a pair.
 *
 * Steps 1 and 2 alternate over blocks of tiles that stay in the caches. Every element of m belongs
 * to one unit of work, which adds the rows in order. So there are no partial sums, and the result
 * does not depend on the threads. The gradient of the bias is computed along with it, as a 37th
 * place of d. */
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/winograd.h"

/* Rows of one product: its columns of v and d stay in L1. This many rows are summed before they are
 * added to m, so the number affects the result; blocks are multiples of it. */
#define DEPTH_ROWS 64
#define BLOCK_BYTES ((int64_t)1 << 20) /* of v and d, for each thread */
#define BLOCK_K 96
#define BLOCK_C 256
#define SKEW 16 /* elements, which spread rows and places over the cache sets */

struct weight {
    struct ddpm_tensor x, dy;
    int64_t tiles, row_tiles; /* all; of a row */
    int64_t rows, block;      /* all, and at once */
    int64_t k_size, c_size;
    int64_t v_row, d_row;                 /* steps between rows */
    int64_t v_stride, d_stride, m_stride; /* steps or elements between places */
    int64_t k_block, c_block, k_blocks, c_blocks;
    int64_t patch;
    float *m, *v, *d, *patches, *dw, *dbias;
    bool fresh_dw, fresh_dbias; /* they hold nothing yet */
    int64_t first, count;       /* rows in v and d */
};

static struct weight weight_plan(const struct ddpm_call *call)
{
    struct weight p = {.x = call->in[0], .dy = call->in[1]};
    p.k_size = p.dy.c;
    p.c_size = p.x.c;
    p.tiles = ddpm_tiles_of(&p.x).count;
    p.row_tiles = p.x.dtype == DDPM_BF16 ? 2 : 1;
    p.rows = ddpm_ceil_div(p.tiles, p.row_tiles);
    p.v_row = p.c_size + SKEW; /* ≥ GEMM_COLUMNS may be read from any column on */
    p.d_row = p.k_size + SKEW;
    int64_t row_bytes = (WINOGRAD_PLACES + 1) * (p.v_row + p.d_row) * (int64_t)sizeof(float);
    int64_t bytes = call->device->threads * BLOCK_BYTES,
            m_bytes = 4 * WINOGRAD_PLACES * p.k_size * p.c_size;
    if (bytes < m_bytes / 2)
        bytes = m_bytes / 2; /* m goes through memory once per block, which must be worth it */
    p.block = bytes / row_bytes / DEPTH_ROWS * DEPTH_ROWS;
    p.block = p.block < DEPTH_ROWS ? DEPTH_ROWS : p.block;
    p.block = p.block < p.rows ? p.block : p.rows;
    p.v_stride = p.block * p.v_row + SKEW;
    p.d_stride = p.block * p.d_row + SKEW;
    p.m_stride = p.k_size * p.c_size + SKEW;
    p.k_block = ddpm_ceil_div(p.k_size, ddpm_ceil_div(p.k_size, BLOCK_K));
    p.k_block = ddpm_ceil_div(p.k_block, GEMM_ROWS) * GEMM_ROWS;
    p.k_blocks = ddpm_ceil_div(p.k_size, p.k_block);
    p.c_block = BLOCK_C;
    p.c_blocks = ddpm_ceil_div(p.c_size, p.c_block);
    p.patch = WINOGRAD_PLACES * (p.c_size > p.k_size ? p.c_size : p.k_size);
    return p;
}

/* Scratch: m, v, d, patches. */
static size_t weight_layout(struct weight *p, const struct ddpm_call *call)
{
    size_t m = ddpm_align_up((size_t)(WINOGRAD_PLACES * p->m_stride) * sizeof(float));
    size_t v = ddpm_align_up((size_t)(WINOGRAD_PLACES * p->v_stride) * sizeof(float));
    size_t d = ddpm_align_up((size_t)((WINOGRAD_PLACES + 1) * p->d_stride) * sizeof(float));
    size_t patches = (size_t)(call->device->threads * p->patch) * sizeof(float);
    if (call->scratch) {
        p->m = call->scratch;
        p->v = (float *)((char *)call->scratch + m);
        p->d = (float *)((char *)call->scratch + m + v);
        p->patches = (float *)((char *)call->scratch + m + v + d);
    }
    return m + v + d + patches;
}

static bool weight_supports(const struct ddpm_call *call)
{
    return SIMD(winograd_suits)(call, &call->in[0], &call->in[1]);
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    call->scratch_bytes = weight_layout(&p, call);
    return DDPM_OK;
}

static void transform_rows(void *context, int64_t begin, int64_t end, int thread)
{
    const struct weight *p = context;
    float *patch = p->patches + thread * p->patch;
    for (int64_t i = begin; i < end; ++i) {
        int64_t tile = (p->first + i) * p->row_tiles, left = p->tiles - tile;
        int tiles = (int)(left < p->row_tiles ? left : p->row_tiles);
        SIMD(winograd_input_columns)(&p->x, tile, tiles, p->v + i * p->v_row, p->v_stride, patch);
        SIMD(winograd_gradient_columns)
        (&p->dy, tile, tiles, p->d + i * p->d_row, p->d_stride, patch);
    }
}

static void add_bias(const struct weight *p)
{
    const float *d = p->d + WINOGRAD_PLACES * p->d_stride;
    if (p->first == 0 && p->fresh_dbias)
        memset(p->dbias, 0, (size_t)p->k_size * sizeof *p->dbias);
    for (int64_t first = 0; first < p->count; first += DEPTH_ROWS) {
        int64_t end = p->count - first < DEPTH_ROWS ? p->count : first + DEPTH_ROWS;
        for (int64_t k = 0; k < p->k_size; k += LANES) {
            vf sum = {0};
            for (int64_t i = first; i < end; ++i)
                sum += vf_load(d + i * p->d_row + k);
            vf_store(p->dbias + k, vf_load(p->dbias + k) + sum);
        }
    }
}

/* Step 2 at one place, for a block of k and of c. */
static void multiply(const struct weight *p, int64_t place, int64_t k0, int64_t c0)
{
    int64_t k_end = k0 + p->k_block < p->k_size ? k0 + p->k_block : p->k_size;
    int64_t c_end = c0 + p->c_block < p->c_size ? c0 + p->c_block : p->c_size;
    float *m = p->m + place * p->m_stride;
    if (p->first == 0)
        for (int64_t k = k0; k < k_end; ++k)
            memset(m + k * p->c_size + c0, 0, (size_t)(c_end - c0) * sizeof *m);
    struct ddpm_gemm_outer g = {
        .a_step = p->d_row, .b_step = p->v_row, .segments = 1, .c_stride = p->c_size};
    for (int64_t i = 0; i < p->count; i += DEPTH_ROWS) {
        const float *v = p->v + place * p->v_stride + i * p->v_row;
        const float *d = p->d + place * p->d_stride + i * p->d_row;
        g.depth = p->count - i < DEPTH_ROWS ? p->count - i : DEPTH_ROWS;
        for (int64_t c = c0; c < c_end; c += GEMM_COLUMNS) {
            g.b = v + c;
            g.columns = (int)(c_end - c < GEMM_COLUMNS ? c_end - c : GEMM_COLUMNS);
            for (int64_t k = k0; k < k_end; k += GEMM_ROWS) {
                g.a = d + k;
                g.c = m + k * p->c_size + c;
                g.rows = (int)(k_end - k < GEMM_ROWS ? k_end - k : GEMM_ROWS);
                if (p->row_tiles == 2)
                    SIMD(gemm_outer_bf16)(&g);
                else
                    SIMD(gemm_outer)(&g);
            }
        }
    }
}

/* Units are (place, block of k, block of c); the last is the bias. */
static void multiply_units(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct weight *p = context;
    for (int64_t unit = begin; unit < end; ++unit) {
        int64_t c = unit % p->c_blocks, rest = unit / p->c_blocks;
        int64_t k = rest % p->k_blocks, place = rest / p->k_blocks;
        if (place == WINOGRAD_PLACES)
            add_bias(p);
        else
            multiply(p, place, k * p->k_block, c * p->c_block);
    }
}

static void finish_weights(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct weight *p = context;
    for (int64_t k = begin; k < end; ++k)
        SIMD(winograd_weight_gradient)
    (p->m + k * p->c_size, p->m_stride, p->c_size, p->fresh_dw, p->dw + k * 9 * p->c_size);
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    int threads = call->device->threads;
    weight_layout(&p, call);
    p.dw = call->out[0].data;
    p.dbias = ddpm_tensor_present(&call->out[1]) ? call->out[1].data : NULL;
    p.fresh_dw = ddpm_call_overwrites(call, 0);
    p.fresh_dbias = ddpm_call_overwrites(call, 1);
    int64_t units = WINOGRAD_PLACES * p.k_blocks * p.c_blocks + (p.dbias ? 1 : 0);
    for (p.first = 0; p.first < p.rows; p.first += p.block) {
        p.count = p.rows - p.first < p.block ? p.rows - p.first : p.block;
        ddpm_parallel_for(threads, p.count, 4, transform_rows, &p);
        ddpm_parallel_for(threads, units, 1, multiply_units, &p);
    }
    ddpm_parallel_for(threads, p.k_size, 4, finish_weights, &p);
    return DDPM_OK;
}

const struct ddpm_kernel SIMD(conv2d_backward_weight_winograd) = {
    .name = SIMD_NAME("conv2d_backward_weight_winograd"),
    .supports = weight_supports,
    .prepare = weight_prepare,
    .run = weight_run};

/* Gradient of 3×3 convolution weights of stride 1, of fp32, in matrix tiles with Winograd's F(4,3)
 * along the rows, see conv_rows_amx.c:
 *
 *   1. v[place][row][tile][c] = Bᵀ x,  d[place][row][tile][k] = A dy
 *   2. m[place][r][k][c] += Σ_row Σ_tile d[place][row][tile][k] · v[place][row + r - 1][tile][c]
 *   3. dw[k][r] += Gᵀ m[r][k]
 *
 * Tiles of a picture are the depth of the products: v lies in pairs of neighbouring tiles, channel
 * by channel, as rows of b; d is turned round, an output's 32 tiles in a row of a. A row of taps is
 * an offset in v, whose rows follow one another, with one more above and below. Both are fp32 in
 * three parts of bf16 (amx_layout.h).
 *
 * A unit of work takes a block of k and of c through a group of blocks of pixels, with d, v and m
 * in its own buffers; partial sums of groups are added up in order. So the result does not depend
 * on the threads, and nothing that one thread computes is read by another before the end. */
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/winograd_1d.h"

#define PLACES 6
#define TAPS 3
#define PIXELS 4 /* of a tile */
#define PAIR 64  /* bytes of a pair of tiles, 16 channels */
#define BLOCK_K 128
#define BLOCK_C 128
#define BLOCK_TILES 128 /* of pixels, in v and d at once */
#define UNIT_COLUMNS 8  /* tiles of a row of those, at most */
#define UNITS 32        /* of work, at least, if groups are large enough */
#define BLOCKS_PER_GROUP 8
#define SKEW 64 /* bytes between planes of v and d: they fall into different cache sets */
#define SUMS (AMX_BLOCK * AMX_BLOCK)

struct weight {
    struct ddpm_tensor x, dy;
    int64_t k_size, c_size, k_block, c_block, k_blocks, c_blocks;
    int64_t columns, unit_columns, rows, pictures; /* tiles of a row of dy; of a block of pixels */
    int64_t steps;                                 /* of the depth, of a picture of a block */
    int64_t blocks_w, blocks_h, blocks, groups;
    int64_t row, x_picture, x_plane, dy_plane; /* bytes; planes: of a place, 16 channels, a part */
    int64_t x_bytes, dy_bytes, sum_bytes, thread_bytes;
    int64_t group_dw, group_dbias; /* floats of a group's partial sums */
    float *dw, *dbias;
    char *memory;
};

static int64_t even_block(int64_t size, int64_t most)
{
    const int64_t blocks = ddpm_ceil_div(size, most);
    return ddpm_ceil_div(ddpm_ceil_div(size, blocks), AMX_BLOCK) * AMX_BLOCK;
}

static struct weight weight_plan(const struct ddpm_call *call)
{
    struct weight p = {.x = call->in[0], .dy = call->in[1]};
    p.k_size = p.dy.c;
    p.c_size = p.x.c;
    p.k_block = even_block(p.k_size, BLOCK_K);
    p.c_block = even_block(p.c_size, BLOCK_C);
    p.k_blocks = ddpm_ceil_div(p.k_size, p.k_block);
    p.c_blocks = ddpm_ceil_div(p.c_size, p.c_block);
    p.columns = ddpm_ceil_div(p.dy.w, PIXELS);
    p.blocks_w = ddpm_ceil_div(p.columns, UNIT_COLUMNS);
    p.unit_columns = ddpm_ceil_div(ddpm_ceil_div(p.columns, p.blocks_w), 2) * 2;
    p.rows = ddpm_smaller(BLOCK_TILES / p.unit_columns, p.dy.h);
    p.rows = ddpm_ceil_div(p.dy.h, ddpm_ceil_div(p.dy.h, p.rows));
    p.blocks_h = ddpm_ceil_div(p.dy.h, p.rows);
    p.steps = ddpm_ceil_div(p.rows * p.unit_columns, AMX_DEPTH);
    p.pictures = p.blocks_h == 1 && p.blocks_w == 1 ? BLOCK_TILES / (p.steps * AMX_DEPTH) : 1;
    p.pictures = ddpm_smaller(p.pictures, p.dy.n);
    p.blocks = ddpm_ceil_div(p.dy.n, p.pictures) * p.blocks_h * p.blocks_w;
    p.groups = ddpm_ceil_div(UNITS, p.k_blocks * p.c_blocks);
    p.groups = ddpm_smaller(p.groups, ddpm_ceil_div(p.blocks, BLOCKS_PER_GROUP));

    p.row = p.unit_columns / 2 * PAIR;
    p.x_picture = p.steps * AMX_TILE + (TAPS - 1) * p.row; /* steps may end behind the last row */
    p.x_plane = p.pictures * p.x_picture + SKEW;
    p.dy_plane = p.pictures * p.steps * AMX_TILE + SKEW;
    p.x_bytes = PLACES * AMX_PARTS * p.c_block / 16 * p.x_plane;
    p.dy_bytes = PLACES * AMX_PARTS * p.k_block / 16 * p.dy_plane;
    p.sum_bytes = PLACES * TAPS * p.k_block * p.c_block * (int64_t)sizeof(float);
    p.thread_bytes = p.x_bytes + p.dy_bytes + p.sum_bytes;
    if (p.groups > 1) {
        p.group_dw = ddpm_ceil_div(p.k_size * TAPS * TAPS * p.c_size, LANES) * LANES;
        p.group_dbias = ddpm_ceil_div(p.k_size, LANES) * LANES;
    }
    return p;
}

static bool weight_supports(const struct ddpm_call *call)
{
    const struct ddpm_attributes *at = &call->attributes;
    const struct ddpm_tensor *x = &call->in[0], *dy = &call->in[1];
    const int64_t columns = ddpm_ceil_div(dy->w, PIXELS);
    return !call->device->direct && x->dtype == DDPM_F32 && dy->dtype == DDPM_F32 &&
           at->kernel_h == TAPS && at->kernel_w == TAPS && at->stride == 1 && at->padding == 1 &&
           x->c % LANES == 0 && dy->c % LANES == 0 && 2 * columns * PIXELS <= 3 * dy->w &&
           columns * dy->h >= AMX_DEPTH;
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    size_t sums = (size_t)(p.groups * (p.group_dw + p.group_dbias)) * sizeof(float);
    call->scratch_bytes = (size_t)(call->device->threads * p.thread_bytes) + sums;
    return DDPM_OK;
}

/* The six places of two tiles as pairs, in parts: to[place][part], `stride` bytes between places.
 */
ALWAYS_INLINE void put_pairs(const vf even[PLACES], const vf odd[PLACES], char *to, int64_t stride,
                             int64_t plane)
{
    for (int place = 0; place < PLACES; ++place, to += stride) {
        vf pairs[AMX_PARTS];
        amx_split_pairs(even[place], odd[place], pairs);
        for (int part = 0; part < AMX_PARTS; ++part)
            vf_store((float *)(void *)(to + part * plane), pairs[part]);
    }
}

/* `count` pixels of a row from column w on, 16 channels; zeros where there is none. The pixels of
 * the next pair of tiles are asked for: rows of a block are too short for the processor to guess.
 */
ALWAYS_INLINE void load_pixels(const struct ddpm_tensor *t, const float *row, int64_t w, int count,
                               const bool inside, vf *d)
{
    for (int j = 0; j < count; ++j) {
        const float *pixel = row + (w + j) * t->pixel_stride;
        const bool there = inside || (w + j >= 0 && w + j < t->w);
        if (inside)
            __builtin_prefetch(pixel + 2 * PIXELS * t->pixel_stride);
        d[j] = there ? vf_load(pixel) : (vf){0};
    }
}

ALWAYS_INLINE void transform_x_pair(const struct weight *p, const float *row, int64_t w, char *to,
                                    const bool inside)
{
    vf d[PLACES + PIXELS], even[PLACES], odd[PLACES];
    load_pixels(&p->x, row, w - 1, PLACES + PIXELS, inside, d);
    input_1d(d, even);
    input_1d(d + PIXELS, odd);
    put_pairs(even, odd, to, p->c_block / 16 * AMX_PARTS * p->x_plane, p->x_plane);
}

/* v of a block of pixels, channels from c0 on: [place][16 channels][part][picture][row][pair]. */
static void transform_x(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t c0,
                        char *v)
{
    const struct ddpm_tensor *x = &p->x;
    const int64_t planes = PLACES * AMX_PARTS * p->c_block / 16;
    for (int64_t line = 0; line < p->pictures * (p->rows + TAPS - 1); ++line) {
        const int64_t i = line / (p->rows + TAPS - 1), row = line % (p->rows + TAPS - 1);
        const int64_t x_n = n + i, x_h = h + row - 1;
        char *to = v + i * p->x_picture + row * p->row;
        if (x_n >= x->n || x_h < 0 || x_h >= x->h) {
            for (int64_t plane = 0; plane < planes; ++plane)
                memset(to + plane * p->x_plane, 0, (size_t)p->row);
            continue;
        }
        const float *from = (const float *)x->data + (x_n * x->h + x_h) * x->w * x->pixel_stride;
        for (int64_t tile = 0; tile < p->unit_columns; tile += 2, to += PAIR)
            for (int64_t c = 0; c < p->c_block; c += 16) {
                const int64_t at = (w + tile) * PIXELS;
                char *pair = to + c / 16 * AMX_PARTS * p->x_plane;
                if (c0 + c >= p->c_size)
                    put_pairs((vf[PLACES]){{0}}, (vf[PLACES]){{0}}, pair,
                              p->c_block / 16 * AMX_PARTS * p->x_plane, p->x_plane);
                else if (at > 0 && at + 2 * PIXELS < x->w)
                    transform_x_pair(p, from + c0 + c, at, pair, true);
                else
                    transform_x_pair(p, from + c0 + c, at, pair, false);
            }
    }
}

/* The pair of tiles of dy from tile `first` of a block on, 16 channels. Returns the sum of the
 * pixels. */
ALWAYS_INLINE vf transform_dy_pair(const struct weight *p, int64_t n, int64_t h, int64_t w,
                                   int64_t k, int64_t first, char *to)
{
    const struct ddpm_tensor *dy = &p->dy;
    const int64_t row = first / p->unit_columns, at = (w + first % p->unit_columns) * PIXELS;
    vf d[2 * PIXELS] = {{0}}, even[PLACES], odd[PLACES], sum = {0};
    if (k < p->k_size && n < dy->n && row < p->rows && h + row < dy->h) {
        const float *from = (const float *)dy->data + k;
        from += (n * dy->h + h + row) * dy->w * dy->pixel_stride;
        if (at + 2 * PIXELS <= dy->w)
            load_pixels(dy, from, at, 2 * PIXELS, true, d);
        else
            load_pixels(dy, from, at, 2 * PIXELS, false, d);
    }
    for (int j = 0; j < 2 * PIXELS; ++j)
        sum += d[j];
    gradient_1d(d, even);
    gradient_1d(d + PIXELS, odd);
    put_pairs(even, odd, to, p->k_block / 16 * AMX_PARTS * p->dy_plane, p->dy_plane);
    return sum;
}

/* d of a block of pixels, channels from k0 on: [place][16 channels][part][picture][step]. 32 tiles,
 * for all channels, are put down as pairs, then turned round. */
static void transform_dy(const struct weight *p, int64_t n, int64_t h, int64_t w, int64_t k0,
                         char *d, float *dbias)
{
    vf sums[BLOCK_K / LANES] = {{0}};
    for (int64_t i = 0; i < p->pictures * p->steps; ++i, d += AMX_TILE) {
        for (int64_t pair = 0; pair < AMX_ROWS; ++pair)
            for (int64_t k = 0; k < p->k_block; k += LANES)
                sums[k / LANES] += transform_dy_pair(
                    p, n + i / p->steps, h, w, k0 + k, i % p->steps * AMX_DEPTH + 2 * pair,
                    d + k / 16 * AMX_PARTS * p->dy_plane + pair * PAIR);
        for (int64_t plane = 0; plane < PLACES * AMX_PARTS * p->k_block / 16; ++plane) {
            __m512i rows[AMX_ROWS];
            memcpy(rows, d + plane * p->dy_plane, AMX_TILE);
            amx_transpose(rows);
            memcpy(d + plane * p->dy_plane, rows, AMX_TILE);
        }
    }
    for (int64_t k = 0; dbias && k < p->k_block && k0 + k < p->k_size; k += LANES)
        vf_store(dbias + k0 + k, vf_load(dbias + k0 + k) + sums[k / LANES]);
}

/* The products of a block of pixels: sums[c][k][place][r], blocks of 32×32. */
static void multiply(const struct weight *p, const char *v, const char *d, bool first, float *sums)
{
    const int64_t x_group = AMX_PARTS * p->x_plane, dy_group = AMX_PARTS * p->dy_plane;
    for (int64_t c = 0; c < p->c_block; c += AMX_BLOCK)
        for (int64_t k = 0; k < p->k_block; k += AMX_BLOCK)
            for (int64_t place = 0; place < PLACES; ++place)
                for (int64_t r = 0; r < TAPS; ++r, sums += SUMS) {
                    const char *low = d + (place * p->k_block + k) / 16 * dy_group;
                    const char *b = v + (place * p->c_block + c) / 16 * x_group + r * p->row;
                    if (first)
                        amx_block_zero();
                    else
                        amx_block_load(sums);
                    for (int64_t i = 0; i < p->pictures; ++i, b += p->x_picture)
                        for (int64_t step = 0; step < p->steps; ++step, low += AMX_TILE)
                            amx_block_step_split(low, low + dy_group, 64, p->dy_plane,
                                                 b + step * AMX_TILE, p->x_plane, x_group);
                    amx_block_store(sums);
                }
    amx_fence();
}

/* Add a unit's sums to dw. */
static void put_sums(const struct weight *p, const float *sums, int64_t k0, int64_t c0, float *dw)
{
    for (int64_t c = 0; c < p->c_block; c += AMX_BLOCK)
        for (int64_t k = 0; k < p->k_block; k += AMX_BLOCK, sums += PLACES * TAPS * SUMS)
            for (int64_t i = 0; i < AMX_BLOCK * TAPS && k0 + k + i / TAPS < p->k_size; ++i)
                for (int64_t j = 0; j < AMX_BLOCK && c0 + c + j < p->c_size; j += LANES) {
                    const int64_t m = i / TAPS, r = i % TAPS;
                    float *to = dw + ((k0 + k + m) * TAPS + r) * TAPS * p->c_size + c0 + c + j;
                    vf places[PLACES], w[TAPS];
                    for (int64_t place = 0; place < PLACES; ++place)
                        places[place] = vf_load(amx_block_row(sums + (place * TAPS + r) * SUMS, m) +
                                                j / LANES * 256);
                    weight_gradient_1d(places, w);
                    for (int s = 0; s < TAPS; ++s, to += p->c_size)
                        vf_store(to, vf_load(to) + w[s]);
                }
}

static void weight_unit(const struct weight *p, int64_t group, int64_t k0, int64_t c0, char *memory)
{
    char *v = memory, *d = v + p->x_bytes;
    float *sums = (float *)(void *)(d + p->dy_bytes);
    float *dbias = p->dbias && c0 == 0 ? p->dbias + group * p->group_dbias : NULL;
    const int64_t begin = group * p->blocks / p->groups, end = (group + 1) * p->blocks / p->groups;
    memset(v, 0, (size_t)p->x_bytes); /* what steps read behind the last row is multiplied by 0 */
    for (int64_t block = begin; block < end; ++block) {
        const int64_t w = block % p->blocks_w * p->unit_columns, line = block / p->blocks_w;
        const int64_t h = line % p->blocks_h * p->rows, n = line / p->blocks_h * p->pictures;
        transform_x(p, n, h, w, c0, v);
        transform_dy(p, n, h, w, k0, d, dbias);
        amx_fence();
        multiply(p, v, d, block == begin, sums);
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

const struct ddpm_kernel ddpm_conv2d_backward_weight_rows_amx = {
    .name = "conv2d_backward_weight_rows_amx",
    .supports = weight_supports,
    .prepare = weight_prepare,
    .run = weight_run};

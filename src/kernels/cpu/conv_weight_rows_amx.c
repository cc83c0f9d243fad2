/* Gradient of 3×3 convolution weights of stride 1, of fp32, in matrix tiles with Winograd's F(4,3)
 * along the rows, see conv_rows_amx.c:
 *
 *   1. v[place][row][tile][c] = Bᵀ x,  d[place][row][tile][k] = A dy
 *   2. m[place][r][k][c] += Σ_row Σ_tile d[place][row][tile][k] · v[place][row + r - 1][tile][c]
 *   3. dw[k][r] += Gᵀ m[r][k]
 *
 * The tiles of a picture are the depth of the products. v is stored in pairs of neighbouring tiles,
 * channel by channel, as rows of b; d is transposed, with 32 tiles of an output in a row of a. A
 * row of taps is an offset in v, whose rows follow one another, with one extra row above and one
 * below. Both are fp32 in three parts of bf16 (amx_layout.h).
 *
 * A unit of work (conv_weight.h) has its own buffers for d, v and m: no thread reads what another
 * computes before the end. */
#include "core/memory.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/conv_weight.h"
#include "kernels/cpu/winograd_1d.h"

#define PAIR 64 /* bytes of a pair of tiles, 16 channels */
#define BLOCK_K 128
#define BLOCK_C 128
#define BLOCK_TILES 96 /* of pixels, in v and d at once */
#define UNIT_COLUMNS 8 /* tiles in a row of those, at most */
#define UNITS 32       /* units of work, at least, if groups are large enough */
#define BLOCKS_PER_GROUP 8
#define SKEW 64 /* bytes between planes of v and d, which spread them over the cache sets */

struct weight {
    struct ddpm_tensor x, dy;
    struct weight_cut cut;
    int64_t columns, unit_columns, rows, pictures; /* tiles of a row of dy; of a block of pixels */
    int64_t steps;                                 /* of the depth, of a picture of a block */
    int64_t blocks_w, blocks_h;
    int64_t row, x_picture, x_plane, dy_plane; /* bytes; planes: of a place, 16 channels, a part */
    int64_t x_bytes, dy_bytes, sum_bytes, thread_bytes;
    int64_t ahead_count; /* pixels of a block, see weight_fetch() */
    char *memory;
};

/* Pixels of x under a row of a block. */
static int64_t row_width(const struct weight *p)
{
    return p->unit_columns * F43_PIXELS + F43_TAPS - 1;
}

static struct weight weight_plan(const struct ddpm_call *call)
{
    struct weight p = {.x = call->in[0], .dy = call->in[1]};
    p.cut.k_size = p.dy.c;
    p.cut.c_size = p.x.c;
    p.cut.k_block = weight_even_block(p.dy.c, BLOCK_K, AMX_BLOCK);
    p.cut.c_block = weight_even_block(p.x.c, BLOCK_C, AMX_BLOCK);
    p.columns = ddpm_ceil_div(p.dy.w, F43_PIXELS);
    p.blocks_w = ddpm_ceil_div(p.columns, UNIT_COLUMNS);
    p.unit_columns = ddpm_ceil_div(ddpm_ceil_div(p.columns, p.blocks_w), 2) * 2;
    p.rows = ddpm_smaller(BLOCK_TILES / p.unit_columns, p.dy.h);
    p.blocks_h = ddpm_ceil_div(p.dy.h, p.rows);
    p.steps = ddpm_ceil_div(p.rows * p.unit_columns, AMX_DEPTH);
    p.pictures = p.blocks_h == 1 && p.blocks_w == 1 ? BLOCK_TILES / (p.steps * AMX_DEPTH) : 1;
    p.pictures = ddpm_smaller(p.pictures, p.dy.n);
    p.cut.blocks = ddpm_ceil_div(p.dy.n, p.pictures) * p.blocks_h * p.blocks_w;
    weight_cut_finish(&p.cut, F43_TAPS * F43_TAPS * p.cut.c_size, UNITS, BLOCKS_PER_GROUP);

    p.row = p.unit_columns / 2 * PAIR;
    p.x_picture =
        p.steps * AMX_TILE + (F43_TAPS - 1) * p.row; /* steps may read past the last row */
    p.x_plane = p.pictures * p.x_picture + SKEW;
    p.dy_plane = p.pictures * p.steps * AMX_TILE + SKEW;
    p.x_bytes = F43_PLACES * AMX_PARTS * p.cut.c_block / AMX_ROWS * p.x_plane;
    p.dy_bytes = F43_PLACES * AMX_PARTS * p.cut.k_block / AMX_ROWS * p.dy_plane;
    p.sum_bytes = F43_PLACES * F43_TAPS * p.cut.k_block * p.cut.c_block * (int64_t)sizeof(float);
    p.ahead_count =
        p.pictures * ((p.rows + F43_TAPS - 1) * row_width(&p) + p.steps * AMX_DEPTH * F43_PIXELS);
    p.thread_bytes = p.x_bytes + p.dy_bytes + p.sum_bytes +
                     (int64_t)ddpm_align_up((size_t)p.ahead_count * sizeof(void *));
    return p;
}

static bool weight_supports(const struct ddpm_call *call)
{
    return winograd_rows_suit(call, &call->in[0], &call->in[1], AMX_DEPTH);
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    call->scratch_bytes =
        (size_t)(call->device->threads * p.thread_bytes) + weight_sums_bytes(&p.cut);
    return DDPM_OK;
}

/* First pixel of a block of dy, in pictures, rows and tiles. */
struct place {
    int64_t n, h, w;
    int64_t rows, steps; /* how many exist; in the depth, per picture */
};

static struct place block_place(const struct weight *p, int64_t block)
{
    const int64_t line = block / p->blocks_w, h = line % p->blocks_h * p->rows;
    const int64_t rows = ddpm_smaller(p->rows, p->dy.h - h);
    return (struct place){.n = line / p->blocks_h * p->pictures,
                          .h = h,
                          .w = block % p->blocks_w * p->unit_columns,
                          .rows = rows,
                          .steps = ddpm_ceil_div(rows * p->unit_columns, AMX_DEPTH)};
}

/* The six places of two tiles as pairs, in parts: to[place][part], places `stride` bytes apart. */
ALWAYS_INLINE void put_pairs(const vf even[F43_PLACES], const vf odd[F43_PLACES], char *to,
                             int64_t stride, int64_t plane)
{
    for (int place = 0; place < F43_PLACES; ++place, to += stride)
        amx_put_split(to, plane, even[place], odd[place]);
}

/* `count` pixels of a row from column w on, 16 channels; zeros outside the picture. */
ALWAYS_INLINE void load_pixels(const struct ddpm_tensor *t, const float *row, int64_t w, int count,
                               const bool inside, vf *d)
{
    for (int j = 0; j < count; ++j) {
        const float *pixel = row + (w + j) * t->pixel_stride;
        const bool there = inside || (w + j >= 0 && w + j < t->w);
        if (inside)
            __builtin_prefetch(pixel + 2 * F43_PIXELS * t->pixel_stride);
        d[j] = there ? vf_load(pixel) : (vf){0};
    }
}

ALWAYS_INLINE void transform_x_pair(const struct weight *p, const float *row, int64_t w, char *to,
                                    const bool inside)
{
    vf d[F43_PLACES + F43_PIXELS], even[F43_PLACES], odd[F43_PLACES];
    load_pixels(&p->x, row, w - 1, F43_PLACES + F43_PIXELS, inside, d);
    input_1d(d, even);
    input_1d(d + F43_PIXELS, odd);
    put_pairs(even, odd, to, p->cut.c_block / AMX_ROWS * AMX_PARTS * p->x_plane, p->x_plane);
}

/* v of a block of pixels, channels from c0 on: [place][16 channels][part][picture][row][pair]. */
static void transform_x(const struct weight *p, const struct place *at, int64_t c0, char *v)
{
    const struct ddpm_tensor *x = &p->x;
    const int64_t planes = F43_PLACES * AMX_PARTS * p->cut.c_block / AMX_ROWS;
    for (int64_t line = 0; line < p->pictures * (at->rows + F43_TAPS - 1); ++line) {
        const int64_t i = line / (at->rows + F43_TAPS - 1), row = line % (at->rows + F43_TAPS - 1);
        const int64_t x_n = at->n + i, x_h = at->h + row - 1;
        char *to = v + i * p->x_picture + row * p->row;
        if (x_n >= x->n || x_h < 0 || x_h >= x->h) {
            for (int64_t plane = 0; plane < planes; ++plane)
                memset(to + plane * p->x_plane, 0, (size_t)p->row);
            continue;
        }
        const float *from = (const float *)x->data + (x_n * x->h + x_h) * x->w * x->pixel_stride;
        for (int64_t tile = 0; tile < p->unit_columns; tile += 2, to += PAIR)
            for (int64_t c = 0; c < p->cut.c_block; c += 16) {
                const int64_t column = (at->w + tile) * F43_PIXELS;
                char *pair = to + c / AMX_ROWS * AMX_PARTS * p->x_plane;
                if (c0 + c >= p->cut.c_size)
                    put_pairs((vf[F43_PLACES]){{0}}, (vf[F43_PLACES]){{0}}, pair,
                              p->cut.c_block / AMX_ROWS * AMX_PARTS * p->x_plane, p->x_plane);
                else if (column > 0 && column + 2 * F43_PIXELS < x->w)
                    transform_x_pair(p, from + c0 + c, column, pair, true);
                else
                    transform_x_pair(p, from + c0 + c, column, pair, false);
            }
    }
}

/* 32 tiles of dy, given by their pixels, 16 channels from k on, transposed: first the channels with
 * pixel j of all even tiles, or of all odd ones, then their places. Returns the sum of the
 * pixels. */
static vf transform_dy_step(const struct weight *p, const char *const *pixels, int64_t k, char *to)
{
    vf d[2][F43_PIXELS][AMX_ROWS], sum = {0};
    for (int i = 0; i < 2 * F43_PIXELS; ++i) {
        const int odd = i / F43_PIXELS, j = i % F43_PIXELS;
        __m512i rows[AMX_ROWS];
        for (int tile = 0; tile < AMX_ROWS; ++tile) {
            const vf pixel =
                vf_load((const float *)(const void *)pixels[(2 * tile + odd) * F43_PIXELS + j] + k);
            sum += pixel;
            rows[tile] = (__m512i)pixel;
        }
        amx_transpose(rows);
        memcpy(d[odd][j], rows, sizeof rows);
    }
    for (int channel = 0; channel < AMX_ROWS; ++channel, to += AMX_ROW_BYTES) {
        vf pixel[2][F43_PIXELS], even[F43_PLACES], odd[F43_PLACES];
        for (int j = 0; j < F43_PIXELS; ++j) {
            pixel[0][j] = d[0][j][channel];
            pixel[1][j] = d[1][j][channel];
        }
        gradient_1d(pixel[0], even);
        gradient_1d(pixel[1], odd);
        put_pairs(even, odd, to, p->cut.k_block / AMX_ROWS * AMX_PARTS * p->dy_plane, p->dy_plane);
    }
    return sum;
}

/* The pixels of a block of dy, four per tile, AMX_DEPTH tiles per step. */
static void fill_dy(const struct weight *p, const struct place *at, int64_t k, const char **pixels)
{
    const int64_t width = p->unit_columns * F43_PIXELS,
                  picture = at->steps * AMX_DEPTH * F43_PIXELS;
    for (int64_t i = 0; i < p->pictures; ++i, pixels += picture)
        for (int64_t j = 0; j < picture; j += width) {
            const struct weight_row row = {.n = at->n + i,
                                           .h = at->h + j / width,
                                           .w = at->w * F43_PIXELS,
                                           .count = ddpm_smaller(width, picture - j),
                                           .end_h = j / width < at->rows ? p->dy.h : 0,
                                           .end_w = p->dy.w,
                                           .channel = k};
            weight_fill_row(&p->dy, &row, pixels + j);
        }
}

/* d of a block of pixels, channels from k0 on: [place][16 channels][part][picture][step]. */
static void transform_dy(const struct weight *p, const struct place *at, int64_t k0, char *d,
                         const char **pixels, float *dbias)
{
    const int64_t steps = p->pictures * at->steps;
    fill_dy(p, at, k0, pixels);
    for (int64_t k = 0; k < p->cut.k_block && k0 + k < p->cut.k_size; k += LANES) {
        vf sum = {0};
        for (int64_t i = 0; i < steps; ++i)
            sum += transform_dy_step(p, pixels + i * AMX_DEPTH * F43_PIXELS, k,
                                     d + k / AMX_ROWS * AMX_PARTS * p->dy_plane + i * AMX_TILE);
        if (dbias)
            vf_store(dbias + k0 + k, vf_load(dbias + k0 + k) + sum);
    }
}

/* Prefetch the pixels of the next block, spread over the steps of this one's products. */
static struct weight_ahead begin_ahead(const struct weight *p, const struct place *at,
                                       const struct place *next, const struct weight_unit *unit,
                                       const char **pixels)
{
    const int64_t k = p->cut.k_block, c = p->cut.c_block, rows = next->rows + F43_TAPS - 1;
    const int64_t blocks = F43_PLACES * F43_TAPS * k / AMX_BLOCK * c / AMX_BLOCK;
    struct weight_ahead ahead = {.next = pixels, .lines = (k > c ? k : c) / LANES};
    struct weight_row row = {.w = next->w * F43_PIXELS - 1,
                             .count = row_width(p),
                             .end_h = p->x.h,
                             .end_w = p->x.w,
                             .channel = unit->c};
    for (int64_t line = 0; line < p->pictures * rows; ++line, pixels += row.count) {
        row.n = next->n + line / rows;
        row.h = next->h + line % rows - 1;
        weight_fill_row(&p->x, &row, pixels);
    }
    fill_dy(p, next, unit->k, pixels);
    ahead.end = pixels + p->pictures * next->steps * AMX_DEPTH * F43_PIXELS;
    ahead.at_once = ddpm_ceil_div(ahead.end - ahead.next, blocks * p->pictures * at->steps);
    return ahead;
}

/* The products of a block of pixels: sums[c][k][place][r], blocks of 32×32. */
static void multiply(const struct weight *p, const struct place *at, const char *v, const char *d,
                     bool first, struct weight_ahead ahead, float *sums)
{
    const int64_t x_group = AMX_PARTS * p->x_plane, dy_group = AMX_PARTS * p->dy_plane;
    const int64_t lines = AMX_BLOCK_BYTES / AMX_ROW_BYTES / (p->pictures * at->steps);
    for (int64_t c = 0; c < p->cut.c_block; c += AMX_BLOCK)
        for (int64_t k = 0; k < p->cut.k_block; k += AMX_BLOCK)
            for (int64_t place = 0; place < F43_PLACES; ++place)
                for (int64_t r = 0; r < F43_TAPS; ++r, sums += AMX_SUMS) {
                    const char *low = d + (place * p->cut.k_block + k) / AMX_ROWS * dy_group;
                    const char *b =
                        v + (place * p->cut.c_block + c) / AMX_ROWS * x_group + r * p->row;
                    if (first)
                        amx_block_zero();
                    else
                        amx_block_load(sums);
                    for (int64_t i = 0; i < p->pictures; ++i, b += p->x_picture)
                        for (int64_t step = 0; step < at->steps; ++step, low += AMX_TILE) {
                            amx_block_step_split(low, low + dy_group, AMX_ROW_BYTES, p->dy_plane,
                                                 b + step * AMX_TILE, p->x_plane, x_group);
                            weight_fetch(&ahead);
                            amx_block_fetch(sums + AMX_SUMS, i * at->steps + step, lines);
                        }
                    amx_block_store(sums);
                }
    amx_fence();
}

/* Add a unit's sums to dw. */
static void put_sums(const struct weight *p, const float *sums, const struct weight_unit *unit)
{
    for (int64_t c = 0; c < p->cut.c_block; c += AMX_BLOCK)
        for (int64_t k = 0; k < p->cut.k_block;
             k += AMX_BLOCK, sums += F43_PLACES * F43_TAPS * AMX_SUMS)
            for (int64_t i = 0;
                 i < AMX_BLOCK * F43_TAPS && unit->k + k + i / F43_TAPS < p->cut.k_size; ++i)
                for (int64_t j = 0; j < AMX_BLOCK && unit->c + c + j < p->cut.c_size; j += LANES) {
                    const int64_t m = i / F43_TAPS, r = i % F43_TAPS;
                    float *to = unit->dw +
                                ((unit->k + k + m) * F43_TAPS + r) * F43_TAPS * p->cut.c_size +
                                unit->c + c + j;
                    vf places[F43_PLACES], w[F43_TAPS];
                    for (int64_t place = 0; place < F43_PLACES; ++place)
                        places[place] =
                            vf_load(amx_block_at(sums + (place * F43_TAPS + r) * AMX_SUMS, m, j));
                    weight_gradient_1d(places, w);
                    for (int s = 0; s < F43_TAPS; ++s, to += p->cut.c_size)
                        vf_store(to, unit->fresh ? w[s] : vf_load(to) + w[s]);
                }
}

static void run_unit(const struct weight *p, const struct weight_unit *unit, char *memory)
{
    char *v = memory, *d = v + p->x_bytes;
    float *sums = (float *)(void *)(d + p->dy_bytes);
    const char **pixels = (const char **)(void *)((char *)sums + p->sum_bytes);
    memset(
        v, 0,
        (size_t)(p->x_bytes + p->dy_bytes)); /* steps read past the last rows and channels: zeros */
    for (int64_t block = unit->begin; block < unit->end; ++block) {
        const struct place at = block_place(p, block), next = block_place(p, block + 1);
        struct weight_ahead ahead = {.next = NULL};
        transform_x(p, &at, unit->c, v);
        transform_dy(p, &at, unit->k, d, pixels, unit->dbias);
        if (block + 1 < unit->end)
            ahead = begin_ahead(p, &at, &next, unit, pixels);
        amx_fence();
        multiply(p, &at, v, d, block == unit->begin, ahead, sums);
    }
    put_sums(p, sums, unit);
}

static void weight_units(void *context, int64_t begin, int64_t end, int thread)
{
    const struct weight *p = context;
    amx_begin();
    for (int64_t i = begin; i < end; ++i) {
        const struct weight_unit unit = weight_unit_begin(&p->cut, i);
        run_unit(p, &unit, p->memory + thread * p->thread_bytes);
    }
    amx_end();
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    struct weight p = weight_plan(call);
    p.memory = call->scratch;
    char *sums = p.memory + call->device->threads * p.thread_bytes;
    SIMD(weight_run_units)(call, &p.cut, (float *)(void *)sums, weight_units, &p);
    return DDPM_OK;
}

const struct ddpm_kernel ddpm_conv2d_backward_weight_rows_amx = {
    .name = "conv2d_backward_weight_rows_amx",
    .supports = weight_supports,
    .prepare = weight_prepare,
    .run = weight_run};

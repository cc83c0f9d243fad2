/* Gradient of convolution weights, of bf16 or of fp32 in parts, in matrix tiles (amx.h):
 *
 *   dw[k][r][s][c] += Σ_pixels dy[pixel][k] · x[pixel·stride + (r,s) - padding][c]
 *   dbias[k]       += Σ_pixels dy[pixel][k]
 *
 * The depth runs over pixels, so dy is transposed to [k][pixel], and x is stored in pairs of
 * pixels, [pair][c][2]; the rows of taps are offsets of whole rows. If rows are wide enough, a
 * block is a few rows of 32 pixels, and x is stored with its border twice, in pairs that start at
 * even columns and at odd ones: every column of taps is an offset in one of the two. Narrow
 * pictures have one copy per column of taps, shifted by it; there the pixels of a block follow each
 * other without a border, and tiles extend over the ends of rows. Copies are grouped by 16
 * channels, so that every tile is 1 KB of consecutive memory: operands come from L2, and
 * prefetchers only follow such loads. For fp32, the parts of 16 channels follow each other.
 *
 * Pictures with few channels use the S·C numbers under a row of the kernel as their channels.
 *
 * For each block of pixels a unit of work (conv_weight.h) makes its copies, in L2, and adds all
 * taps' products to its own sums. */
#include "core/memory.h"
#include "kernels/cpu/amx.h"
#include "kernels/cpu/conv_weight.h"
#include "kernels/cpu/winograd.h"

#define BLOCK_PIXELS 256
#define BLOCK_CHANNELS 128     /* of k and of c */
#define BLOCK_CHANNELS_1X1 256 /* fewer products per copied number: copy it less often */
#define LEAST_PIXELS_SPLIT 64
#define UNITS 32 /* split the work at least this finely, for machines with many cores, but */
#define BLOCKS_PER_GROUP 16 /* the sums of a group must be worth adding up */
#define PAIR 64             /* bytes of a pair of pixels, 16 channels */
#define BIAS_VECTORS 4      /* channels summed at once */
#define SKEW 64 /* bytes between groups of channels, which spread them over the cache sets */

_Static_assert(BLOCK_CHANNELS_1X1 <= WEIGHT_ZEROS, "pixels outside are read as zeros");

struct weight {
    struct ddpm_tensor x, dy;
    int taps_h, taps_w, stride, padding;
    struct weight_cut cut;           /* its blocks are multiples of AMX_BLOCK */
    int64_t rows, columns, pictures; /* pixels of dy in a block */
    int64_t pitch, x_pitch;          /* pixels of a row in the copies of dy and of x: even */
    int64_t blocks_h, blocks_w;
    bool bordered;              /* x is stored with a border, in two copies of each row */
    int64_t steps;              /* per picture of a block, AMX_DEPTH pixels each */
    int64_t x_rows;             /* rows in a copy of x */
    int64_t row_copies, copies; /* of a row; in all */
    bool split;                 /* x and dy are fp32, in parts */
    int64_t parts, size;        /* of a number; bytes of an element */
    int64_t x_picture, x_part, x_group,
        x_copy;                /* bytes between pictures, parts, 16 channels, copies of x */
    int64_t dy_part, dy_group; /* bytes between parts, 16 channels in the copy of dy */
    int64_t x_bytes, dy_bytes, sum_bytes, thread_bytes;
    int64_t pixel_count; /* pointers to pixels of a row of x, or of dy's block */
    const char **pixels;
    int64_t ahead_count; /* the same for the next block, see weight_fetch() */
    const char **ahead;
    bool few;   /* few channels: the S·C numbers under a kernel's row count as channels */
    char *line; /* few: a row of x with its border */
    int64_t line_bytes;
    char *memory;
};

/* Pixels in a row of x that its copies read. */
static int64_t row_width(const struct weight *p)
{
    return (p->x_pitch - 1) * p->stride + p->row_copies;
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
                       .cut = {.k_size = call->in[1].c, .c_size = call->in[0].c}};
    const bool single = at->kernel_h == 1 && at->kernel_w == 1;
    p.split = p.x.dtype == DDPM_F32;
    p.parts = p.split ? AMX_PARTS : 1;
    p.size = (int64_t)ddpm_dtype_size(p.x.dtype);
    p.few = ddpm_few_channels(call);
    if (p.few) {
        p.cut.c_size *= p.taps_w;
        p.taps_w = 1;
    }
    if (single && at->stride == 1 && at->padding == 0) {
        p.x.w = p.dy.w = ddpm_tensor_pixels(&p.x);
        p.x.n = p.x.h = p.dy.n = p.dy.h = 1;
    }
    const int64_t whole = ddpm_ceil_div(p.dy.w, AMX_DEPTH) * AMX_DEPTH;
    p.bordered = p.stride == 1 && p.taps_w > 1 && 8 * whole <= 9 * p.dy.w;
    p.columns = p.bordered ? AMX_DEPTH : weight_even_block(p.dy.w, BLOCK_PIXELS, 2);
    p.pitch = p.columns;
    p.x_pitch = p.bordered ? p.pitch + p.taps_w / 2 * 2 : p.pitch;
    p.rows = BLOCK_PIXELS / p.columns;
    p.rows = weight_even_block(p.dy.h, p.rows < 1 ? 1 : p.rows, 1);
    p.pictures = p.rows < p.dy.h || p.columns < p.dy.w
                     ? 1
                     : ddpm_smaller(ddpm_ceil_div(BLOCK_PIXELS, p.rows * p.pitch), p.dy.n);
    p.blocks_h = ddpm_ceil_div(p.dy.h, p.rows);
    p.blocks_w = ddpm_ceil_div(p.dy.w, p.columns);
    p.cut.blocks = ddpm_ceil_div(p.dy.n, p.pictures) * p.blocks_h * p.blocks_w;
    p.steps = ddpm_ceil_div(p.rows * p.pitch, AMX_DEPTH);

    const int64_t most = single ? BLOCK_CHANNELS_1X1 : BLOCK_CHANNELS;
    p.cut.k_block = weight_even_block(p.cut.k_size, most, AMX_BLOCK);
    p.cut.c_block = weight_even_block(p.cut.c_size, most, AMX_BLOCK);
    weight_cut_finish(&p.cut, p.taps_h * p.taps_w * p.cut.c_size, UNITS, BLOCKS_PER_GROUP);

    /* a stride leaves rows between those of one tap, so every tap has a copy */
    p.x_rows = p.stride == 1 ? p.rows + p.taps_h - 1 : p.rows;
    p.row_copies = p.bordered ? 2 : p.taps_w;
    p.copies = p.stride == 1 ? p.row_copies : p.taps_h * p.row_copies;
    p.x_picture =
        (p.x_rows * p.x_pitch / 2 + AMX_DEPTH / 2) * PAIR; /* steps may read past its end */
    p.x_part = p.pictures * p.x_picture + SKEW;
    p.x_group = p.parts * p.x_part;
    p.x_copy = p.cut.c_block / AMX_ROWS * p.x_group;
    p.dy_part = p.pictures * p.steps * AMX_TILE + SKEW;
    p.dy_group = p.parts * p.dy_part;
    p.x_bytes = (int64_t)ddpm_align_up((size_t)(p.copies * p.x_copy));
    p.dy_bytes = p.cut.k_block / AMX_ROWS * p.dy_group;
    p.sum_bytes = p.cut.k_block * p.cut.c_block * p.taps_h * p.taps_w * (int64_t)sizeof(float);
    p.pixel_count = p.pictures * p.steps * AMX_DEPTH;
    const int64_t width = row_width(&p);
    p.pixel_count = p.pixel_count > width ? p.pixel_count : width;
    if (p.few)
        p.line_bytes = ((width - 1) * p.x.c + p.cut.c_size) * p.size;
    p.ahead_count = p.pictures * p.steps * AMX_DEPTH;
    if (!p.few)
        p.ahead_count += p.copies / p.row_copies * p.pictures * p.x_rows * width;
    p.thread_bytes =
        p.x_bytes + p.dy_bytes + p.sum_bytes +
        (int64_t)ddpm_align_up((size_t)(p.pixel_count + p.ahead_count) * sizeof(void *)) +
        (int64_t)ddpm_align_up((size_t)p.line_bytes);
    return p;
}

/* fp32 is faster with vectors where Winograd suits pictures that are too small for
 * conv_weight_rows_amx.c, or where the sums go through memory for few pixels. */
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
    call->scratch_bytes =
        (size_t)(call->device->threads * p.thread_bytes) + weight_sums_bytes(&p.cut);
    return DDPM_OK;
}

/* First pixel of a block of dy. */
struct place {
    int64_t n, h, w;
};

static struct place block_place(const struct weight *p, int64_t block)
{
    const int64_t line = block / p->blocks_w;
    return (struct place){line / p->blocks_h * p->pictures, line % p->blocks_h * p->rows,
                          block % p->blocks_w * p->columns};
}

/* The row of x from which row `line` of the copies for row r of taps is made. */
static struct weight_row x_row(const struct weight *p, const struct place *at, int64_t r,
                               int64_t line, int64_t channel)
{
    return (struct weight_row){.n = at->n + line / p->x_rows,
                               .h = (at->h + line % p->x_rows) * p->stride + r - p->padding,
                               .w = at->w * p->stride - p->padding,
                               .count = row_width(p),
                               .end_h = p->x.h,
                               .end_w = p->x.w,
                               .channel = channel};
}

/* The pixels of a block of dy, in rows of `pitch`; the last row may be partial. */
static void fill_dy(const struct weight *p, const struct place *at, int64_t k, const char **pixels)
{
    const int64_t picture = p->steps * AMX_DEPTH;
    for (int64_t i = 0; i < p->pictures; ++i, pixels += picture)
        for (int64_t j = 0; j < picture; j += p->pitch) {
            const struct weight_row row = {.n = at->n + i,
                                           .h = at->h + j / p->pitch,
                                           .w = at->w,
                                           .count = ddpm_smaller(p->pitch, picture - j),
                                           .end_h = j / p->pitch < p->rows ? p->dy.h : 0,
                                           .end_w = ddpm_smaller(at->w + p->columns, p->dy.w),
                                           .channel = k};
            weight_fill_row(&p->dy, &row, pixels + j);
        }
}

/* The pixels of a row with few channels, in a copy with a border: windows are adjacent. */
static void fill_windows(const struct weight *p, const struct weight_row *row)
{
    const struct ddpm_tensor *x = &p->x;
    const bool inside = row->n < x->n && row->h >= 0 && row->h < x->h;
    const int64_t first = (row->n * x->h + row->h) * x->w, pixel = x->c * p->size;
    memset(p->line, 0, (size_t)p->line_bytes);
    for (int64_t i = 0, w = row->w; inside && i < row->count - 1 + p->cut.c_size / x->c; ++i, ++w)
        if (w >= 0 && w < x->w)
            memcpy(p->line + i * pixel,
                   (const char *)x->data + (first + w) * x->pixel_stride * p->size, (size_t)pixel);
    for (int64_t i = 0; i < row->count; ++i)
        p->pixels[i] = p->line + i * pixel + row->channel * p->size;
}

/* 32 channels of a pixel from c on; `left` of them exist. */
ALWAYS_INLINE __m512i load_channels(const char *pixel, int64_t c, int64_t left)
{
    const __mmask32 mask = left >= 32 ? ~0u : left > 0 ? (1u << left) - 1 : 0;
    return _mm512_maskz_loadu_epi16(mask, pixel + 2 * c);
}

/* Two pixels' 32 channels as pairs: 0–15, or 16–31. */
ALWAYS_INLINE __m512i pairs_of(__m512i even, __m512i odd, const int half)
{
    const __m512i low_half =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    return _mm512_permutex2var_epi16(
        even, half ? _mm512_add_epi16(low_half, _mm512_set1_epi16(16)) : low_half, odd);
}

/* 16 channels of two pixels of fp32 as pairs, in parts. */
ALWAYS_INLINE void load_pairs_split(const char *even, const char *odd, int64_t c, int64_t left,
                                    vf pairs[AMX_PARTS])
{
    const __mmask16 mask = (__mmask16)(left >= 16 ? 0xffff : left > 0 ? (1u << left) - 1 : 0);
    amx_split_pairs((vf)_mm512_maskz_loadu_ps(mask, even + 4 * c),
                    (vf)_mm512_maskz_loadu_ps(mask, odd + 4 * c), pairs);
}

/* Pairs of pixels of x that start at pixel[0], pixel[1], …, each in a copy of its own, 32 channels
 * from c on. */
ALWAYS_INLINE void put_pairs(const struct weight *p, const char *const *pixel, int64_t c,
                             int64_t left, char *to, const int64_t copies)
{
    __m512i even = load_channels(pixel[0], c, left);
    for (int64_t s = 0; s < copies; ++s, to += p->x_copy) {
        const __m512i odd = load_channels(pixel[s + p->stride], c, left);
        _mm512_storeu_si512(to, pairs_of(even, odd, 0));
        _mm512_storeu_si512(to + p->x_group, pairs_of(even, odd, 1));
        even = p->stride == 1 ? odd : load_channels(pixel[s + 1], c, left);
    }
}

static void put_pairs_split(const struct weight *p, const char *const *pixel, int64_t c,
                            int64_t left, char *to)
{
    for (int64_t s = 0; s < p->row_copies; ++s)
        for (int64_t half = 0; half < 2; ++half) {
            vf pairs[AMX_PARTS];
            char *group = to + s * p->x_copy + half * p->x_group;
            load_pairs_split(pixel[s], pixel[s + p->stride], c + half * 16, left - half * 16,
                             pairs);
            for (int64_t part = 0; part < AMX_PARTS; ++part)
                vf_store((float *)(void *)(group + part * p->x_part), pairs[part]);
        }
}

/* Copy a row of x. */
ALWAYS_INLINE void copy_row(const struct weight *p, int64_t left, char *pairs, const int64_t copies)
{
    for (int64_t j = 0; j < p->x_pitch; j += 2, pairs += PAIR)
        for (int64_t c = 0; c < p->cut.c_block; c += 32) {
            const char *const *pixel = p->pixels + j * p->stride;
            char *to = pairs + c / AMX_ROWS * p->x_group;
            if (p->split)
                put_pairs_split(p, pixel, c, left - c, to);
            else
                put_pairs(p, pixel, c, left - c, to, copies);
        }
}

/* Zero what steps read after the last row of the copies. */
static void clear_ends(const struct weight *p, char *x)
{
    const int64_t end = p->x_rows * p->x_pitch / 2 * PAIR;
    for (int64_t i = 0; i < p->copies * p->cut.c_block / AMX_ROWS * p->parts * p->pictures; ++i)
        memset(x + i / p->pictures * p->x_part + i % p->pictures * p->x_picture + end, 0,
               (size_t)(p->x_picture - end));
}

/* The copies of x under a block: [copy][16 channels][part][pair]. */
static void copy_x(const struct weight *p, const struct place *at, int64_t c0, char *to)
{
    const int64_t left = p->cut.c_size - c0, row_bytes = p->x_pitch / 2 * PAIR;
    for (int64_t r = 0; r < p->copies / p->row_copies; ++r, to += p->row_copies * p->x_copy)
        for (int64_t line = 0; line < p->pictures * p->x_rows; ++line) {
            const struct weight_row row = x_row(p, at, r, line, c0);
            char *pairs = to + line / p->x_rows * p->x_picture + line % p->x_rows * row_bytes;
            if (p->few)
                fill_windows(p, &row);
            else
                weight_fill_row(&p->x, &row, p->pixels);
            if (p->bordered)
                copy_row(p, left, pairs, 2);
            else
                copy_row(p, left, pairs, p->row_copies);
        }
}

/* A tile of dy: 16 pairs of pixels, transposed. */
ALWAYS_INLINE void put_tile(__m512i pairs[AMX_ROWS], char *to)
{
    amx_transpose(pairs);
    for (int i = 0; i < AMX_ROWS; ++i)
        _mm512_storeu_si512(to + i * 64, pairs[i]);
}

/* 32 pixels of dy, 32 channels from k on. */
static void copy_dy_step(const struct weight *p, const char *const *pixel, int64_t k, int64_t left,
                         char *to)
{
    __m512i low[AMX_ROWS], high[AMX_ROWS];
    for (int i = 0; i < AMX_ROWS; ++i) {
        const __m512i even = load_channels(pixel[2 * i], k, left);
        const __m512i odd = load_channels(pixel[2 * i + 1], k, left);
        low[i] = pairs_of(even, odd, 0);
        high[i] = pairs_of(even, odd, 1);
    }
    put_tile(low, to);
    put_tile(high, to + p->dy_group);
}

static void copy_dy_step_split(const struct weight *p, const char *const *pixel, int64_t k,
                               int64_t left, char *to)
{
    for (int half = 0; half < 2; ++half, k += 16, left -= 16, to += p->dy_group) {
        __m512i tiles[AMX_PARTS][AMX_ROWS];
        for (int i = 0; i < AMX_ROWS; ++i) {
            vf pairs[AMX_PARTS];
            load_pairs_split(pixel[2 * i], pixel[2 * i + 1], k, left, pairs);
            for (int part = 0; part < AMX_PARTS; ++part)
                tiles[part][i] = (__m512i)pairs[part];
        }
        for (int part = 0; part < AMX_PARTS; ++part)
            put_tile(tiles[part], to + part * p->dy_part);
    }
}

/* The copy of dy: [16 channels][part][step], tiles of AMX_DEPTH pixels for each channel. */
static void copy_dy(const struct weight *p, const struct place *at, int64_t k0, char *to)
{
    const int64_t steps = p->pictures * p->steps;
    fill_dy(p, at, k0, p->pixels);
    for (int64_t step = 0; step < steps; ++step)
        for (int64_t k = 0; k < p->cut.k_block; k += 32) {
            const char *const *pixel = p->pixels + step * AMX_DEPTH;
            const int64_t left = p->cut.k_size - k0 - k;
            char *out = to + step * AMX_TILE + k / AMX_ROWS * p->dy_group;
            if (p->split)
                copy_dy_step_split(p, pixel, k, left, out);
            else
                copy_dy_step(p, pixel, k, left, out);
        }
}

/* Sums over the pixels, for `vectors` vectors of channels from k on. */
ALWAYS_INLINE void add_bias_vectors(const struct weight *p, const int64_t vectors, int64_t k,
                                    int64_t left, float *dbias)
{
    vf sums[BIAS_VECTORS] = {{0}};
    for (int64_t i = 0; i < p->pictures * p->steps * AMX_DEPTH; ++i)
        for (int64_t v = 0; v < vectors; ++v) {
            const int64_t at = k + v * LANES;
            sums[v] += vf_load_upto(p->pixels[i], at, left - v * LANES, p->dy.dtype);
        }
    for (int64_t v = 0; v < vectors; ++v, k += LANES, left -= LANES)
        vf_store_upto(dbias, k, vf_load_upto(dbias, k, left, DDPM_F32) + sums[v], left, DDPM_F32);
}

/* dbias of channels from k0 on, over a block whose dy has been copied. */
static void add_bias(const struct weight *p, int64_t k0, float *dbias)
{
    const int64_t channels = ddpm_smaller(p->cut.k_block, p->cut.k_size - k0);
    int64_t k = 0;
    for (; k + BIAS_VECTORS * LANES <= channels; k += BIAS_VECTORS * LANES)
        add_bias_vectors(p, BIAS_VECTORS, k, BIAS_VECTORS * LANES, dbias + k0);
    for (; k < channels; k += LANES)
        add_bias_vectors(p, 1, k, channels - k, dbias + k0);
}

/* The i-th column of taps to multiply; columns that use the same copy of x come first. */
static int64_t tap_column(const struct weight *p, int64_t i)
{
    const int64_t even = ddpm_ceil_div(p->taps_w, 2);
    return i < even ? 2 * i : 2 * (i - even) + 1;
}

/* The operand for tap (r, s), channels from c on. */
static const char *tap_copy(const struct weight *p, const char *x, int64_t c, int64_t r, int64_t s)
{
    const int64_t row = p->x_pitch / 2 * PAIR;
    x += c / AMX_ROWS * p->x_group;
    if (p->bordered)
        return x + s % 2 * p->x_copy + s / 2 * PAIR + r * row;
    return p->stride == 1 ? x + s * p->x_copy + r * row : x + (r * p->taps_w + s) * p->x_copy;
}

/* Prefetch the pixels of a block, spread over the steps of all products. */
static struct weight_ahead begin_ahead(const struct weight *p, const struct place *at, int64_t k0,
                                       int64_t c0)
{
    const int64_t k = p->cut.k_block, c = p->cut.c_block;
    const int64_t steps =
        k / AMX_BLOCK * c / AMX_BLOCK * p->taps_h * p->taps_w * p->pictures * p->steps;
    const char **pixels = p->ahead;
    for (int64_t r = 0; !p->few && r < p->copies / p->row_copies; ++r)
        for (int64_t line = 0; line < p->pictures * p->x_rows; ++line, pixels += row_width(p)) {
            const struct weight_row row = x_row(p, at, r, line, c0);
            weight_fill_row(&p->x, &row, pixels);
        }
    fill_dy(p, at, k0, pixels);
    return (struct weight_ahead){.next = p->ahead,
                                 .end = p->ahead + p->ahead_count,
                                 .lines = ddpm_ceil_div((k > c ? k : c) * p->size, 64),
                                 .at_once = ddpm_ceil_div(p->ahead_count, steps)};
}

/* The products of all taps for a copied block: sums[c][k][tap], blocks of 32×32. */
static void weight_block(const struct weight *p, const char *x, const char *dy, bool first,
                         struct weight_ahead ahead, float *sums)
{
    const int64_t taps = (int64_t)p->taps_h * p->taps_w;
    const int64_t step_bytes = p->bordered ? p->x_pitch / 2 * PAIR : AMX_TILE;
    const int64_t lines = AMX_BLOCK_BYTES / AMX_ROW_BYTES / (p->pictures * p->steps);
    for (int64_t c = 0; c < p->cut.c_block; c += AMX_BLOCK)
        for (int64_t k = 0; k < p->cut.k_block; k += AMX_BLOCK)
            for (int64_t i = 0; i < taps; ++i, sums += AMX_SUMS) {
                const char *b = tap_copy(p, x, c, i % p->taps_h, tap_column(p, i / p->taps_h));
                const char *low = dy + k / AMX_ROWS * p->dy_group, *high = low + p->dy_group;
                if (first)
                    amx_block_zero();
                else
                    amx_block_load(sums);
                for (int64_t n = 0; n < p->pictures; ++n, b += p->x_picture)
                    for (int64_t step = 0; step < p->steps; ++step) {
                        const char *pairs = b + step * step_bytes;
                        if (p->split)
                            amx_block_step_split(low, high, AMX_ROW_BYTES, p->dy_part, pairs,
                                                 p->x_part, p->x_group);
                        else
                            amx_block_step(low, high, AMX_ROW_BYTES, pairs, AMX_ROW_BYTES,
                                           p->x_group);
                        weight_fetch(&ahead);
                        amx_block_fetch(sums + AMX_SUMS, n * p->steps + step, lines);
                        low += AMX_TILE;
                        high += AMX_TILE;
                    }
                amx_block_store(sums);
            }
    amx_fence();
}

/* Add a unit's sums to dw. */
static void put_sums(const struct weight *p, const float *sums, const struct weight_unit *unit)
{
    const int64_t taps = (int64_t)p->taps_h * p->taps_w;
    for (int64_t c = unit->c; c < unit->c + p->cut.c_block; c += AMX_BLOCK)
        for (int64_t k = unit->k; k < unit->k + p->cut.k_block; k += AMX_BLOCK)
            for (int64_t i = 0; i < taps; ++i, sums += AMX_SUMS)
                for (int64_t m = 0; m < AMX_BLOCK && k + m < p->cut.k_size; ++m)
                    for (int64_t j = 0; j < AMX_BLOCK && c + j < p->cut.c_size; j += LANES) {
                        const int64_t tap =
                            i % p->taps_h * p->taps_w + tap_column(p, i / p->taps_h);
                        float *to = unit->dw + ((k + m) * taps + tap) * p->cut.c_size + c + j;
                        const int64_t left = p->cut.c_size - c - j;
                        vf sum = vf_load(amx_block_at(sums, m, j));
                        if (!unit->fresh)
                            sum += vf_load_upto(to, 0, left, DDPM_F32);
                        vf_store_upto(to, 0, sum, left, DDPM_F32);
                    }
}

static void run_unit(const struct weight *shared, const struct weight_unit *unit, char *memory)
{
    struct weight own = *shared, *p = &own;
    char *x = memory, *dy = x + p->x_bytes;
    float *sums = (float *)(void *)(dy + p->dy_bytes);
    p->pixels = (const char **)(void *)((char *)sums + p->sum_bytes);
    p->ahead = p->pixels + p->pixel_count;
    p->line = (char *)p->pixels +
              ddpm_align_up((size_t)(p->pixel_count + p->ahead_count) * sizeof(void *));
    if (!p->bordered)
        clear_ends(p, x);
    for (int64_t block = unit->begin; block < unit->end; ++block) {
        const struct place at = block_place(p, block), next = block_place(p, block + 1);
        struct weight_ahead ahead = {.next = NULL};
        copy_x(p, &at, unit->c, x);
        copy_dy(p, &at, unit->k, dy);
        if (unit->dbias)
            add_bias(p, unit->k, unit->dbias);
        if (block + 1 < unit->end)
            ahead = begin_ahead(p, &next, unit->k, unit->c);
        amx_fence();
        weight_block(p, x, dy, block == unit->begin, ahead, sums);
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

const struct ddpm_kernel ddpm_conv2d_backward_weight_amx = {.name = "conv2d_backward_weight_amx",
                                                            .supports = weight_supports,
                                                            .prepare = weight_prepare,
                                                            .run = weight_run};

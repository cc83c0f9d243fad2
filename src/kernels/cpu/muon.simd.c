/* Muon on one matrix: momentum, five Newton–Schulz iterations, the update. ops.inc has the
 * formulas.
 *
 * Let x [least, most] be the matrix or its transpose, whichever has fewer rows. An iteration
 * multiplies x by P = a + b·A + c·A² with A = x·xᵀ. All P are polynomials of the first A, so they
 * commute, and the next A is P·A·P. So the iterations run on the small matrices
 * [least, least] alone and collect Q, the product of all P; x is read once for the first A and
 * multiplied once by Q. With most = 9·least, as in a 3×3 convolution, that is a third of the
 * multiplications. Every small matrix is symmetric: only tiles on and below the diagonal are
 * computed, the others are copied. Since Q is symmetric too, the transpose of Q·x is xᵀ·Q, so the
 * result comes out in the matrix's own layout either way. */
#include <math.h>

#include "kernels/cpu/conv.h"
#include "kernels/cpu/element.h"
#include "kernels/cpu/gemm.h"

/* Elements per piece of a loop over all elements, and multiply-adds per piece of a product. */
enum { PIECE = 16384, PRODUCT_PIECE = 1 << 20 };

/* Side of the squares that are transposed at a time. */
enum { BLOCK = 16 };

struct muon {
    const struct ddpm_call *call;
    int64_t rows, columns, least, most;
    float *u, *next, *packed; /* [rows, columns], in the matrix's layout unless it says otherwise */
    float *a, *p, *q, *spare; /* [least, least] */
    double *squares;          /* one per piece */
    float clip, momentum, rest, scale, keep, rate;
};

static int64_t packed_columns(int64_t columns)
{
    return ddpm_ceil_div(columns, GEMM_COLUMNS) * GEMM_COLUMNS;
}

static struct muon layout(const struct ddpm_call *call)
{
    const int64_t count = ddpm_tensor_count(&call->out[0]), rows = call->attributes.rows;
    const int64_t columns = count / rows, least = rows < columns ? rows : columns;
    return (struct muon){
        .call = call, .rows = rows, .columns = columns, .least = least, .most = count / least};
}

/* How many numbers each buffer holds: a multiple of a vector. */
static int64_t room(int64_t count)
{
    return ddpm_ceil_div(count, 16) * 16;
}

static int64_t packed_room(const struct muon *m)
{
    const int64_t turned = packed_columns(m->least) * m->most;
    const int64_t straight = packed_columns(m->most) * m->least;
    return room(turned > straight ? turned : straight);
}

static int64_t pieces_of(const struct muon *m)
{
    return ddpm_ceil_div(m->rows * m->columns, PIECE);
}

static ddpm_status muon_prepare(struct ddpm_call *call)
{
    const struct muon m = layout(call);
    const int64_t numbers =
        2 * room(m.least * m.most) + 4 * room(m.least * m.least) + packed_room(&m);
    call->scratch_bytes = (size_t)numbers * sizeof(float) + (size_t)pieces_of(&m) * sizeof(double);
    return DDPM_OK;
}

static void place_buffers(struct muon *m)
{
    m->u = m->call->scratch;
    m->next = m->u + room(m->least * m->most);
    m->a = m->next + room(m->least * m->most);
    m->p = m->a + room(m->least * m->least);
    m->q = m->p + room(m->least * m->least);
    m->spare = m->q + room(m->least * m->least);
    m->packed = m->spare + room(m->least * m->least);
    m->squares = (double *)(void *)(m->packed + packed_room(m));
}

static void momentum_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct muon *m = context;
    const float *restrict g = m->call->in[0].data;
    float *restrict moments = m->call->out[1].data, *restrict u = m->u;
    const float clip = m->clip, momentum = m->momentum, rest = m->rest;
    double sums[LANES] = {0}, sum = 0;
    for (int64_t i = begin; i < end; i += LANES) {
        const int64_t count = end - i < LANES ? end - i : LANES;
        for (int64_t j = 0; j < count; ++j) {
            const float gradient = g[i + j] * clip;
            const float moment = momentum * moments[i + j] + rest * gradient;
            const float next = momentum * moment + rest * gradient;
            moments[i + j] = moment;
            u[i + j] = next;
            sums[j] += (double)next * (double)next;
        }
    }
    for (int j = 0; j < LANES; ++j)
        sum += sums[j];
    m->squares[begin / PIECE] = sum;
}

static void step_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct muon *m = context;
    float *restrict w = m->call->out[0].data;
    const float *restrict next = m->next;
    const float keep = m->keep, rate = m->rate;
    for (int64_t i = begin; i < end; ++i)
        w[i] = w[i] * keep - rate * next[i];
}

/* y[rows,columns] = a[rows,depth]·(factor·b)[depth,columns] + keep·add. b is as given, or
 * transposed: [columns,depth]. add NULL: nothing; it has the shape of y. `symmetric`: y is
 * symmetric, and the upper half is copied from the lower. */
struct product {
    const float *a, *b, *add;
    float *packed, *y;
    int64_t rows, depth, columns;
    float factor, keep;
    bool turned, symmetric;
};

/* [depth, GEMM_COLUMNS] of b as stored; columns past `count` are zeros. */
static void pack_straight(const struct product *p, int64_t first, int64_t count, float *restrict to)
{
    const float factor = p->factor;
    for (int64_t k = 0; k < p->depth; ++k, to += GEMM_COLUMNS) {
        const float *restrict from = p->b + k * p->columns + first;
        for (int64_t j = 0; j < count; ++j)
            to[j] = factor * from[j];
        for (int64_t j = count; j < GEMM_COLUMNS; ++j)
            to[j] = 0;
    }
}

/* The same of b transposed, a few of its columns at a time, so that what is written stays in L1. */
static void pack_turned(const struct product *p, int64_t first, int64_t count, float *restrict to)
{
    const float *restrict from = p->b + first * p->depth;
    const float factor = p->factor;
    for (int64_t k = 0; k < p->depth; k += BLOCK) {
        const int64_t some = p->depth - k < BLOCK ? p->depth - k : BLOCK;
        for (int64_t j = 0; j < count; ++j)
            for (int64_t i = 0; i < some; ++i)
                to[(k + i) * GEMM_COLUMNS + j] = factor * from[j * p->depth + k + i];
        for (int64_t i = 0; i < some; ++i)
            for (int64_t j = count; j < GEMM_COLUMNS; ++j)
                to[(k + i) * GEMM_COLUMNS + j] = 0;
    }
}

static void pack_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct product *p = context;
    for (int64_t panel = begin; panel < end; ++panel) {
        const int64_t first = panel * GEMM_COLUMNS, left = p->columns - first;
        float *to = p->packed + first * p->depth;
        (p->turned ? pack_turned : pack_straight)(p, first,
                                                  left < GEMM_COLUMNS ? left : GEMM_COLUMNS, to);
    }
}

/* The part of y for one tile of rows and one panel: starts with keep·add, then adds blocks of the
 * depth. */
static void multiply_tile(const struct product *p, int64_t first, int64_t panel)
{
    const void *a[GEMM_ROWS];
    void *y[GEMM_ROWS];
    const int64_t offset = panel * GEMM_COLUMNS, left = p->columns - offset;
    const int rows = (int)(p->rows - first < GEMM_ROWS ? p->rows - first : GEMM_ROWS);
    const int columns = (int)(left < GEMM_COLUMNS ? left : GEMM_COLUMNS);
    for (int r = 0; r < GEMM_ROWS; ++r) {
        const int64_t row = first + (r < rows ? r : 0);
        a[r] = p->a + row * p->depth;
        y[r] = p->y + row * p->columns;
        for (int c = 0; p->add && r < rows && c < columns; ++c)
            p->y[row * p->columns + offset + c] = p->keep * p->add[row * p->columns + offset + c];
    }
    for (int64_t k = 0; k < p->depth; k += GEMM_DEPTH) {
        const struct ddpm_gemm_rows g = {
            .a = a,
            .segments = 1,
            .depth = p->depth - k < GEMM_DEPTH ? p->depth - k : GEMM_DEPTH,
            .a_offset = k,
            .b = p->packed + (panel * p->depth + k) * GEMM_COLUMNS,
            .y = y,
            .add = p->add || k > 0 ? (const void *const *)y : NULL,
            .offset = offset,
            .rows = rows,
            .columns = columns,
            .y_dtype = DDPM_F32,
        };
        SIMD(gemm_rows)(&g);
    }
}

static void multiply_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct product *p = context;
    const int64_t tiles = ddpm_ceil_div(p->rows, GEMM_ROWS);
    for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % tiles * GEMM_ROWS, panel = i / tiles;
        if (!p->symmetric || panel * GEMM_COLUMNS < first + GEMM_ROWS)
            multiply_tile(p, first, panel);
    }
}

/* Copy blocks of rows of the upper half from columns of the lower. */
static void mirror_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct product *p = context;
    const int64_t n = p->columns;
    for (int64_t row = begin * BLOCK; row < n && row < end * BLOCK; row += BLOCK)
        for (int64_t column = row; column < n; column += BLOCK)
            for (int64_t i = row; i < n && i < row + BLOCK; ++i)
                for (int64_t j = i < column ? column : i + 1; j < n && j < column + BLOCK; ++j)
                    p->y[i * n + j] = p->y[j * n + i];
}

static void multiply(const struct muon *m, const struct product *p)
{
    const int threads = m->call->device->threads;
    const int64_t panels = ddpm_ceil_div(p->columns, GEMM_COLUMNS);
    const int64_t tiles = ddpm_ceil_div(p->rows, GEMM_ROWS), panel = p->depth * GEMM_COLUMNS;
    ddpm_parallel_for(threads, panels, 1 + PIECE / panel, pack_range, (void *)p);
    ddpm_parallel_for(threads, panels * tiles, 1 + PRODUCT_PIECE / (GEMM_ROWS * panel),
                      multiply_range, (void *)p);
    if (p->symmetric)
        ddpm_parallel_for(threads, ddpm_ceil_div(p->rows, BLOCK), 1 + PIECE / (BLOCK * p->columns),
                          mirror_range, (void *)p);
}

/* y = a·(factor·b) + keep·add, all [least, least] and symmetric. */
static void multiply_small(const struct muon *m, const float *a, const float *b, float factor,
                           const float *add, float keep, float *y)
{
    const struct product product = {.a = a,
                                    .b = b,
                                    .factor = factor,
                                    .add = add,
                                    .keep = keep,
                                    .packed = m->packed,
                                    .y = y,
                                    .rows = m->least,
                                    .depth = m->least,
                                    .columns = m->least,
                                    .symmetric = true};
    multiply(m, &product);
}

static void swap(float **one, float **other)
{
    float *was = *one;
    *one = *other;
    *other = was;
}

/* P from A; Q = Q·P, or Q = P in the first iteration; the next A unless this is the last. */
static void iterate(struct muon *m, int iteration)
{
    multiply_small(m, m->a, m->a, (float)DDPM_MUON_C, m->a, (float)DDPM_MUON_B, m->p);
    for (int64_t i = 0; i < m->least; ++i)
        m->p[i * m->least + i] += (float)DDPM_MUON_A;
    if (iteration < DDPM_MUON_ITERATIONS - 1) {
        multiply_small(m, m->a, m->p, 1, NULL, 0, m->spare);
        multiply_small(m, m->spare, m->p, 1, NULL, 0, m->a);
    }
    if (iteration == 0) {
        swap(&m->q, &m->p);
    } else {
        multiply_small(m, m->q, m->p, 1, NULL, 0, m->spare);
        swap(&m->q, &m->spare);
    }
}

/* Write blocks of rows of u's transpose to next. */
static void transpose_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct muon *m = context;
    for (int64_t column = begin * BLOCK; column < m->columns && column < end * BLOCK;
         column += BLOCK)
        for (int64_t row = 0; row < m->rows; row += BLOCK)
            for (int64_t j = column; j < m->columns && j < column + BLOCK; ++j)
                for (int64_t i = row; i < m->rows && i < row + BLOCK; ++i)
                    m->next[j * m->rows + i] = m->u[i * m->columns + j];
}

/* A = x·xᵀ of u scaled to norm 1. */
static void multiply_gram(struct muon *m)
{
    const bool tall = m->rows > m->columns;
    struct product gram = {.a = m->u,
                           .b = m->u,
                           .turned = !tall,
                           .factor = m->scale * m->scale,
                           .packed = m->packed,
                           .y = m->a,
                           .rows = m->least,
                           .depth = m->most,
                           .columns = m->least,
                           .symmetric = true};
    if (tall) {
        ddpm_parallel_for(m->call->device->threads, ddpm_ceil_div(m->columns, BLOCK),
                          1 + PIECE / (BLOCK * m->rows), transpose_range, m);
        gram.a = m->next;
    }
    multiply(m, &gram);
}

/* next: u scaled to norm 1, made nearly orthogonal. */
static void orthogonalize(struct muon *m)
{
    const bool tall = m->rows > m->columns;
    multiply_gram(m);
    for (int i = 0; i < DDPM_MUON_ITERATIONS; ++i)
        iterate(m, i);
    const struct product last = {.a = tall ? m->u : m->q,
                                 .b = tall ? m->q : m->u,
                                 .factor = m->scale,
                                 .packed = m->packed,
                                 .y = m->next,
                                 .rows = m->rows,
                                 .depth = m->least,
                                 .columns = m->columns};
    multiply(m, &last);
}

static ddpm_status muon_run(const struct ddpm_call *call)
{
    const float norm = *(const float *)call->in[1].data, *hyper = call->in[2].data;
    const double max_norm = (double)hyper[DDPM_HYPER_MAX_NORM];
    const double lr = (double)hyper[DDPM_HYPER_LR];
    const double clip = max_norm > 0 ? max_norm / ((double)norm + 1e-6) : 1;
    struct muon m = layout(call);
    double squares = 0;
    if (!isfinite(norm))
        return DDPM_OK;
    place_buffers(&m);
    m.clip = clip < 1 ? (float)clip : 1;
    m.momentum = hyper[DDPM_HYPER_MOMENTUM];
    m.rest = (float)(1 - (double)m.momentum);
    m.keep = (float)(1 - lr * (double)hyper[DDPM_HYPER_WEIGHT_DECAY]);
    m.rate = (float)(lr * DDPM_MUON_SCALE * sqrt((double)m.most));
    const int threads = call->device->threads;
    const int64_t count = m.rows * m.columns;
    ddpm_parallel_for(threads, count, PIECE, momentum_range, &m);
    for (int64_t i = 0; i < pieces_of(&m); ++i)
        squares += m.squares[i];
    m.scale = (float)(1 / (sqrt(squares) + 1e-7));
    orthogonalize(&m);
    ddpm_parallel_for(threads, count, PIECE, step_range, &m);
    return DDPM_OK;
}

static bool muon_supports(const struct ddpm_call *call)
{
    for (int i = 0; i < 3; ++i)
        if (call->in[i].dtype != DDPM_F32)
            return false;
    return call->out[0].dtype == DDPM_F32 && call->out[1].dtype == DDPM_F32;
}

static const struct ddpm_kernel muon_kernel = {
    .name = SIMD_NAME("muon"), .supports = muon_supports, .prepare = muon_prepare, .run = muon_run};
KERNELS_OF(muon, &muon_kernel);

/* Depthwise convolution, stride 1, and the gradient of x, which is the same convolution of dy with
 * the filter rotated by 180°:
 *
 *     y[b,h,w,c] = bias[c] + time[b,c] + Σ_{r,s} w[r,s,c]·x[b,h+r-pad,w+s-pad,c]
 *
 * A gradient that x already has may be added before y is rounded.
 *
 * Vectors run over channels. For one channel vector, a tile of two rows of neighbouring output
 * pixels stays in registers over all R·S taps, so a vector of x, once loaded, is used by up to 2·S
 * sums. In bf16 an element holds two rows as well (depthwise.h): 28 loads, weights included, for
 * 112 double multiply-adds at S = 7 and a tile of 2×8.
 *
 * Statistics of y, if wanted, are computed from the sums: moments of every band and vector.
 *
 * Packed weights: [vectors][slots][2][S][LANES], the weights of a slot of x for the upper and the
 * lower row of a tile; zeros where it does not contribute, and after the last channel. Scratch:
 * struct moments [B, bands, vectors], then a ring of unpacked rows per thread, see depthwise.h. */
#include "kernels/cpu/depthwise.h"
#include "kernels/cpu/moments.h"

#if defined(DDPM_AMX)
#include "kernels/cpu/amx.h"
#endif

/* TILE_W divides DEPTHWISE_PIXELS. AVX-512 has 32 registers: 16 sums, 14 weights, 1 input. */
enum { BAND = 16, TILE_H = 2, TILE_W = LANES == 16 ? 8 : 4 };

struct job {
    const struct ddpm_call *call;
    struct depthwise_cut cut;
    int64_t slots; /* loops over a tile's sums */
    size_t moments_bytes;
    bool lines; /* y is written with non-temporal stores */
};

/* If amx_has_lines() says so. */
static bool has_lines(const struct ddpm_tensor *y)
{
#if defined(DDPM_AMX)
    return y->dtype == DDPM_F32 && y->c % LANES == 0 && amx_has_lines(y);
#else
    (void)y;
    return false;
#endif
}

ALWAYS_INLINE void write_line(float *to, vf line)
{
#if defined(DDPM_AMX)
    amx_write_line(to, (__m512i)line);
#else
    vf_store(to, line);
#endif
}

/* Differences of y from a pivot, collected while rows are written. */
struct row_moments {
    struct moments *total; /* NULL: not wanted */
    float pivot;
    vf sum, squares;
};

static int64_t moments_per_image(const struct job *job)
{
    return job->cut.bands * job->cut.vectors;
}

static struct job job_of(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    const int64_t slots = call->attributes.kernel_h / depthwise_rows_together(x->dtype) + 1;
    struct job job = {call, depthwise_cut_of(call, x, BAND, slots), slots, 0,
                      has_lines(&call->out[0])};
    if (call->op == DDPM_OP_DEPTHWISE_CONV2D && ddpm_tensor_present(&call->out[1]))
        job.moments_bytes =
            ddpm_align_up((size_t)(x->n * moments_per_image(&job)) * sizeof(struct moments));
    if (call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA) {
        job.cut.pad_h = job.cut.rows - 1 - job.cut.pad_h;
        job.cut.pad_w = job.cut.taps - 1 - job.cut.pad_w;
    }
    return job;
}

/* sums[o][p] += Σ_s x[p + s]·w[o][s] for the tile's rows o in [from, to); `taps` is a constant if
 * it is 7. */
ALWAYS_INLINE void add_slot(vf sums[TILE_H][TILE_W], const float *x, const float *w, int64_t taps,
                            const int from, const int to, const enum ddpm_dtype dtype)
{
    if (taps == 7) {
        UNROLL
        for (int j = 0; j < TILE_W + 6; ++j) {
            const vf input = vf_load(x + j * LANES);
            UNROLL
            for (int s = 0; s < 7; ++s)
                if (j - s >= 0 && j - s < TILE_W)
                    UNROLL
            for (int o = from; o < to; ++o)
                sums[o][j - s] = depthwise_multiply_add(sums[o][j - s], input,
                                                        vf_load(w + (o * 7 + s) * LANES), dtype);
        }
        return;
    }
    for (int64_t s = 0; s < taps; ++s)
        for (int o = from; o < to; ++o) {
            const vf weight = vf_load(w + (o * taps + s) * LANES);
            UNROLL
            for (int p = 0; p < TILE_W; ++p)
                sums[o][p] =
                    depthwise_multiply_add(sums[o][p], vf_load(x + (p + s) * LANES), weight, dtype);
        }
}

/* A gradient to add to y, or NULL. */
static const struct ddpm_tensor *addend_of(const struct ddpm_call *call)
{
    const bool backward = call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA;
    return backward && ddpm_tensor_present(&call->in[2]) ? &call->in[2] : NULL;
}

/* Add it to `count` pixels of one row of a tile. */
ALWAYS_INLINE void add_row(const struct ddpm_tensor *addend, int64_t pixel, int64_t count,
                           int64_t c, vf sums[TILE_W], const enum ddpm_dtype dtype)
{
    const int64_t from = pixel * addend->pixel_stride + c, left = addend->c - c;
    if (count >= TILE_W && left >= LANES) {
        UNROLL
        for (int p = 0; p < TILE_W; ++p)
            sums[p] += vf_load_as(addend->data, from + p * addend->pixel_stride, dtype);
        return;
    }
    for (int p = 0; p < TILE_W && p < count; ++p)
        sums[p] += vf_load_upto(addend->data, from + p * addend->pixel_stride, left, dtype);
}

/* `count` pixels of one row of a tile. */
ALWAYS_INLINE void store_row(const struct ddpm_tensor *y, int64_t pixel, int64_t count, int64_t c,
                             const bool lines, const vf sums[TILE_W], const enum ddpm_dtype dtype)
{
    const int64_t to = pixel * y->pixel_stride + c, left = y->c - c;
    if (lines && count >= TILE_W) {
        UNROLL
        for (int p = 0; p < TILE_W; ++p)
            write_line((float *)y->data + to + p * y->pixel_stride, sums[p]);
    } else if (count >= TILE_W && left >= LANES) {
        UNROLL
        for (int p = 0; p < TILE_W; ++p)
            vf_store_as(y->data, to + p * y->pixel_stride, sums[p], dtype);
    } else {
        for (int p = 0; p < TILE_W && p < count; ++p)
            vf_store_upto(y->data, to + p * y->pixel_stride, sums[p], left, dtype);
    }
}

/* `count` pixels of one row of a tile; only the first `left` lanes are channels. */
ALWAYS_INLINE void add_moments(struct row_moments *moments, int64_t count, int64_t left,
                               const vf sums[TILE_W])
{
    const vf pivot = vf_set(moments->pivot);
    if (count >= TILE_W && left >= LANES) {
        UNROLL
        for (int p = 0; p < TILE_W; ++p) {
            const vf d = sums[p] - pivot;
            moments->sum += d;
            moments->squares += d * d;
        }
        return;
    }
    for (int p = 0; p < TILE_W && p < count; ++p)
        for (int64_t lane = 0; lane < LANES && lane < left; ++lane) {
            const float d = sums[p][lane] - moments->pivot;
            moments->sum[lane] += d;
            moments->squares[lane] += d * d;
        }
}

static void join_rows(const struct row_moments *rows, int64_t pixels, int64_t left)
{
    const double count = (double)(pixels * (left < LANES ? left : LANES));
    moments_join(rows->total, moments_of_block(count, rows->pivot, (double)vf_sum(rows->sum),
                                               (double)vf_sum(rows->squares)));
}

/* One channel vector of `rows` output rows from `row` (counted over all images) on. slots[i]: the
 * vector's part of the i-th slot, NULL if it is outside the picture. */
ALWAYS_INLINE void output_rows_as(const struct job *job, const float *const *slots, int64_t taps,
                                  const float *w, vf start, int64_t row, int64_t rows, int64_t c,
                                  struct moments *total, const enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *y = &job->call->out[0], *addend = addend_of(job->call);
    struct row_moments moments = {total, 0, {0}, {0}};
    const int64_t slot_weights = TILE_H * taps * LANES, last = job->slots - 1;
    for (int64_t first = 0; first < y->w; first += TILE_W) {
        vf sums[TILE_H][TILE_W];
        UNROLL
        for (int p = 0; p < TILE_W; ++p)
            sums[0][p] = sums[1][p] = start;
        for (int64_t i = 0; i <= last; ++i) {
            if (!slots[i])
                continue;
            const float *x = slots[i] + first * LANES, *weights = w + i * slot_weights;
            if (depthwise_slot_dtype(dtype) == DDPM_F32 && i == 0)
                add_slot(sums, x, weights, taps, 0, 1, dtype);
            else if (depthwise_slot_dtype(dtype) == DDPM_F32 && i == last)
                add_slot(sums, x, weights, taps, 1, 2, dtype);
            else
                add_slot(sums, x, weights, taps, 0, 2, dtype);
        }
        if (total && first == 0)
            moments.pivot = moments_pivot(total->count > 0 ? (float)total->mean : sums[0][0][0]);
        for (int o = 0; o < rows; ++o) {
            if (addend)
                add_row(addend, (row + o) * y->w + first, y->w - first, c, sums[o], dtype);
            store_row(y, (row + o) * y->w + first, y->w - first, c, job->lines, sums[o], dtype);
            if (total)
                add_moments(&moments, y->w - first, y->c - c, sums[o]);
        }
    }
    if (total)
        join_rows(&moments, rows * y->w, y->c - c);
}

static void output_rows(const struct job *job, const float *const *slots, const float *w, vf start,
                        int64_t row, int64_t rows, int64_t c, struct moments *total)
{
    const struct depthwise_cut *cut = &job->cut;
    const bool seven = cut->taps == 7, single = job->call->out[0].dtype == DDPM_F32;
    if (seven && single)
        output_rows_as(job, slots, 7, w, start, row, rows, c, total, DDPM_F32);
    else if (seven)
        output_rows_as(job, slots, 7, w, start, row, rows, c, total, DDPM_BF16);
    else if (single)
        output_rows_as(job, slots, cut->taps, w, start, row, rows, c, total, DDPM_F32);
    else
        output_rows_as(job, slots, cut->taps, w, start, row, rows, c, total, DDPM_BF16);
}

static int64_t vector_weights(const struct job *job)
{
    return job->slots * TILE_H * job->cut.taps * LANES;
}

static void run_piece(const struct job *job, const struct depthwise_piece *piece, float *ring)
{
    const struct depthwise_cut *cut = &job->cut;
    const struct ddpm_tensor *x = &job->call->in[0];
    const float *slots[DEPTHWISE_ROWS + 1], *parts[DEPTHWISE_ROWS + 1];
    struct moments *totals = NULL; /* of the piece's vectors */
    int64_t next = 0;              /* first slot not yet in the ring */
    if (job->moments_bytes) {
        totals = (struct moments *)job->call->scratch +
                 (piece->image * cut->bands + piece->first_row / cut->band) * cut->vectors +
                 piece->first_vector;
        memset(totals, 0, (size_t)piece->vectors * sizeof *totals);
    }
    for (int64_t i = 0; i < job->slots; ++i)
        depthwise_clear_margins(ring + i * cut->slot, piece->vectors, cut->slot_width, cut->pad_w,
                                x->w);
    for (int64_t h = piece->first_row; h < piece->last_row; h += TILE_H) {
        const int64_t rows = h + TILE_H <= piece->last_row ? TILE_H : 1;
        const int64_t begin = (h - piece->first_row) / cut->together;
        for (; next < begin + job->slots; ++next) {
            float *slot = ring + next % job->slots * cut->slot;
            const int64_t row = piece->first_row - cut->pad_h + next * cut->together;
            const bool inside =
                depthwise_unpack(x, row, 0, x->h, piece, cut->pad_w, cut->slot_width, slot);
            slots[next % job->slots] = inside ? slot : NULL;
        }
        for (int64_t v = 0; v < piece->vectors; ++v) {
            const int64_t vector = piece->first_vector + v;
            for (int64_t i = 0; i < job->slots; ++i) {
                const float *slot = slots[(begin + i) % job->slots];
                parts[i] = slot ? slot + v * cut->slot_width * LANES : NULL;
            }
            output_rows(job, parts, (const float *)job->call->packed + vector * vector_weights(job),
                        depthwise_start(job->call, piece->image, vector * LANES),
                        piece->image * x->h + h, rows, vector * LANES, totals ? totals + v : NULL);
        }
    }
}

static void pieces_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct job *job = context;
    char *rings = (char *)job->call->scratch + job->moments_bytes;
    float *ring = (float *)(void *)rings + thread * job->slots * job->cut.slot;
    for (int64_t i = begin; i < end; ++i) {
        const struct depthwise_piece piece = depthwise_piece_of(&job->cut, i, job->call->in[0].h);
        run_piece(job, &piece, ring);
    }
#if defined(DDPM_AMX)
    amx_lines_end();
#endif
}

static ddpm_status run(const struct ddpm_call *call)
{
    struct job job = job_of(call);
    ddpm_parallel_for(call->device->threads, call->in[0].n * job.cut.bands * job.cut.groups, 1,
                      pieces_range, &job);
    if (job.moments_bytes)
        moments_finish_images(call, moments_per_image(&job), &call->out[1]);
    return DDPM_OK;
}

static ddpm_status prepare(struct ddpm_call *call)
{
    const struct job job = job_of(call);
    call->packed_bytes = (size_t)(job.cut.vectors * vector_weights(&job)) * sizeof(float);
    call->scratch_bytes =
        job.moments_bytes +
        (size_t)(call->device->threads * job.slots * job.cut.slot) * sizeof(float);
    return DDPM_OK;
}

/* Tap s of filter row r, LANES channels from c on; zero if there is none. */
static vf tap_at(const struct job *job, int64_t r, int64_t s, int64_t c)
{
    const struct ddpm_call *call = job->call;
    const int64_t taps = job->cut.rows * job->cut.taps, tap = r * job->cut.taps + s;
    const bool turned = call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA;
    if (r < 0 || r >= job->cut.rows)
        return (vf){0};
    return vf_load_upto(call->in[1].data, (turned ? taps - 1 - tap : tap) * call->in[1].c + c,
                        call->in[1].c - c, DDPM_F32);
}

static ddpm_status pack(const struct ddpm_call *call)
{
    const struct job job = job_of(call);
    float *packed = call->packed;
    for (int64_t c = 0; c < job.cut.vectors * LANES; c += LANES)
        for (int64_t i = 0; i < job.slots; ++i)
            for (int64_t o = 0; o < TILE_H; ++o)
                for (int64_t s = 0; s < job.cut.taps; ++s, packed += LANES) {
                    const int64_t r = i * job.cut.together - o;
                    vf tap = tap_at(&job, r, s, c);
                    if (job.cut.together == 2)
                        tap = (vf)vf_to_bf16_pairs(tap, tap_at(&job, r + 1, s, c));
                    vf_store(packed, tap);
                }
    return DDPM_OK;
}

static bool supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1) && call->in[1].dtype == DDPM_F32 &&
           call->attributes.kernel_h <= DEPTHWISE_ROWS &&
           (!ddpm_tensor_present(&call->out[1]) || call->out[1].dtype == DDPM_F32) &&
           (!addend_of(call) || call->in[2].dtype == call->out[0].dtype);
}

const struct ddpm_kernel SIMD(depthwise_conv2d) = {.name = SIMD_NAME("depthwise_conv2d"),
                                                   .supports = supports,
                                                   .prepare = prepare,
                                                   .pack = pack,
                                                   .run = run};
const struct ddpm_kernel SIMD(depthwise_conv2d_backward_data) = {
    .name = SIMD_NAME("depthwise_conv2d_backward_data"),
    .supports = supports,
    .prepare = prepare,
    .pack = pack,
    .run = run};

KERNELS_OF(depthwise_conv2d, &SIMD(depthwise_conv2d));
KERNELS_OF(depthwise_conv2d_backward_data, &SIMD(depthwise_conv2d_backward_data));

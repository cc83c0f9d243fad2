/* Gradients of the weights, bias and time bias of a depthwise convolution:
 *
 *     dw[r,s,c] += Σ_{b,h,w} dy[b,h,w,c]·x[b,h+r-pad,w+s-pad,c]
 *     dtime[b,c] = Σ_{h,w} dy[b,h,w,c]      dbias[c] += Σ_b dtime[b,c]
 *
 * For one channel vector and one slot of x (a row, or in bf16 a pair of rows, see depthwise.h), the
 * 2·S sums of two filter rows stay in registers over the row's whole width. Eight pixels of the two
 * slots of dy that they multiply are held at a time, and each vector of x loaded is used by up to
 * 2·S sums: 112 multiply-adds for 30 loads at S = 7. x is unpacked once and multiplied with all
 * filter rows at once; dy goes into the ring. In bf16 a pair of rows of x is multiplied with pairs
 * of dy that start at odd rows as well as even ones, so a slot starts at each row of dy.
 *
 * The row's sums are added to those of the piece. The pieces, which are always the same, are added
 * in fp64, so the result does not depend on the number of threads.
 *
 * Scratch: fp32 [pieces][R·S + 1][group·LANES], where the last row is Σ dy; then per thread a ring
 * of R slots of dy and a slot of x. */
#include "kernels/cpu/depthwise.h"

/* Filter rows at once; AVX-512 has registers for two: 14 sums, 16 pixels of dy, 1 of x. */
enum { BAND = 32, ROWS = LANES == 16 ? 2 : 1 };

struct job {
    const struct ddpm_call *call;
    struct depthwise_cut cut;
    int64_t pieces;
    int64_t partial;       /* floats for a piece's sums */
    int64_t thread_floats; /* ring of dy and slot of x */
    int64_t partial_floats;
};

static struct job job_of(const struct ddpm_call *call)
{
    struct job job = {
        call, depthwise_cut_of(call, &call->in[0], BAND, call->attributes.kernel_h), 0, 0, 0, 0};
    job.pieces = call->in[0].n * job.cut.bands * job.cut.groups;
    job.partial = (job.cut.rows * job.cut.taps + 1) * job.cut.group * LANES;
    job.thread_floats = job.cut.slot + job.cut.rows * job.cut.group * job.cut.width * LANES;
    job.partial_floats = (job.pieces * job.partial + 15) / 16 * 16;
    return job;
}

/* For the filter rows k in [0, rows), whose sums are R·stride apart: sums[k][s·stride …] += Σ_w
 * dy[k][w]·x[w + s] over a slot of `width` pixels. */
ALWAYS_INLINE void add_rows_as(const float *x, const float *const *dy, const int rows,
                               int64_t width, int64_t taps, float *sums, int64_t stride,
                               const enum ddpm_dtype dtype)
{
    if (taps == 7) {
        vf total[ROWS][7] = {{{0}}};
        for (int64_t w = 0; w < width; w += DEPTHWISE_PIXELS) {
            vf gradient[ROWS][DEPTHWISE_PIXELS];
            for (int k = 0; k < rows; ++k)
                UNROLL
            for (int p = 0; p < DEPTHWISE_PIXELS; ++p)
                gradient[k][p] = vf_load(dy[k] + (w + p) * LANES);
            UNROLL
            for (int j = 0; j < DEPTHWISE_PIXELS + 6; ++j) {
                const vf input = vf_load(x + (w + j) * LANES);
                UNROLL
                for (int s = 0; s < 7; ++s)
                    if (j - s >= 0 && j - s < DEPTHWISE_PIXELS)
                        UNROLL
                for (int k = 0; k < rows; ++k)
                    total[k][s] =
                        depthwise_multiply_add(total[k][s], input, gradient[k][j - s], dtype);
            }
        }
        for (int k = 0; k < rows; ++k)
            UNROLL
        for (int s = 0; s < 7; ++s) {
            float *to = sums + (k * 7 + s) * stride;
            vf_store(to, vf_load(to) + total[k][s]);
        }
        return;
    }
    for (int k = 0; k < rows; ++k)
        for (int64_t s = 0; s < taps; ++s) {
            vf total = {0};
            for (int64_t w = 0; w < width; ++w)
                total = depthwise_multiply_add(total, vf_load(dy[k] + w * LANES),
                                               vf_load(x + (w + s) * LANES), dtype);
            float *to = sums + (k * taps + s) * stride;
            vf_store(to, vf_load(to) + total);
        }
}

static void add_rows(const float *x, const float *const *dy, int rows, int64_t width, int64_t taps,
                     float *sums, int64_t stride, enum ddpm_dtype dtype)
{
    if (dtype == DDPM_F32 && rows == 1)
        add_rows_as(x, dy, 1, width, taps, sums, stride, DDPM_F32);
    else if (dtype == DDPM_F32)
        add_rows_as(x, dy, ROWS, width, taps, sums, stride, DDPM_F32);
    else if (rows == 1)
        add_rows_as(x, dy, 1, width, taps, sums, stride, DDPM_BF16);
    else
        add_rows_as(x, dy, ROWS, width, taps, sums, stride, DDPM_BF16);
}

static void add_gradient_row(const float *dy, int64_t width, float *sums, enum ddpm_dtype dtype)
{
    const vf one =
        depthwise_slot_dtype(dtype) == DDPM_BF16 ? (vf)(0x3f803f80u + (vu){0}) : vf_set(1.0f);
    vf total = {0};
    for (int64_t w = 0; w < width; ++w)
        total = depthwise_multiply_add(total, vf_load(dy + w * LANES), one, dtype);
    vf_store(sums, vf_load(sums) + total);
}

/* Multiply a slot of x, `at` slots after the piece's first, with the slots of dy that belong to it.
 * Row n of the piece's dy starts slot n % R of the ring; in bf16, n = -1 starts one too. */
static void add_slot(const struct job *job, const struct depthwise_piece *piece, int64_t at,
                     const float *x, const float *ring, float *sums)
{
    const struct depthwise_cut *cut = &job->cut;
    const int64_t stride = cut->group * LANES, first = at * cut->together;
    /* filter rows r for which n = first - r is a slot of dy */
    const int64_t beyond = first - (piece->last_row - piece->first_row - 1);
    const int64_t end = first + cut->together < cut->rows ? first + cut->together : cut->rows;
    for (int64_t v = 0; v < piece->vectors; ++v)
        for (int64_t r = beyond < 0 ? 0 : beyond; r < end; r += ROWS) {
            const float *dy[ROWS];
            const int rows = r + ROWS <= end ? ROWS : 1;
            for (int k = 0; k < rows; ++k)
                dy[k] = ring + ((first - r - k + cut->rows) % cut->rows * cut->group + v) *
                                   cut->width * LANES;
            add_rows(x + v * cut->slot_width * LANES, dy, rows, cut->width, cut->taps,
                     sums + r * cut->taps * stride + v * LANES, stride, job->call->in[0].dtype);
        }
}

static void run_piece(const struct job *job, const struct depthwise_piece *piece, float *ring,
                      float *sums)
{
    const struct depthwise_cut *cut = &job->cut;
    const struct ddpm_tensor *x = &job->call->in[0], *dy = &job->call->in[1];
    const int64_t dy_slot = cut->group * cut->width * LANES;
    const int64_t last = piece->last_row + cut->rows - 1 - cut->pad_h; /* end of x, exclusive */
    float *x_slot = ring + cut->rows * dy_slot, *dy_sums = sums + job->partial - cut->group * LANES;
    int64_t next = piece->first_row + 1 - cut->together; /* first row of dy not yet in the ring */
    memset(sums, 0, (size_t)job->partial * sizeof *sums);
    depthwise_clear_margins(x_slot, piece->vectors, cut->slot_width, cut->pad_w, x->w);
    for (int64_t r = 0; r < cut->rows; ++r)
        depthwise_clear_margins(ring + r * dy_slot, piece->vectors, cut->width, 0, x->w);
    for (int64_t at = 0, row; row = piece->first_row - cut->pad_h + at * cut->together, row < last;
         ++at) {
        for (; next < piece->last_row && next <= row + cut->pad_h; ++next) {
            float *slot = ring + (next - piece->first_row + cut->rows) % cut->rows * dy_slot;
            depthwise_unpack(dy, next, piece->first_row, piece->last_row, piece, 0, cut->width,
                             slot);
            if ((next - piece->first_row) % cut->together)
                continue; /* these rows start or end other slots */
            for (int64_t v = 0; v < piece->vectors; ++v)
                add_gradient_row(slot + v * cut->width * LANES, cut->width, dy_sums + v * LANES,
                                 dy->dtype);
        }
        if (depthwise_unpack(x, row, 0, x->h, piece, cut->pad_w, cut->slot_width, x_slot))
            add_slot(job, piece, at, x_slot, ring, sums);
    }
}

static void pieces_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct job *job = context;
    float *partials = job->call->scratch;
    float *ring = partials + job->partial_floats + thread * job->thread_floats;
    for (int64_t i = begin; i < end; ++i) {
        const struct depthwise_piece piece = depthwise_piece_of(&job->cut, i, job->call->in[0].h);
        run_piece(job, &piece, ring, partials + i * job->partial);
    }
}

/* Σ over the bands of an image of one vector of the pieces' sums, added to total[LANES]. */
static void add_bands(const struct job *job, int64_t image, int64_t vector, int64_t tap,
                      double *total)
{
    const struct depthwise_cut *cut = &job->cut;
    for (int64_t band = 0; band < cut->bands; ++band) {
        const int64_t piece = (image * cut->bands + band) * cut->groups + vector / cut->group;
        const float *from = (const float *)job->call->scratch + piece * job->partial +
                            (tap * cut->group + vector % cut->group) * LANES;
        for (int lane = 0; lane < LANES; ++lane)
            total[lane] += (double)from[lane];
    }
}

/* Over all taps (and Σ dy as the last) × channel vectors. */
static void join_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct job *job = context;
    const struct ddpm_call *call = job->call;
    const int64_t taps = job->cut.rows * job->cut.taps, channels = call->out[0].c;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t tap = i / job->cut.vectors, vector = i % job->cut.vectors;
        double total[LANES] = {0};
        for (int64_t b = 0; b < call->in[0].n; ++b)
            add_bands(job, b, vector, tap, total);
        float *to = tap < taps ? (float *)call->out[0].data + tap * channels : call->out[1].data;
        const bool fresh = ddpm_call_overwrites(call, tap < taps ? 0 : 1);
        for (int64_t c = vector * LANES; c < channels && c < (vector + 1) * LANES; ++c)
            to[c] = (fresh ? 0 : to[c]) + (float)total[c - vector * LANES];
    }
}

static void write_time(const struct job *job)
{
    const struct ddpm_tensor *dtime = &job->call->out[2];
    const int64_t taps = job->cut.rows * job->cut.taps;
    for (int64_t b = 0; b < dtime->n; ++b)
        for (int64_t vector = 0; vector < job->cut.vectors; ++vector) {
            double total[LANES] = {0};
            add_bands(job, b, vector, taps, total);
            for (int64_t c = vector * LANES; c < dtime->c && c < (vector + 1) * LANES; ++c) {
                const float value = (float)total[c - vector * LANES];
                if (dtime->dtype == DDPM_F32)
                    ((float *)dtime->data)[b * dtime->pixel_stride + c] = value;
                else
                    ((uint16_t *)dtime->data)[b * dtime->pixel_stride + c] =
                        ddpm_float_to_bf16(value);
            }
        }
}

static ddpm_status run(const struct ddpm_call *call)
{
    struct job job = job_of(call);
    const int64_t sums = job.cut.rows * job.cut.taps + ddpm_tensor_present(&call->out[1]);
    ddpm_parallel_for(call->device->threads, job.pieces, 1, pieces_range, &job);
    ddpm_parallel_for(call->device->threads, sums * job.cut.vectors, 16, join_range, &job);
    if (ddpm_tensor_present(&call->out[2]))
        write_time(&job);
    return DDPM_OK;
}

static ddpm_status prepare(struct ddpm_call *call)
{
    const struct job job = job_of(call);
    call->scratch_bytes =
        (size_t)(job.partial_floats + call->device->threads * job.thread_floats) * sizeof(float);
    return DDPM_OK;
}

static bool supports(const struct ddpm_call *call)
{
    const enum ddpm_dtype dtype = call->in[0].dtype;
    return is_activation_dtype(dtype) && call->in[1].dtype == dtype &&
           call->out[0].dtype == DDPM_F32 &&
           (!ddpm_tensor_present(&call->out[1]) || call->out[1].dtype == DDPM_F32) &&
           (!ddpm_tensor_present(&call->out[2]) || is_activation_dtype(call->out[2].dtype));
}

const struct ddpm_kernel SIMD(depthwise_conv2d_backward_weight) = {
    .name = SIMD_NAME("depthwise_conv2d_backward_weight"),
    .supports = supports,
    .prepare = prepare,
    .run = run};

KERNELS_OF(depthwise_conv2d_backward_weight, &SIMD(depthwise_conv2d_backward_weight));

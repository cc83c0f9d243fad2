/* Depthwise convolution, stride 1, and its gradient by x, which is the same convolution of dy with
 * the filter turned by 180°:
 *
 *     y[b,h,w,c] = bias[c] + time[b,c] + Σ_{r,s} w[r,s,c]·x[b,h+r-pad,w+s-pad,c]
 *
 * Vectors run over channels. For one channel vector, eight neighbouring output pixels are kept in
 * registers over all R·S taps; of each filter row the S weights are in registers too, and each
 * input vector loaded serves up to S of the eight sums: 56 multiply-adds for 21 loads at S = 7, or
 * 32 double ones for 18 loads of pairs of bf16 numbers.
 *
 * Packed weights: [vectors][R][S][LANES], or [vectors][R][S/2 rounded up][LANES] pairs of bf16
 * taps, zeros behind the last channel and tap. Scratch: a ring of R unpacked rows per thread, see
 * depthwise.h. */
#include "kernels/cpu/depthwise.h"

enum { BAND = 16 };

struct job {
    const struct ddpm_call *call;
    struct depthwise_cut cut;
};

static struct job job_of(const struct ddpm_call *call)
{
    struct job job = {call, depthwise_cut_of(call, &call->in[0], BAND)};
    if (call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA) {
        job.cut.pad_h = job.cut.rows - 1 - job.cut.pad_h;
        job.cut.pad_w = job.cut.taps - 1 - job.cut.pad_w;
    }
    return job;
}

/* sums[p] += Σ_s x[p + s]·w[s]; `taps` is a constant where it is 7. */
ALWAYS_INLINE void add_filter_row(vf sums[DEPTHWISE_PIXELS], const float *x, const float *w,
                                  int64_t taps, const enum ddpm_dtype dtype)
{
    if (taps == 7 && dtype == DDPM_BF16) {
        vf weights[4];
        UNROLL
        for (int s = 0; s < 4; ++s)
            weights[s] = vf_load(w + s * LANES);
        UNROLL
        for (int j = 0; j < DEPTHWISE_PIXELS + 6; ++j) {
            const vf input = vf_load(x + j * LANES);
            UNROLL
            for (int s = 0; s < 4; ++s)
                if (j - 2 * s >= 0 && j - 2 * s < DEPTHWISE_PIXELS)
                    sums[j - 2 * s] = vf_dot2(sums[j - 2 * s], (vu)input, (vu)weights[s]);
        }
    } else if (dtype == DDPM_BF16) {
        for (int64_t s = 0; s < taps; s += 2) {
            const vf weight = vf_load(w + s / 2 * LANES);
            UNROLL
            for (int p = 0; p < DEPTHWISE_PIXELS; ++p)
                sums[p] = vf_dot2(sums[p], (vu)vf_load(x + (p + s) * LANES), (vu)weight);
        }
    } else if (taps == 7) {
        vf weights[7];
        UNROLL
        for (int s = 0; s < 7; ++s)
            weights[s] = vf_load(w + s * LANES);
        UNROLL
        for (int j = 0; j < DEPTHWISE_PIXELS + 6; ++j) {
            const vf input = vf_load(x + j * LANES);
            UNROLL
            for (int s = 0; s < 7; ++s)
                if (j - s >= 0 && j - s < DEPTHWISE_PIXELS)
                    sums[j - s] += input * weights[s];
        }
    } else {
        for (int64_t s = 0; s < taps; ++s) {
            const vf weight = vf_load(w + s * LANES);
            UNROLL
            for (int p = 0; p < DEPTHWISE_PIXELS; ++p)
                sums[p] += vf_load(x + (p + s) * LANES) * weight;
        }
    }
}

/* Bias and time of the channels from c on. */
static vf start_of(const struct ddpm_call *call, int64_t image, int64_t c)
{
    const struct ddpm_tensor *bias = &call->in[2], *time = &call->in[3];
    const int64_t left = call->out[0].c - c;
    vf start = {0};
    if (call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA)
        return start;
    if (ddpm_tensor_present(bias))
        start += vf_load_upto(bias->data, c, left, DDPM_F32);
    if (ddpm_tensor_present(time)) {
        const int64_t i = image * time->pixel_stride + c;
        start += time->dtype == DDPM_F32 ? vf_load_upto(time->data, i, left, DDPM_F32)
                                         : vf_load_upto(time->data, i, left, DDPM_BF16);
    }
    return start;
}

/* One channel vector of one output row. rows[r]: the vector's slot for filter row r, NULL where it
 * lies outside of the picture. */
ALWAYS_INLINE void output_row_as(const struct ddpm_call *call, const float *const *rows,
                                 int64_t filter_rows, int64_t taps, const float *w, vf start,
                                 int64_t row, int64_t c, const enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *y = &call->out[0];
    const int64_t together = depthwise_taps_together(dtype);
    const int64_t row_weights = (taps + together - 1) / together * LANES;
    for (int64_t first = 0; first < y->w; first += DEPTHWISE_PIXELS) {
        vf sums[DEPTHWISE_PIXELS];
        UNROLL
        for (int p = 0; p < DEPTHWISE_PIXELS; ++p)
            sums[p] = start;
        for (int64_t r = 0; r < filter_rows; ++r)
            if (rows[r])
                add_filter_row(sums, rows[r] + first * LANES, w + r * row_weights, taps, dtype);
        const int64_t to = (row * y->w + first) * y->pixel_stride + c, left = y->c - c;
        if (first + DEPTHWISE_PIXELS <= y->w && left >= LANES) {
            UNROLL
            for (int p = 0; p < DEPTHWISE_PIXELS; ++p)
                vf_store_as(y->data, to + p * y->pixel_stride, sums[p], dtype);
        } else {
            for (int p = 0; p < DEPTHWISE_PIXELS && first + p < y->w; ++p)
                vf_store_upto(y->data, to + p * y->pixel_stride, sums[p], left, dtype);
        }
    }
}

static void output_row(const struct job *job, const float *const *rows, const float *w, vf start,
                       int64_t row, int64_t c)
{
    const struct depthwise_cut *cut = &job->cut;
    const bool seven = cut->taps == 7, single = job->call->out[0].dtype == DDPM_F32;
    if (seven && single)
        output_row_as(job->call, rows, cut->rows, 7, w, start, row, c, DDPM_F32);
    else if (seven)
        output_row_as(job->call, rows, cut->rows, 7, w, start, row, c, DDPM_BF16);
    else if (single)
        output_row_as(job->call, rows, cut->rows, cut->taps, w, start, row, c, DDPM_F32);
    else
        output_row_as(job->call, rows, cut->rows, cut->taps, w, start, row, c, DDPM_BF16);
}

static void run_piece(const struct job *job, const struct depthwise_piece *piece, float *ring)
{
    const struct depthwise_cut *cut = &job->cut;
    const struct ddpm_tensor *x = &job->call->in[0];
    const float *rows[DEPTHWISE_ROWS];
    int64_t next = piece->first_row - cut->pad_h; /* first input row not yet in the ring */
    next = next < 0 ? 0 : next;
    for (int64_t r = 0; r < cut->rows; ++r)
        depthwise_clear_margins(ring + r * cut->slot, piece->vectors, cut->slot_width, cut->pad_w,
                                x->w);
    for (int64_t h = piece->first_row; h < piece->last_row; ++h) {
        for (; next < x->h && next < h - cut->pad_h + cut->rows; ++next)
            depthwise_unpack(x, piece->image * x->h + next, piece, cut->pad_w, cut->slot_width,
                             ring + next % cut->rows * cut->slot);
        for (int64_t v = 0; v < piece->vectors; ++v) {
            const int64_t vector = piece->first_vector + v;
            for (int64_t r = 0; r < cut->rows; ++r) {
                const int64_t from = h + r - cut->pad_h;
                const float *slot = ring + (from + cut->rows) % cut->rows * cut->slot;
                rows[r] = from >= 0 && from < x->h ? slot + v * cut->slot_width * LANES : NULL;
            }
            output_row(job, rows,
                       (const float *)job->call->packed +
                           vector * cut->rows * depthwise_tap_steps(cut, x->dtype) * LANES,
                       start_of(job->call, piece->image, vector * LANES), piece->image * x->h + h,
                       vector * LANES);
        }
    }
}

static void pieces_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct job *job = context;
    float *ring = (float *)job->call->scratch + thread * job->cut.rows * job->cut.slot;
    for (int64_t i = begin; i < end; ++i) {
        const struct depthwise_piece piece = depthwise_piece_of(&job->cut, i, job->call->in[0].h);
        run_piece(job, &piece, ring);
    }
}

static ddpm_status run(const struct ddpm_call *call)
{
    struct job job = job_of(call);
    ddpm_parallel_for(call->device->threads, call->in[0].n * job.cut.bands * job.cut.groups, 1,
                      pieces_range, &job);
    return DDPM_OK;
}

static ddpm_status prepare(struct ddpm_call *call)
{
    const struct depthwise_cut cut = job_of(call).cut;
    call->packed_bytes =
        (size_t)(cut.vectors * cut.rows * depthwise_tap_steps(&cut, call->in[0].dtype) * LANES) *
        sizeof(float);
    call->scratch_bytes = (size_t)(call->device->threads * cut.rows * cut.slot) * sizeof(float);
    return DDPM_OK;
}

/* Tap s of filter row r, LANES channels from c on; zero where there is none. */
static vf tap_at(const struct ddpm_call *call, const struct depthwise_cut *cut, int64_t r,
                 int64_t s, int64_t c)
{
    const int64_t taps = cut->rows * cut->taps, tap = r * cut->taps + s;
    const bool turned = call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA;
    if (s >= cut->taps)
        return (vf){0};
    return vf_load_upto(call->in[1].data, (turned ? taps - 1 - tap : tap) * call->in[1].c + c,
                        call->in[1].c - c, DDPM_F32);
}

static ddpm_status pack(const struct ddpm_call *call)
{
    const struct depthwise_cut cut = job_of(call).cut;
    const int64_t together = depthwise_taps_together(call->in[0].dtype);
    float *packed = call->packed;
    for (int64_t v = 0; v < cut.vectors; ++v)
        for (int64_t r = 0; r < cut.rows; ++r)
            for (int64_t s = 0; s < cut.taps; s += together, packed += LANES) {
                vf tap = tap_at(call, &cut, r, s, v * LANES);
                if (together == 2)
                    tap = (vf)vf_to_bf16_pairs(tap, tap_at(call, &cut, r, s + 1, v * LANES));
                vf_store(packed, tap);
            }
    return DDPM_OK;
}

static bool supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1) && call->in[1].dtype == DDPM_F32 &&
           call->attributes.kernel_h <= DEPTHWISE_ROWS;
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

/* Gradient of the depthwise convolution by its weights, bias and time bias:
 *
 *     dw[r,s,c] += Σ_{b,h,w} dy[b,h,w,c]·x[b,h+r-pad,w+s-pad,c]
 *     dtime[b,c] = Σ_{h,w} dy[b,h,w,c]      dbias[c] += Σ_b dtime[b,c]
 *
 * For one channel vector, one row of dy and one filter row, the S sums stay in registers over the
 * whole row; eight pixels of dy are held at a time and each input vector loaded serves up to S of
 * them: 56 multiply-adds for 22 loads at S = 7, or 28 double ones for 17 loads of pairs of bf16
 * pixels. The row's sums are added to the piece's, and those of the pieces (always cut alike) in
 * fp64, so that the result does not depend on the number of threads.
 *
 * Scratch: fp32 [pieces][R·S + 1][group·LANES], the last row being Σ dy; then per thread a ring of
 * R unpacked rows of x and one of dy, see depthwise.h. */
#include "kernels/cpu/depthwise.h"

enum { BAND = 32 };

struct job {
    const struct ddpm_call *call;
    struct depthwise_cut cut;
    int64_t pieces;
    int64_t partial;       /* floats of a piece's sums */
    int64_t thread_floats; /* ring and row of dy */
    int64_t partial_floats;
};

static struct job job_of(const struct ddpm_call *call)
{
    struct job job = {call, depthwise_cut_of(call, &call->in[0], BAND), 0, 0, 0, 0};
    job.pieces = call->in[0].n * job.cut.bands * job.cut.groups;
    job.partial = (job.cut.rows * job.cut.taps + 1) * job.cut.group * LANES;
    job.thread_floats = job.cut.rows * job.cut.slot + job.cut.group * job.cut.width * LANES;
    job.partial_floats = (job.pieces * job.partial + 15) / 16 * 16;
    return job;
}

/* sums[s·stride …] += Σ_w dy[w]·x[w + s] over a row of `width` pixels. */
ALWAYS_INLINE void add_row_as(const float *x, const float *dy, int64_t width, int64_t taps,
                              float *sums, int64_t stride, const enum ddpm_dtype dtype)
{
    if (taps == 7 && dtype == DDPM_BF16) {
        vf total[7] = {{0}};
        for (int64_t w = 0; w < width; w += DEPTHWISE_PIXELS) {
            vf gradient[DEPTHWISE_PIXELS / 2]; /* of pixels (w, w+1), (w+2, w+3), … */
            UNROLL
            for (int p = 0; p < DEPTHWISE_PIXELS / 2; ++p)
                gradient[p] = vf_load(dy + (w + 2 * p) * LANES);
            UNROLL
            for (int j = 0; j < DEPTHWISE_PIXELS + 5; ++j) {
                const vf input = vf_load(x + (w + j) * LANES);
                UNROLL
                for (int p = 0; p < DEPTHWISE_PIXELS / 2; ++p)
                    if (j - 2 * p >= 0 && j - 2 * p < 7)
                        total[j - 2 * p] = vf_dot2(total[j - 2 * p], (vu)input, (vu)gradient[p]);
            }
        }
        UNROLL
        for (int s = 0; s < 7; ++s)
            vf_store(sums + s * stride, vf_load(sums + s * stride) + total[s]);
    } else if (dtype == DDPM_BF16) {
        for (int64_t s = 0; s < taps; ++s) {
            vf total = {0};
            for (int64_t w = 0; w < width; w += 2)
                total =
                    vf_dot2(total, (vu)vf_load(dy + w * LANES), (vu)vf_load(x + (w + s) * LANES));
            vf_store(sums + s * stride, vf_load(sums + s * stride) + total);
        }
    } else if (taps == 7) {
        vf total[7] = {{0}};
        for (int64_t w = 0; w < width; w += DEPTHWISE_PIXELS) {
            vf gradient[DEPTHWISE_PIXELS];
            UNROLL
            for (int p = 0; p < DEPTHWISE_PIXELS; ++p)
                gradient[p] = vf_load(dy + (w + p) * LANES);
            UNROLL
            for (int j = 0; j < DEPTHWISE_PIXELS + 6; ++j) {
                const vf input = vf_load(x + (w + j) * LANES);
                UNROLL
                for (int s = 0; s < 7; ++s)
                    if (j - s >= 0 && j - s < DEPTHWISE_PIXELS)
                        total[s] += input * gradient[j - s];
            }
        }
        UNROLL
        for (int s = 0; s < 7; ++s)
            vf_store(sums + s * stride, vf_load(sums + s * stride) + total[s]);
    } else {
        for (int64_t s = 0; s < taps; ++s) {
            vf total = {0};
            for (int64_t w = 0; w < width; ++w)
                total += vf_load(dy + w * LANES) * vf_load(x + (w + s) * LANES);
            vf_store(sums + s * stride, vf_load(sums + s * stride) + total);
        }
    }
}

static void add_row(const float *x, const float *dy, int64_t width, int64_t taps, float *sums,
                    int64_t stride, enum ddpm_dtype dtype)
{
    if (dtype == DDPM_F32)
        add_row_as(x, dy, width, taps, sums, stride, DDPM_F32);
    else
        add_row_as(x, dy, width, taps, sums, stride, DDPM_BF16);
}

static void add_gradient_row(const float *dy, int64_t width, float *sums, enum ddpm_dtype dtype)
{
    vf total = {0};
    for (int64_t w = 0; w < width; ++w) {
        vf value = vf_load(dy + w * LANES);
        total += dtype == DDPM_F32 ? value : (vf)((vu)value << 16); /* a pair's first pixel */
    }
    vf_store(sums, vf_load(sums) + total);
}

static void run_piece(const struct job *job, const struct depthwise_piece *piece, float *ring,
                      float *sums)
{
    const struct depthwise_cut *cut = &job->cut;
    const struct ddpm_tensor *x = &job->call->in[0], *dy = &job->call->in[1];
    const int64_t stride = cut->group * LANES;
    float *gradient = ring + cut->rows * cut->slot;
    int64_t next = piece->first_row - cut->pad_h;
    next = next < 0 ? 0 : next;
    memset(sums, 0, (size_t)job->partial * sizeof *sums);
    for (int64_t r = 0; r < cut->rows; ++r)
        depthwise_clear_margins(ring + r * cut->slot, piece->vectors, cut->slot_width, cut->pad_w,
                                x->w);
    depthwise_clear_margins(gradient, piece->vectors, cut->width, 0, x->w);
    for (int64_t h = piece->first_row; h < piece->last_row; ++h) {
        for (; next < x->h && next < h - cut->pad_h + cut->rows; ++next)
            depthwise_unpack(x, piece->image * x->h + next, piece, cut->pad_w, cut->slot_width,
                             ring + next % cut->rows * cut->slot);
        depthwise_unpack(dy, piece->image * x->h + h, piece, 0, cut->width, gradient);
        for (int64_t v = 0; v < piece->vectors; ++v) {
            const float *dy_row = gradient + v * cut->width * LANES;
            float *to = sums + v * LANES;
            for (int64_t r = 0; r < cut->rows; ++r) {
                const int64_t from = h + r - cut->pad_h;
                if (from < 0 || from >= x->h)
                    continue;
                const float *x_row =
                    ring + from % cut->rows * cut->slot + v * cut->slot_width * LANES;
                add_row(x_row, dy_row, cut->width, cut->taps, to + r * cut->taps * stride, stride,
                        x->dtype);
            }
            add_gradient_row(dy_row, cut->width, to + cut->rows * cut->taps * stride, x->dtype);
        }
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
        for (int64_t c = vector * LANES; c < channels && c < (vector + 1) * LANES; ++c)
            to[c] += (float)total[c - vector * LANES];
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

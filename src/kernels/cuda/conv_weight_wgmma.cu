/* Convolution backward weight on the tensor cores of an H100 or H200: bf16, fp32 sums.
 *
 * The same matrix product as conv_weight.cu, split along the pixels in the same way. A block of two
 * warpgroups computes 64 or 128 channels of dy × 128 columns (r,s,c), 64 pixels at a time, in three
 * stages like conv_wgmma.cu. Both factors have the pixels as rows, so the instruction reads both
 * transposed. Of 128 channels each group owns 64. Of 64 each group owns half of the pixels of a
 * step, and at the end the first group adds the sums of the second, so the order is fixed.
 *
 * The columns of a thread never change, so it follows one element of x from pixel to pixel.
 *
 * Off unless DDPM_CUDA_WGMMA=on, because no GPU has run it; and only where sm_90a was compiled. */
#include "kernels/cuda/conv_mma.cuh"
#include "kernels/cuda/conv_weight.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/warpgroup.cuh"

#define COLUMNS 128
#define STEP 64 /* pixels */
#define STAGES 3
#define ALIGNMENT 1024   /* of a tile */
#define TILE (STEP * 64) /* 64 pixels of 64 channels or columns, 128 bytes each */
#define LEAST_PIXELS 512 /* of a split */

template <int ROWS> struct group_stage {
    bf16 dy[ROWS / 64 * TILE], x[COLUMNS / 64 * TILE];
};

/* How many pixels a block of threads loads at once, if a pixel has this many columns. */
template <int WIDTH> constexpr int LOADED = MMA_THREADS / (WIDTH / 8);

/* Where a thread is in dy: the next pixel and the address of its eight channels. */
struct gradient_reader {
    const bf16 *from;
    int m, end;
};

/* Where a thread is in x. (h, w) is the pixel of x that its tap reads for pixel m of dy; it may be
 * outside of the picture, and so may the address. */
struct source_reader {
    const bf16 *from;
    int m, end, h, w, last_h, last_w;
};

template <int ROWS>
static __device__ inline struct gradient_reader gradient_reader_of(struct plane<const bf16> dy,
                                                                   const struct conv_shape *s,
                                                                   int n0, int begin, int end)
{
    int n = n0 + (int)threadIdx.x % (ROWS / 8) * 8, m = begin + (int)threadIdx.x / (ROWS / 8);
    return {dy.data + m * dy.stride + n, m, n < s->columns ? end : 0};
}

static __device__ inline struct source_reader
source_reader_of(const bf16 *x, const struct conv_shape *s, int k0, int begin, int end)
{
    int k = k0 + (int)threadIdx.x % (COLUMNS / 8) * 8, m = begin + (int)threadIdx.x / (COLUMNS / 8);
    struct conv_tap tap = conv_tap_of(s, k);
    struct conv_row row = conv_row_of(s, m);
    return {x + row.place + tap.place,
            m,
            k < s->depth ? end : 0,
            row.h + tap.r,
            row.w + tap.s,
            s->out_h * s->stride - s->pad_h + tap.r,
            s->out_w * s->stride - s->pad_w + tap.s};
}

template <int ROWS>
static __device__ inline void load_gradient(bf16 *tiles, struct gradient_reader *at, int64_t stride)
{
    int chunk = (int)threadIdx.x % (ROWS / 8), first = (int)threadIdx.x / (ROWS / 8);
    bf16 *to = tiles + chunk / 8 * TILE + chunk_wide<8>(first, chunk % 8);
#pragma unroll
    for (int i = 0; i < STEP / LOADED<ROWS>; ++i) {
        copy_async(to + i * LOADED<ROWS> * 64, at->from, at->m < at->end);
        at->m += LOADED<ROWS>;
        at->from += LOADED<ROWS> * stride;
    }
}

/* The reader `pixels` pixels of dy further on. */
static __device__ inline void source_advance(struct source_reader *at, const struct conv_shape *s,
                                             int pixels)
{
    at->m += pixels;
    at->w += pixels * s->stride;
    at->from += pixels * s->stride * s->pixel_stride;
    while (at->w >= at->last_w) {
        at->w -= s->out_w * s->stride;
        at->h += s->stride;
        at->from += (int64_t)s->stride * (s->in_w - s->out_w) * s->pixel_stride;
        if (at->h >= at->last_h) {
            at->h -= s->out_h * s->stride;
            at->from += (int64_t)(s->in_h - s->out_h * s->stride) * s->in_w * s->pixel_stride;
        }
    }
}

static __device__ inline void load_source(bf16 *tiles, struct source_reader *at,
                                          const struct conv_shape *s)
{
    int chunk = (int)threadIdx.x % (COLUMNS / 8), first = (int)threadIdx.x / (COLUMNS / 8);
    bf16 *to = tiles + chunk / 8 * TILE + chunk_wide<8>(first, chunk % 8);
#pragma unroll
    for (int i = 0; i < STEP / LOADED<COLUMNS>; ++i) {
        copy_async(to + i * LOADED<COLUMNS> * 64, at->from,
                   at->m < at->end && conv_inside(s, at->h, at->w));
        source_advance(at, s, LOADED<COLUMNS>);
    }
}

/* Begin the products of a step: this thread's group's 64 channels, or its half of the pixels. */
template <int ROWS>
static __device__ inline void multiply_stage(struct group_tile dy, struct group_tile x, int stage,
                                             float c[COLUMNS / 8][4])
{
    int bytes = stage * (int)sizeof(struct group_stage<ROWS>);
    group_begin();
#pragma unroll
    for (int k = 0; k < STEP * ROWS / 128; k += 16)
        group_multiply<COLUMNS, true>(c, group_tile_after(dy, bytes + 128 * k),
                                      group_tile_after(x, bytes + 128 * k));
    group_commit();
}

/* c of group 0 += c of group 1. */
static __device__ inline void merge_groups(float *shared, float c[COLUMNS / 8][4], int group)
{
    float *mine = shared + threadIdx.x % 128;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < COLUMNS / 2; ++i)
        if (group == 1)
            mine[i * 128] = c[i / 4][i % 4];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < COLUMNS / 2; ++i)
        if (group == 0)
            c[i / 4][i % 4] += mine[i * 128];
}

/* dw[n][k] (+)= the sums of a thread. n: the thread's first row. k: its first column. */
static __device__ inline void store_sums(float *dw, const float c[COLUMNS / 8][4], int n, int k,
                                         const struct conv_shape *s, bool accumulate)
{
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            if (n + half * 8 >= s->columns || k + j * 8 >= s->depth)
                continue;
            float2 *to = (float2 *)(dw + (int64_t)(n + half * 8) * s->depth + k + j * 8);
            float2 before = accumulate ? *to : make_float2(0.0f, 0.0f);
            *to = make_float2(before.x + c[j][half * 2], before.y + c[j][half * 2 + 1]);
        }
    }
}

/* grid: (column tiles × row tiles, splits). partial [splits][K][R·S·C]; dw itself, to which the
 * sums may be added, if there is one split. */
template <int ROWS>
static __global__ void __launch_bounds__(MMA_THREADS, 2)
    conv_weight_wgmma(const bf16 *x, struct plane<const bf16> dy, struct conv_shape s, int split,
                      float *partial, bool accumulate)
{
    uintptr_t shared = ((uintptr_t)dynamic_shared() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct group_stage<ROWS> *stages = (struct group_stage<ROWS> *)shared;
    int column_tiles = (s.depth + COLUMNS - 1) / COLUMNS;
    int n0 = (int)blockIdx.x / column_tiles * ROWS, k0 = (int)blockIdx.x % column_tiles * COLUMNS;
    int thread = (int)threadIdx.x, group = thread / 128;
    int begin = (int)blockIdx.y * split, end = min(begin + split, s.rows);
    int steps = (end - begin + STEP - 1) / STEP;
    struct gradient_reader gradient = gradient_reader_of<ROWS>(dy, &s, n0, begin, end);
    struct source_reader source = source_reader_of(x, &s, k0, begin, end);
    const int leading = TILE * (int)sizeof(bf16), half = group * STEP / 2 * 64;
    struct group_tile a = group_tile_of(stages->dy + (ROWS == 128 ? group * TILE : half), leading);
    struct group_tile b = group_tile_of(stages->x + (ROWS == 128 ? 0 : half), leading);
    float c[COLUMNS / 8][4] = {};
    for (int i = 0; i < STAGES - 1; ++i) {
        if (i < steps) {
            load_gradient<ROWS>(stages[i].dy, &gradient, dy.stride);
            load_source(stages[i].x, &source, &s);
        }
        copy_commit();
    }
    for (int i = 0; i < steps; ++i) {
        copy_wait<STAGES - 2>();
        group_publish();
        group_wait<COLUMNS>(c); /* after the barrier nobody reads the stage of step i - 1 */
        __syncthreads();
        multiply_stage<ROWS>(a, b, i % STAGES, c);
        int next = i + STAGES - 1;
        if (next < steps) {
            load_gradient<ROWS>(stages[next % STAGES].dy, &gradient, dy.stride);
            load_source(stages[next % STAGES].x, &source, &s);
        }
        copy_commit();
    }
    group_wait<COLUMNS>(c);
    if (ROWS == 64)
        merge_groups((float *)shared, c, group);
    if (ROWS == 128 || group == 0)
        store_sums(partial + (int64_t)blockIdx.y * s.columns * s.depth, c,
                   n0 + thread % (ROWS * 2) / 32 * 16 + thread % 32 / 4, k0 + thread % 4 * 2, &s,
                   accumulate);
}

static bool weight_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *dy = &call->in[1];
    return call->device && ddpm_cuda_device_of(call)->wgmma &&
           ddpm_cuda_conv2d_backward_weight_mma.supports(call) && x->c % 8 == 0 &&
           x->pixel_stride % 8 == 0 && dy->c % 8 == 0 && dy->pixel_stride % 8 == 0 && dy->c >= 64 &&
           ddpm_conv_shape(call).depth >= COLUMNS;
}

/* How the pixels are split: whole steps, and no split without pixels. */
struct weight_cut {
    int rows, tiles, split, splits;
};

static struct weight_cut cut_of(const struct ddpm_call *call)
{
    const struct conv_shape s = ddpm_conv_shape(call);
    struct weight_cut cut = {};
    cut.rows = s.columns > 64 ? 128 : 64;
    cut.tiles = (int)(ddpm_ceil_div(s.columns, cut.rows) * ddpm_ceil_div(s.depth, COLUMNS));
    int wanted = ddpm_conv_splits(call, cut.tiles, LEAST_PIXELS);
    cut.split = (int)ddpm_ceil_div(ddpm_ceil_div(s.rows, wanted), STEP) * STEP;
    cut.splits = (int)ddpm_ceil_div(s.rows, cut.split);
    return cut;
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    DDPM_TRY(ddpm_cuda_conv2d_backward_weight_mma.prepare(call)); /* which may have to run */
    const size_t bytes = ddpm_conv_weight_bytes(call, cut_of(call).splits);
    if (bytes > call->scratch_bytes)
        call->scratch_bytes = bytes;
    return DDPM_OK;
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    const struct conv_shape s = ddpm_conv_shape(call);
    const struct ddpm_tensor *read[] = {&call->in[0], &call->in[1]};
    float *dw = (float *)call->out[0].data;
    const struct weight_cut cut = cut_of(call);
    if (!ddpm_cuda_vector(read, 2))
        return ddpm_cuda_conv2d_backward_weight_mma.run(call);
    const bool direct = cut.splits == 1 && (uintptr_t)dw % sizeof(float2) == 0;
    auto kernel = cut.rows == 128 ? conv_weight_wgmma<128> : conv_weight_wgmma<64>;
    size_t stage =
        cut.rows == 128 ? sizeof(struct group_stage<128>) : sizeof(struct group_stage<64>);
    DDPM_TRY(ddpm_cuda_launch(
        call, kernel, dim3((unsigned)cut.tiles, (unsigned)cut.splits), dim3(MMA_THREADS),
        STAGES * stage + ALIGNMENT, (const bf16 *)read[0]->data, ddpm_plane<const bf16>(read[1]), s,
        cut.split, direct ? dw : (float *)call->scratch, direct && !ddpm_call_overwrites(call, 0)));
    return ddpm_conv_weight_finish(call, direct ? 0 : cut.splits);
}

const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_wgmma = {
    "conv2d_backward_weight_cuda_wgmma", weight_supports, weight_prepare, NULL, weight_run, NULL};

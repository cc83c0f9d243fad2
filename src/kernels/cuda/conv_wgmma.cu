/* Convolution forward and backward data on the tensor cores of an H100 or H200: bf16, fp32 sums.
 *
 * The same implicit matrix product as conv_forward.cu, and the same packed weights. A block of two
 * warpgroups computes 128 pixels × 64 or 128 channels, 64 columns of depth at a time, with three
 * steps in shared memory: while the tensor cores multiply one, the next two arrive through
 * cp.async. A warpgroup owns 64 pixels. One instruction reads both factors from shared memory, so
 * no thread spends its time on loading fragments.
 *
 * 64 columns are channels of one tap, so the source's channels must be a multiple of 64. Off unless
 * DDPM_CUDA_WGMMA=on, because no GPU has run it; and only in builds for sm_90a. */
#include "kernels/cuda/conv_mma.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/warpgroup.cuh"

#include <stdlib.h>

#define ROWS 128
#define STEP 64 /* columns of depth: 128 bytes */
#define STAGES 3
#define CHUNKS (STEP / 8)
#define LOADED (MMA_THREADS / CHUNKS) /* rows that the block loads at once */
#define ALIGNMENT 1024                /* of a tile */

template <int COLUMNS> struct group_stage {
    bf16 a[ROWS * STEP], b[COLUMNS * STEP];
};

/* As conv_row, with its place in chunks of eight, which fits into 32 bits. */
struct group_row {
    int h, w, place;
};

/* What a thread loads: the same chunk of several rows. */
struct group_loader {
    struct group_row rows[ROWS / LOADED];
    struct conv_tap tap;
    const bf16 *weights; /* of its first row of b */
};

/* m0, n0: the block's first pixel and channel. A row without a pixel is above every picture. */
static __device__ inline void loader_begin(struct group_loader *at, const bf16 *packed,
                                           const struct conv_shape *s, int m0, int n0)
{
    int first = (int)threadIdx.x / CHUNKS, k = (int)threadIdx.x % CHUNKS * 8;
#pragma unroll
    for (int i = 0; i < ROWS / LOADED; ++i) {
        int m = m0 + first + LOADED * i;
        struct conv_row row = conv_row_of(s, m);
        at->rows[i] = {m < s->rows ? row.h : INT32_MIN / 2, row.w, (int)(row.place / 8)};
    }
    at->tap = conv_tap_of(s, k);
    at->weights = packed + (int64_t)(n0 + first) * s->depth + k;
}

template <int COLUMNS>
static __device__ inline void load_stage(struct group_stage<COLUMNS> *stage,
                                         struct group_loader *at, const bf16 *x,
                                         const struct conv_shape *s, int n0)
{
    int chunk = (int)threadIdx.x % CHUNKS, first = (int)threadIdx.x / CHUNKS;
    int place = (int)(at->tap.place / 8);
#pragma unroll
    for (int i = 0; i < ROWS / LOADED; ++i) {
        struct group_row row = at->rows[i];
        copy_async(stage->a + chunk_wide<CHUNKS>(first + LOADED * i, chunk),
                   x + (int64_t)(row.place + place) * 8,
                   conv_inside(s, row.h + at->tap.r, row.w + at->tap.s));
    }
#pragma unroll
    for (int i = 0; i < COLUMNS / LOADED; ++i) {
        int row = first + LOADED * i;
        copy_async(stage->b + chunk_wide<CHUNKS>(row, chunk),
                   at->weights + (int64_t)(LOADED * i) * s->depth, n0 + row < s->columns);
    }
    at->weights += STEP;
    conv_tap_advance(s, &at->tap, STEP);
}

/* Begin the products of a step. a: 64 pixels of this thread's group. */
template <int COLUMNS>
static __device__ inline void multiply_stage(struct group_tile a, struct group_tile b, int stage,
                                             float c[COLUMNS / 8][4])
{
    int bytes = stage * (int)sizeof(struct group_stage<COLUMNS>);
    group_begin();
#pragma unroll
    for (int k = 0; k < STEP; k += 16)
        group_multiply<COLUMNS>(c, group_tile_after(a, bytes + 2 * k),
                                group_tile_after(b, bytes + 2 * k));
    group_commit();
}

/* grid: as conv_mma's */
template <class TY, int COLUMNS>
static __global__ void __launch_bounds__(MMA_THREADS, 2)
    conv_wgmma(const bf16 *x, const bf16 *packed, struct conv_epilogue<TY> e, struct conv_shape s,
               bool pairs)
{
    uintptr_t shared = ((uintptr_t)dynamic_shared() + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct group_stage<COLUMNS> *stages = (struct group_stage<COLUMNS> *)shared;
    int column_tiles = (s.columns + COLUMNS - 1) / COLUMNS, steps = s.depth / STEP;
    int m0 = (int)blockIdx.x / column_tiles * ROWS, n0 = (int)blockIdx.x % column_tiles * COLUMNS;
    int thread = (int)threadIdx.x, group = thread / 128;
    struct group_loader at;
    loader_begin(&at, packed, &s, m0, n0);
    struct group_tile a = group_tile_of(stages->a + group * 64 * STEP, 16);
    struct group_tile b = group_tile_of(stages->b, 16);
    float c[COLUMNS / 8][4] = {};
    for (int i = 0; i < STAGES - 1; ++i) {
        if (i < steps)
            load_stage<COLUMNS>(stages + i, &at, x, &s, n0);
        copy_commit();
    }
    for (int i = 0; i < steps; ++i) {
        copy_wait<STAGES - 2>();
        group_publish();
        group_wait<COLUMNS>(c); /* after the barrier nobody reads the stage of step i - 1 */
        __syncthreads();
        multiply_stage<COLUMNS>(a, b, i % STAGES, c);
        int next = i + STAGES - 1;
        if (next < steps)
            load_stage<COLUMNS>(stages + next % STAGES, &at, x, &s, n0);
        copy_commit();
    }
    group_wait<COLUMNS>(c);
    int lane = thread % 32, m = m0 + thread / 32 * 16 + lane / 4;
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; ++j) {
        int n = n0 + j * 8 + lane % 4 * 2;
        if (m < s.rows)
            finish_pair(&e, m, n, s.columns, c[j], pairs);
        if (m + 8 < s.rows)
            finish_pair(&e, m + 8, n, s.columns, c[j] + 2, pairs);
    }
}

bool ddpm_cuda_wants_wgmma(const struct cudaDeviceProp *properties)
{
    const char *wanted = getenv("DDPM_CUDA_WGMMA");
    if (wanted && *wanted && strcmp(wanted, "off") != 0 && strcmp(wanted, "on") != 0)
        ddpm_log(DDPM_LOG_WARNING, "DDPM_CUDA_WGMMA: got \"%s\", want on or off", wanted);
    if (!wanted || strcmp(wanted, "on") != 0)
        return false;
#ifdef DDPM_CUDA_SM90A
    if (properties->major == 9 && properties->minor == 0)
        return true;
    ddpm_log(DDPM_LOG_WARNING, "DDPM_CUDA_WGMMA: got compute capability %d.%d, want 9.0",
             properties->major, properties->minor);
#else
    (void)properties;
    ddpm_log(DDPM_LOG_WARNING, "DDPM_CUDA_WGMMA: this plug-in was not compiled for 90a-real");
#endif
    return false;
}

static bool wgmma_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    const struct conv_shape s = ddpm_conv_shape(call);
    return call->device && ddpm_cuda_device_of(call)->wgmma &&
           ddpm_cuda_conv2d_mma.supports(call) && x->c % STEP == 0 && x->pixel_stride % 8 == 0 &&
           y->c >= 64 && s.dilate == 1 &&
           ddpm_tensor_pixels(x) * x->pixel_stride / 8 < INT32_MAX / 2;
}

template <class TY, int COLUMNS> static ddpm_status wgmma_typed(const struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    const struct ddpm_tensor *x = &call->in[0];
    const void *weights = call->packed_bytes ? call->packed : ddpm_call_copy(call)->data;
    if (!ddpm_cuda_vector(&x, 1))
        return ddpm_cuda_conv2d_mma.run(call);
    dim3 grid((unsigned)(ddpm_ceil_div(s.rows, ROWS) * ddpm_ceil_div(s.columns, COLUMNS)));
    return ddpm_cuda_launch(call, conv_wgmma<TY, COLUMNS>, grid, dim3(MMA_THREADS),
                            STAGES * sizeof(struct group_stage<COLUMNS>) + ALIGNMENT,
                            (const bf16 *)x->data, (const bf16 *)weights,
                            ddpm_conv_epilogue<TY>(call), s, ddpm_conv_pairs(&call->out[0]));
}

static ddpm_status wgmma_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    if (y->dtype == DDPM_F32)
        return y->c > 64 ? wgmma_typed<float, 128>(call) : wgmma_typed<float, 64>(call);
    return y->c > 64 ? wgmma_typed<bf16, 128>(call) : wgmma_typed<bf16, 64>(call);
}

static ddpm_status wgmma_prepare(struct ddpm_call *call)
{
    return ddpm_cuda_conv2d_mma.prepare(call);
}

static ddpm_status wgmma_pack(const struct ddpm_call *call)
{
    return ddpm_cuda_conv2d_mma.pack(call);
}

const struct ddpm_kernel ddpm_cuda_conv2d_wgmma = {
    "conv2d_cuda_wgmma", wgmma_supports, wgmma_prepare, wgmma_pack, wgmma_run, NULL};
const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_wgmma = {
    "conv2d_backward_data_cuda_wgmma", wgmma_supports, wgmma_prepare, wgmma_pack, wgmma_run, NULL};

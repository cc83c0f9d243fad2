/* Convolution forward and backward data on tensor cores: bf16, fp32 sums.
 *
 * Implicit matrix product (conv.cuh): a block of eight warps computes 128 pixels × 64 or 128
 * channels of the result, 32 columns of depth at a time, with four steps in flight through
 * cp.async. A warp owns 32 channels of 64 (of 32, for 64 channels) pixels. pack() writes a bf16
 * copy of the fp32 masters, [columns][depth], for backward data with reversed taps and transposed.
 * If the caller of a forward pass keeps such a copy, and 16 bytes can be read at the start of its
 * rows, that copy is used. */
#include "kernels/cuda/conv_mma.cuh"
#include "kernels/cuda/rows.cuh"

#define ROWS 128

/* ---- weights ---- */

static int64_t packed_depth(const struct conv_shape *s)
{
    return ddpm_ceil_div(s->depth, 8) * 8;
}

/* The caller's copy if it can be used directly, or NULL. */
static const struct ddpm_tensor *usable_copy(const struct ddpm_call *call,
                                             const struct conv_shape *s)
{
    return s->turned || s->depth % 8 != 0 ? NULL : ddpm_call_copy(call);
}

/* packed[n][k] = w[n][k], zeros from `depth` on. grid: (ceil(packed depth/256), columns) */
static __global__ void __launch_bounds__(MMA_THREADS)
    pack_forward(const float *w, bf16 *packed, int depth, int wide)
{
    int k = (int)(blockIdx.x * MMA_THREADS + threadIdx.x), n = (int)blockIdx.y;
    if (k < wide)
        from_float(packed + (int64_t)n * wide + k, k < depth ? w[(int64_t)n * depth + k] : 0.0f);
}

/* packed[c][tap·K + k] = w[k][taps-1-tap][c], through a tile that is read and written along rows.
 * grid: (ceil(K/32), ceil(C/32), taps), block: 32×8 */
static __global__ void __launch_bounds__(MMA_THREADS)
    pack_backward(const float *w, bf16 *packed, int outputs, int channels, int64_t wide)
{
    __shared__ float tile[32][33];
    int taps = (int)gridDim.z, tap = (int)blockIdx.z, x = (int)threadIdx.x, y = (int)threadIdx.y;
    int k0 = (int)blockIdx.x * 32, c0 = (int)blockIdx.y * 32;
    for (int i = y; i < 32; i += 8)
        if (k0 + i < outputs && c0 + x < channels)
            tile[i][x] = w[((int64_t)(k0 + i) * taps + taps - 1 - tap) * channels + c0 + x];
    __syncthreads();
    for (int i = y; i < 32; i += 8)
        if (c0 + i < channels && k0 + x < outputs)
            from_float(packed + (c0 + i) * wide + (int64_t)tap * outputs + k0 + x, tile[x][i]);
}

static ddpm_status mma_pack(const struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    int64_t wide = packed_depth(&s);
    const float *w = (const float *)call->in[1].data;
    bf16 *packed = (bf16 *)call->packed;
    if (!s.turned) {
        dim3 grid((unsigned)ddpm_ceil_div(wide, MMA_THREADS), (unsigned)s.columns);
        return ddpm_cuda_launch(call, pack_forward, grid, dim3(MMA_THREADS), 0, w, packed, s.depth,
                                (int)wide);
    }
    if (wide != s.depth) /* the kernel does not write the tail of each row */
        DDPM_CUDA_TRY(
            cudaMemsetAsync(packed, 0, call->packed_bytes, ddpm_cuda_device_of(call)->compute));
    dim3 grid((unsigned)ddpm_ceil_div(s.channels, 32), (unsigned)ddpm_ceil_div(s.columns, 32),
              (unsigned)(s.taps_h * s.taps_w));
    return ddpm_cuda_launch(call, pack_backward, grid, dim3(32, 8), 0, w, packed, s.channels,
                            s.columns, wide);
}

/* ---- product ---- */

template <int COLUMNS> struct conv_stage {
    bf16 a[ROWS * MMA_STEP], b[COLUMNS * MMA_STEP];
};

/* Where a thread is loading: two rows of A, one chunk of eight columns of depth. */
struct conv_loader {
    struct conv_row rows[2];
    struct conv_tap tap;
    int k;
};

template <int COLUMNS, bool VECTOR, bool DILATED>
static __device__ inline void load_stage(struct conv_stage<COLUMNS> *stage, struct conv_loader *at,
                                         const bf16 *x, const bf16 *packed,
                                         const struct conv_shape *s, int m0, int n0, int wide)
{
    int chunk = (int)threadIdx.x % 4, first = (int)threadIdx.x / 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        int row = first + 64 * i;
        load_entries<VECTOR, DILATED>(stage->a + chunk4(row, chunk), x, s, at->rows[i], at->tap,
                                      at->k, m0 + row < s->rows);
    }
#pragma unroll
    for (int i = 0; i < COLUMNS / 64; ++i) {
        int row = first + 64 * i, n = n0 + row;
        copy_async(stage->b + chunk4(row, chunk), packed + (int64_t)n * wide + at->k,
                   n < s->columns && at->k < wide);
    }
    at->k += MMA_STEP;
    if (at->k < wide)
        conv_tap_advance(s, &at->tap, MMA_STEP);
}

template <int COLUMNS>
static __device__ inline void multiply_stage(const struct conv_stage<COLUMNS> *stage,
                                             float c[COLUMNS / 32][4][4], int row0, int column0)
{
    constexpr int M = COLUMNS / 32;
    int lane = (int)threadIdx.x % 32, matrix = lane / 8;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        uint32_t a[M][4], b[2][4];
#pragma unroll
        for (int i = 0; i < M; ++i)
            load_matrices(a[i], stage->a + chunk4(row0 + i * 16 + lane % 16, 2 * half + lane / 16));
#pragma unroll
        for (int j = 0; j < 2; ++j)
            load_matrices(b[j], stage->b + chunk4(column0 + j * 16 + matrix / 2 * 8 + lane % 8,
                                                  2 * half + matrix % 2));
        multiply<M>(c, a, b);
    }
}

/* grid: column tiles × row tiles, column tiles fastest: blocks that run together share the pixels.
 */
template <class TY, int COLUMNS, bool VECTOR, bool DILATED>
static __global__ void __launch_bounds__(MMA_THREADS, 2)
    conv_mma(const bf16 *x, const bf16 *packed, struct conv_epilogue<TY> e, struct conv_shape s,
             int wide, bool pairs)
{
    constexpr int M = COLUMNS / 32, WARP_ROWS = 16 * M;
    struct conv_stage<COLUMNS> *stages = (struct conv_stage<COLUMNS> *)dynamic_shared();
    int column_tiles = (s.columns + COLUMNS - 1) / COLUMNS;
    int m0 = (int)blockIdx.x / column_tiles * ROWS, n0 = (int)blockIdx.x % column_tiles * COLUMNS;
    int thread = (int)threadIdx.x, warp = thread / 32, steps = (wide + MMA_STEP - 1) / MMA_STEP;
    int row0 = warp / (COLUMNS / 32) * WARP_ROWS, column0 = warp % (COLUMNS / 32) * 32;
    struct conv_loader at;
    at.rows[0] = conv_row_of(&s, m0 + thread / 4);
    at.rows[1] = conv_row_of(&s, m0 + thread / 4 + 64);
    at.k = thread % 4 * 8;
    at.tap = conv_tap_of(&s, at.k);
    float c[M][4][4] = {};
    for (int i = 0; i < MMA_STAGES - 1; ++i) {
        if (i < steps)
            load_stage<COLUMNS, VECTOR, DILATED>(stages + i, &at, x, packed, &s, m0, n0, wide);
        copy_commit();
    }
    for (int i = 0; i < steps; ++i) {
        copy_wait<MMA_STAGES - 2>();
        __syncthreads();
        int next = i + MMA_STAGES - 1;
        if (next < steps)
            load_stage<COLUMNS, VECTOR, DILATED>(stages + next % MMA_STAGES, &at, x, packed, &s, m0,
                                                 n0, wide);
        copy_commit();
        multiply_stage<COLUMNS>(stages + i % MMA_STAGES, c, row0, column0);
    }
    int lane = thread % 32;
#pragma unroll
    for (int i = 0; i < M; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            int m = m0 + row0 + i * 16 + lane / 4, n = n0 + column0 + j * 8 + lane % 4 * 2;
            if (m < s.rows)
                finish_pair(&e, m, n, s.columns, c[i][j], pairs);
            if (m + 8 < s.rows)
                finish_pair(&e, m + 8, n, s.columns, c[i][j] + 2, pairs);
        }
    }
}

/* Products with fewer columns than one instruction computes are left to the kernel without tensor
 * cores. */
static bool mma_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    bool ok = call->in[0].c * call->attributes.kernel_h * call->attributes.kernel_w >= 16 &&
              call->in[0].dtype == DDPM_BF16 && ddpm_cuda_is_activation(y) &&
              call->in[1].dtype == DDPM_F32 && ddpm_conv_fits(call) && y->c <= 65535;
    if (call->op == DDPM_OP_CONV2D)
        ok = ok && ddpm_cuda_takes(&call->in[2], DDPM_F32) &&
             ddpm_cuda_takes(&call->in[3], y->dtype);
    return ok;
}

static ddpm_status mma_prepare(struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    if (!usable_copy(call, &s))
        call->packed_bytes = (size_t)(s.columns * packed_depth(&s)) * sizeof(bf16);
    return DDPM_OK;
}

template <class TY, int COLUMNS> static ddpm_status mma_typed(const struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    const struct ddpm_tensor *x = &call->in[0], *copy = usable_copy(call, &s);
    bool vector = ddpm_cuda_vector(&x, 1);
    auto kernel = !vector          ? conv_mma<TY, COLUMNS, false, true>
                  : s.dilate == 1 ? conv_mma<TY, COLUMNS, true, false>
                                  : conv_mma<TY, COLUMNS, true, true>;
    dim3 grid((unsigned)(ddpm_ceil_div(s.rows, ROWS) * ddpm_ceil_div(s.columns, COLUMNS)));
    return ddpm_cuda_launch(call, kernel, grid, dim3(MMA_THREADS),
                            MMA_STAGES * sizeof(struct conv_stage<COLUMNS>), (const bf16 *)x->data,
                            (const bf16 *)(copy ? copy->data : call->packed),
                            ddpm_conv_epilogue<TY>(call), s, (int)packed_depth(&s),
                            ddpm_conv_pairs(&call->out[0]));
}

static ddpm_status mma_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    if (y->dtype == DDPM_F32)
        return y->c > 64 ? mma_typed<float, 128>(call) : mma_typed<float, 64>(call);
    return y->c > 64 ? mma_typed<bf16, 128>(call) : mma_typed<bf16, 64>(call);
}

const struct ddpm_kernel ddpm_cuda_conv2d_mma = {"conv2d_cuda_mma", mma_supports, mma_prepare,
                                                 mma_pack,          mma_run,      NULL};
const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_mma = {
    "conv2d_backward_data_cuda_mma", mma_supports, mma_prepare, mma_pack, mma_run, NULL};

/* Convolutions without tensor cores: exact fp32 (and any mixture with bf16), any number of
 * channels.
 *
 * A block of 256 threads computes a tile of 64×64 of the product, 4×4 per thread, 16 columns of
 * depth at a time through shared memory. conv.cuh says which product each operation is. Weights are
 * read from the fp32 masters. */
#include "kernels/cuda/conv_weight.cuh"
#include "kernels/cuda/rows.cuh"

#define TILE 64
#define DEPTH 16
#define SIMT_THREADS 256

/* One step over DEPTH columns of both tiles. Padded rows keep the stores free of bank conflicts. */
struct simt_tiles {
    float a[DEPTH][TILE + 4], b[DEPTH][TILE + 4];
};

static __device__ inline void multiply_step(const struct simt_tiles *t, float sum[4][4])
{
    int row = (int)threadIdx.x / 16 * 4, column = (int)threadIdx.x % 16 * 4;
#pragma unroll
    for (int k = 0; k < DEPTH; ++k) {
        float4 a4 = *(const float4 *)&t->a[k][row], b4 = *(const float4 *)&t->b[k][column];
        float a[4] = {a4.x, a4.y, a4.z, a4.w}, b[4] = {b4.x, b4.y, b4.z, b4.w};
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j)
                sum[i][j] += a[i] * b[j];
    }
}

/* y[m][n] = Σ_k entry(m,k)·weight(n,k) + epilogue. grid: (column tiles × row tiles) */
template <class TX, class TY>
static __global__ void __launch_bounds__(SIMT_THREADS)
    conv_simt(const TX *x, const float *w, struct conv_epilogue<TY> e, struct conv_shape s)
{
    __shared__ __align__(16) struct simt_tiles tiles;
    int column_tiles = (s.columns + TILE - 1) / TILE, thread = (int)threadIdx.x;
    int m0 = (int)blockIdx.x / column_tiles * TILE, n0 = (int)blockIdx.x % column_tiles * TILE;
    int part = thread % DEPTH, first = thread / DEPTH; /* this thread loads rows first + 16·i */
    struct conv_row rows[4];
    float sum[4][4] = {};
#pragma unroll
    for (int i = 0; i < 4; ++i)
        rows[i] = conv_row_of(&s, m0 + first + 16 * i);
    for (int k0 = 0; k0 < s.depth; k0 += DEPTH) {
        int k = k0 + part;
        struct conv_tap tap = conv_tap_of(&s, k);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int m = first + 16 * i;
            bool here = k < s.depth && m0 + m < s.rows;
            int64_t place = here ? conv_place<true>(&s, rows[i], tap) : -1;
            tiles.a[part][m] = place >= 0 ? to_float(x[place]) : 0.0f;
            bool weight = k < s.depth && n0 + m < s.columns;
            tiles.b[part][m] = weight ? w[conv_weight_place(&s, n0 + m, tap)] : 0.0f;
        }
        __syncthreads();
        multiply_step(&tiles, sum);
    }
    int row = thread / 16 * 4, column = thread % 16 * 4;
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
            if (m0 + row + i < s.rows && n0 + column + j < s.columns)
                conv_finish(&e, m0 + row + i, n0 + column + j, sum[i][j]);
}

/* partial[z][n][k] = Σ_m dy(m,n)·entry(m,k) over the pixels m of split z.
 * grid: (k tiles × n tiles, splits); K = channels of dy. */
template <class TX, class TD>
static __global__ void __launch_bounds__(SIMT_THREADS)
    conv_weight_simt(const TX *x, struct plane<const TD> dy, struct conv_shape s, int split,
                     float *partial)
{
    __shared__ __align__(16) struct simt_tiles tiles;
    int depth_tiles = (s.depth + TILE - 1) / TILE, thread = (int)threadIdx.x;
    int n0 = (int)blockIdx.x / depth_tiles * TILE, k0 = (int)blockIdx.x % depth_tiles * TILE;
    int begin = (int)blockIdx.y * split, end = min(begin + split, s.rows);
    int lane = thread % TILE, first = thread / TILE; /* loads pixels first + 4·i of column lane */
    struct conv_tap tap = conv_tap_of(&s, k0 + lane);
    float sum[4][4] = {};
    for (int m0 = begin; m0 < end; m0 += DEPTH) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            int m = m0 + first + 4 * i;
            bool gradient = m < end && n0 + lane < s.columns;
            tiles.a[first + 4 * i][lane] =
                gradient ? to_float(dy.data[m * dy.stride + n0 + lane]) : 0.0f;
            bool here = m < end && k0 + lane < s.depth;
            int64_t place = here ? conv_place<true>(&s, conv_row_of(&s, m), tap) : -1;
            tiles.b[first + 4 * i][lane] = place >= 0 ? to_float(x[place]) : 0.0f;
        }
        __syncthreads();
        multiply_step(&tiles, sum);
    }
    int row = thread / 16 * 4, column = thread % 16 * 4;
    float *to = partial + (int64_t)blockIdx.y * s.columns * s.depth;
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
            if (n0 + row + i < s.columns && k0 + column + j < s.depth)
                to[(int64_t)(n0 + row + i) * s.depth + k0 + column + j] = sum[i][j];
}

static bool simt_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    bool ok = ddpm_cuda_is_activation(x) && ddpm_cuda_is_activation(y) &&
              call->in[1].dtype == DDPM_F32 && ddpm_conv_fits(call);
    if (call->op == DDPM_OP_CONV2D)
        ok = ok && ddpm_cuda_takes(&call->in[2], DDPM_F32) &&
             ddpm_cuda_takes(&call->in[3], y->dtype);
    return ok;
}

template <class TX, class TY> static ddpm_status simt_typed(const struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    dim3 grid((unsigned)(ddpm_ceil_div(s.rows, TILE) * ddpm_ceil_div(s.columns, TILE)));
    return ddpm_cuda_launch(call, conv_simt<TX, TY>, grid, dim3(SIMT_THREADS), 0,
                            (const TX *)call->in[0].data, (const float *)call->in[1].data,
                            ddpm_conv_epilogue<TY>(call), s);
}

static ddpm_status simt_run(const struct ddpm_call *call)
{
    bool x32 = call->in[0].dtype == DDPM_F32, y32 = call->out[0].dtype == DDPM_F32;
    if (x32)
        return y32 ? simt_typed<float, float>(call) : simt_typed<float, bf16>(call);
    return y32 ? simt_typed<bf16, float>(call) : simt_typed<bf16, bf16>(call);
}

static bool weight_supports(const struct ddpm_call *call)
{
    return ddpm_cuda_is_activation(&call->in[0]) && ddpm_cuda_is_activation(&call->in[1]) &&
           ddpm_cuda_takes(&call->out[0], DDPM_F32) && ddpm_cuda_takes(&call->out[1], DDPM_F32) &&
           ddpm_conv_fits(call);
}

static int weight_splits(const struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    int64_t tiles = ddpm_ceil_div(s.columns, TILE) * ddpm_ceil_div(s.depth, TILE);
    return ddpm_conv_splits(call, tiles, 256);
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    call->scratch_bytes = ddpm_conv_weight_bytes(call, weight_splits(call));
    return DDPM_OK;
}

template <class TX, class TD> static ddpm_status weight_typed(const struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    int splits = weight_splits(call), split = (int)ddpm_ceil_div(s.rows, splits);
    dim3 grid((unsigned)(ddpm_ceil_div(s.columns, TILE) * ddpm_ceil_div(s.depth, TILE)),
              (unsigned)splits);
    DDPM_TRY(ddpm_cuda_launch(call, conv_weight_simt<TX, TD>, grid, dim3(SIMT_THREADS), 0,
                              (const TX *)call->in[0].data, ddpm_plane<const TD>(&call->in[1]), s,
                              split, (float *)call->scratch));
    return ddpm_conv_weight_finish(call, splits);
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    bool x32 = call->in[0].dtype == DDPM_F32, dy32 = call->in[1].dtype == DDPM_F32;
    if (x32)
        return dy32 ? weight_typed<float, float>(call) : weight_typed<float, bf16>(call);
    return dy32 ? weight_typed<bf16, float>(call) : weight_typed<bf16, bf16>(call);
}

const struct ddpm_kernel ddpm_cuda_conv2d_simt = {"conv2d_cuda_simt", simt_supports, NULL, NULL,
                                                  simt_run,           NULL};
const struct ddpm_kernel ddpm_cuda_conv2d_backward_data_simt = {
    "conv2d_backward_data_cuda_simt", simt_supports, NULL, NULL, simt_run, NULL};
const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_simt = {
    "conv2d_backward_weight_cuda_simt", weight_supports, weight_prepare, NULL, weight_run, NULL};

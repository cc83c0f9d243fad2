/* Convolution backward weight on tensor cores: bf16, fp32 sums.
 *
 *     partial[z][n][k] = Σ_m dy(m,n)·entry(m,k),  m over the pixels of split z
 *
 * Both operands have the pixels as rows, so ldmatrix reads both transposed. A block of eight warps
 * computes 64 or 128 channels of dy × 128 columns (r,s,c), 32 pixels at a time, with four steps in
 * flight. A warp owns 32 columns of 32 (of 64) channels. */
#include "kernels/cuda/conv_mma.cuh"
#include "kernels/cuda/conv_weight.cuh"
#include "kernels/cuda/rows.cuh"

#define COLUMNS 128

template <int ROWS> struct weight_stage {
    bf16 dy[MMA_STEP * ROWS], x[MMA_STEP * COLUMNS];
};

/* A pixel of dy, advanced without divisions. */
struct weight_pixel {
    int m, h, w, b;
};

static __device__ inline struct weight_pixel pixel_of(const struct conv_shape *s, int m)
{
    int row = m / s->out_w;
    return {m, row % s->out_h, m % s->out_w, row / s->out_h};
}

static __device__ inline void pixel_advance(const struct conv_shape *s, struct weight_pixel *p)
{
    p->m += MMA_STEP;
    p->w += MMA_STEP;
    while (p->w >= s->out_w) {
        p->w -= s->out_w;
        if (++p->h == s->out_h) {
            p->h = 0;
            ++p->b;
        }
    }
}

static __device__ inline struct conv_row row_of(const struct conv_shape *s, struct weight_pixel p)
{
    return conv_row_at(s, p.b, p.h, p.w);
}

/* Eight channels n.. of dy at one pixel. */
template <bool VECTOR>
static __device__ inline void load_gradient(bf16 *to, struct plane<const bf16> dy, int64_t m, int n,
                                            int columns, bool here)
{
    const bf16 *from = dy.data + m * dy.stride + n;
    if constexpr (VECTOR) {
        copy_async(to, from, here && n < columns);
    } else {
        float v[8];
        for (int i = 0; i < 8; ++i)
            v[i] = here && n + i < columns ? to_float(from[i]) : 0.0f;
        store<8>(to, v);
    }
}

/* What a thread loads: chunks of 8 of dy's channels and of columns, for pixel `pixel` and the one
 * 16 after it. */
struct weight_loader {
    struct weight_pixel pixels[2];
    struct conv_tap tap;
    int n, k, end;
};

template <int ROWS, bool DY_VECTOR, bool X_VECTOR>
static __device__ inline void load_stage(struct weight_stage<ROWS> *stage, struct weight_loader *at,
                                         const bf16 *x, struct plane<const bf16> dy,
                                         const struct conv_shape *s)
{
    int chunk = (int)threadIdx.x % 16, first = (int)threadIdx.x / 16;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        int row = first + 16 * i;
        bool here = at->pixels[i].m < at->end;
        if (chunk < ROWS / 8)
            load_gradient<DY_VECTOR>(stage->dy + chunk_wide<ROWS / 8>(row, chunk), dy,
                                     at->pixels[i].m, at->n, s->columns, here);
        load_entries<X_VECTOR, !X_VECTOR>(stage->x + chunk_wide<COLUMNS / 8>(row, chunk), x, s,
                                      row_of(s, at->pixels[i]), at->tap, at->k, here);
        pixel_advance(s, &at->pixels[i]);
    }
}

template <int ROWS>
static __device__ inline void multiply_stage(const struct weight_stage<ROWS> *stage,
                                             float c[ROWS / 32][4][4], int row0, int column0)
{
    constexpr int M = ROWS / 32;
    int lane = (int)threadIdx.x % 32, matrix = lane / 8;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        uint32_t a[M][4], b[2][4];
        int pixel_a = half * 16 + matrix / 2 * 8 + lane % 8;
        int pixel_b = half * 16 + matrix % 2 * 8 + lane % 8;
#pragma unroll
        for (int i = 0; i < M; ++i)
            load_matrices_transposed(
                a[i], stage->dy + chunk_wide<ROWS / 8>(pixel_a, row0 / 8 + i * 2 + matrix % 2));
#pragma unroll
        for (int j = 0; j < 2; ++j)
            load_matrices_transposed(
                b[j],
                stage->x + chunk_wide<COLUMNS / 8>(pixel_b, column0 / 8 + j * 2 + matrix / 2));
        multiply<M>(c, a, b);
    }
}

/* grid: (column tiles × row tiles, splits) */
template <int ROWS, bool DY_VECTOR, bool X_VECTOR>
static __global__ void __launch_bounds__(MMA_THREADS, 2)
    conv_weight_mma(const bf16 *x, struct plane<const bf16> dy, struct conv_shape s, int split,
                    float *partial)
{
    constexpr int M = ROWS / 32;
    struct weight_stage<ROWS> *stages = (struct weight_stage<ROWS> *)dynamic_shared();
    int column_tiles = (s.depth + COLUMNS - 1) / COLUMNS;
    int n0 = (int)blockIdx.x / column_tiles * ROWS, k0 = (int)blockIdx.x % column_tiles * COLUMNS;
    int thread = (int)threadIdx.x, warp = thread / 32;
    int row0 = warp / 4 * (ROWS / 2), column0 = warp % 4 * 32;
    int begin = (int)blockIdx.y * split, end = min(begin + split, s.rows);
    int steps = (end - begin + MMA_STEP - 1) / MMA_STEP;
    struct weight_loader at;
    at.pixels[0] = pixel_of(&s, begin + thread / 16);
    at.pixels[1] = pixel_of(&s, begin + thread / 16 + 16);
    at.n = n0 + thread % 16 * 8;
    at.k = k0 + thread % 16 * 8;
    at.tap = conv_tap_of(&s, at.k);
    at.end = end;
    float c[M][4][4] = {};
    for (int i = 0; i < MMA_STAGES - 1; ++i) {
        if (i < steps)
            load_stage<ROWS, DY_VECTOR, X_VECTOR>(stages + i, &at, x, dy, &s);
        copy_commit();
    }
    for (int i = 0; i < steps; ++i) {
        copy_wait<MMA_STAGES - 2>();
        __syncthreads();
        int next = i + MMA_STAGES - 1;
        if (next < steps)
            load_stage<ROWS, DY_VECTOR, X_VECTOR>(stages + next % MMA_STAGES, &at, x, dy, &s);
        copy_commit();
        multiply_stage<ROWS>(stages + i % MMA_STAGES, c, row0, column0);
    }
    float *to = partial + (int64_t)blockIdx.y * s.columns * s.depth;
    int lane = thread % 32;
#pragma unroll
    for (int i = 0; i < M; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            int n = n0 + row0 + i * 16 + lane / 4, k = k0 + column0 + j * 8 + lane % 4 * 2;
#pragma unroll
            for (int q = 0; q < 4; ++q)
                if (n + q / 2 * 8 < s.columns && k + q % 2 < s.depth)
                    to[(int64_t)(n + q / 2 * 8) * s.depth + k + q % 2] = c[i][j][q];
        }
    }
}

static bool weight_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_BF16 && call->in[1].dtype == DDPM_BF16 &&
           ddpm_cuda_takes(&call->out[0], DDPM_F32) && ddpm_cuda_takes(&call->out[1], DDPM_F32) &&
           ddpm_conv_fits(call);
}

static int rows_of(const struct ddpm_call *call)
{
    return call->in[1].c > 64 ? 128 : 64;
}

static int64_t tiles_of(const struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    return ddpm_ceil_div(s.columns, rows_of(call)) * ddpm_ceil_div(s.depth, COLUMNS);
}

static int splits_of(const struct ddpm_call *call)
{
    return ddpm_conv_splits(call, tiles_of(call), 512);
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    call->scratch_bytes = ddpm_conv_weight_bytes(call, splits_of(call));
    return DDPM_OK;
}

template <int ROWS> static ddpm_status weight_sized(const struct ddpm_call *call)
{
    struct conv_shape s = ddpm_conv_shape(call);
    const struct ddpm_tensor *x = &call->in[0], *dy = &call->in[1];
    bool x_vector = ddpm_cuda_vector(&x, 1), dy_vector = ddpm_cuda_vector(&dy, 1);
    auto kernel = !dy_vector ? conv_weight_mma<ROWS, false, false>
                  : x_vector ? conv_weight_mma<ROWS, true, true>
                             : conv_weight_mma<ROWS, true, false>;
    int splits = splits_of(call);
    dim3 grid((unsigned)tiles_of(call), (unsigned)splits);
    return ddpm_cuda_launch(call, kernel, grid, dim3(MMA_THREADS),
                            MMA_STAGES * sizeof(struct weight_stage<ROWS>), (const bf16 *)x->data,
                            ddpm_plane<const bf16>(dy), s, (int)ddpm_ceil_div(s.rows, splits),
                            (float *)call->scratch);
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    if (rows_of(call) == 128)
        DDPM_TRY(weight_sized<128>(call));
    else
        DDPM_TRY(weight_sized<64>(call));
    return ddpm_conv_weight_finish(call, splits_of(call));
}

const struct ddpm_kernel ddpm_cuda_conv2d_backward_weight_mma = {
    "conv2d_backward_weight_cuda_mma", weight_supports, weight_prepare, NULL, weight_run, NULL};

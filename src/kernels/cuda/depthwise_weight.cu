/* Gradients of a depthwise convolution's weights, bias and time vector.
 *
 *     dw[r,s,c] += Σ_{b,h,w} x[b,h+r-pad,w+s-pad,c]·dy[b,h,w,c]
 *     dtime[b,c] = Σ_{h,w} dy,  dbias[c] += Σ_b dtime
 *
 * A block handles a chunk of one image's tiles and 64 channels. Warp r of seven computes the seven
 * taps of filter row r, the eighth sums dy. Partial results per image and chunk go to scratch, taps
 * [B][chunks][R·S·C] and sums [B][chunks][C], and are then added in a fixed order. */
#include "kernels/cuda/depthwise.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/rows.cuh"

/* Rows of dy per tile: only four in fp32, so that both tiles fit into the 99 KiB that every device
 * has. */
template <class T> static constexpr int tile_rows = sizeof(T) == 4 ? 4 : 8;

struct weight_shape {
    int height, width, channels, tiles_w, tiles, tiles_per_chunk, pad, taps_w;
    bool vector;
};

/* acc[t] += Σ over one row of dy, for filter row r. */
template <class T>
static __device__ inline void add_row(const T *x_row, const T *dy_row, float acc[TAPS][2])
{
    float g[TILE_W][2];
#pragma unroll
    for (int o = 0; o < TILE_W; ++o)
        load_pair(dy_row + o * TILE_C, g[o]);
#pragma unroll
    for (int j = 0; j < BORDER_W; ++j) {
        float v[2];
        load_pair(x_row + j * TILE_C, v);
#pragma unroll
        for (int t = 0; t < TAPS; ++t) {
            if (j - t >= 0 && j - t < TILE_W) {
                acc[t][0] += v[0] * g[j - t][0];
                acc[t][1] += v[1] * g[j - t][1];
            }
        }
    }
}

/* grid: (chunks, ceil(C/64), B); shared: the tiles of x and dy. */
template <class T>
static __global__ void __launch_bounds__(TILE_THREADS)
    depthwise7_weight(struct plane<const T> x, struct plane<const T> dy, struct weight_shape s,
                      float *taps, float *sums)
{
    constexpr int rows = tile_rows<T>, border_rows = rows + TAPS - 1;
    T *x_tile = (T *)dynamic_shared(), *dy_tile = x_tile + border_rows * BORDER_W * TILE_C;
    int c0 = (int)blockIdx.y * TILE_C, lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    int64_t image = (int64_t)blockIdx.z * s.height * s.width;
    float acc[TAPS][2];
#pragma unroll
    for (int t = 0; t < TAPS; ++t)
        acc[t][0] = acc[t][1] = 0.0f;
    int first = (int)blockIdx.x * s.tiles_per_chunk, last = min(first + s.tiles_per_chunk, s.tiles);
    for (int i = first; i < last; ++i) {
        int h0 = i / s.tiles_w * rows, w0 = i % s.tiles_w * TILE_W;
        __syncthreads();
        fill_tile(x_tile, x, image, s.height, s.width, s.channels, h0 - s.pad, w0 - s.pad, c0,
                  border_rows, BORDER_W, s.vector);
        fill_tile(dy_tile, dy, image, s.height, s.width, s.channels, h0, w0, c0, rows, TILE_W,
                  s.vector);
        copy_wait<0>();
        __syncthreads();
        if (warp < TAPS) {
            for (int h = 0; h < rows; ++h)
                add_row(x_tile + (h + warp) * BORDER_W * TILE_C + 2 * lane,
                        dy_tile + h * TILE_W * TILE_C + 2 * lane, acc);
        } else {
            for (int o = 0; o < rows * TILE_W; ++o) {
                float g[2];
                load_pair(dy_tile + o * TILE_C + 2 * lane, g);
                acc[0][0] += g[0];
                acc[0][1] += g[1];
            }
        }
    }
    int c = c0 + 2 * lane;
    int64_t part = (int64_t)blockIdx.z * gridDim.x + blockIdx.x;
    for (int k = 0; k < min(2, s.channels - c); ++k) {
        if (warp == TAPS)
            sums[part * s.channels + c + k] = acc[0][k];
#pragma unroll
        for (int t = 0; t < TAPS; ++t)
            if (warp < TAPS)
                taps[(part * TAPS * TAPS + warp * TAPS + t) * s.channels + c + k] = acc[t][k];
    }
}

/* Any size: one tap (the last: the sums of dy) of 32 channels of one image per block.
 * grid: (ceil(C/32), R·S+1, B) */
template <class T>
static __global__ void __launch_bounds__(32 * COLUMN_ROWS)
    depthwise_weight(struct plane<const T> x, struct plane<const T> dy, struct weight_shape s,
                     float *taps, float *sums)
{
    int c = (int)(blockIdx.x * 32 + threadIdx.x), tap = (int)blockIdx.y;
    int count = (int)gridDim.y - 1, dh = tap / s.taps_w - s.pad, dw = tap % s.taps_w - s.pad;
    int64_t image = (int64_t)blockIdx.z * s.height * s.width;
    float sum = 0.0f;
    for (int p = (int)threadIdx.y; p < s.height * s.width && c < s.channels; p += COLUMN_ROWS) {
        float g = to_float(dy.data[(image + p) * dy.stride + c]);
        int h = p / s.width + dh, w = p % s.width + dw;
        if (tap == count)
            sum += g;
        else if (h >= 0 && h < s.height && w >= 0 && w < s.width)
            sum += g * to_float(x.data[(image + (int64_t)h * s.width + w) * x.stride + c]);
    }
    sum = add_rows<COLUMN_ROWS>(sum);
    if (threadIdx.y > 0 || c >= s.channels)
        return;
    if (tap == count)
        sums[(int64_t)blockIdx.z * s.channels + c] = sum;
    else
        taps[((int64_t)blockIdx.z * count + tap) * s.channels + c] = sum;
}

/* *to += x, or = x. */
static __device__ inline void put_sum(float *to, float x, bool overwrites)
{
    *to = overwrites ? x : *to + x;
}

/* dw += Σ taps and dbias += Σ sums (NULL: not wanted), or = (attributes.overwrites); dtime[b] = Σ of
 * image b's sums. One block per 32 columns of each. A single launch, because the last two are just a
 * few blocks that wait for memory. grid: (ceil(R·S·C/32) + ceil(C/32)·(1, or 1+B with dtime)) */
template <class T>
static __global__ void __launch_bounds__(32 * PARTIAL_ROWS)
    depthwise_weight_finish(const float *taps, const float *sums, int images, int chunks,
                            int64_t columns, int channels, float *dw, float *dbias,
                            struct plane<T> dtime, unsigned overwrites)
{
    int tap_tiles = (int)((columns + 31) / 32), tiles = (channels + 31) / 32;
    int block = (int)blockIdx.x, lane = (int)threadIdx.x;
    if (block < tap_tiles) {
        int64_t n = (int64_t)block * 32 + lane;
        float sum = add_partials(taps, images * chunks, columns, n);
        if (threadIdx.y == 0 && n < columns)
            put_sum(dw + n, sum, overwrites & 1u);
        return;
    }
    block -= tap_tiles;
    int c = block % tiles * 32 + lane, image = block / tiles - 1;
    if (image >= 0) {
        const float *from = sums + (int64_t)image * chunks * channels;
        float sum = add_partials(from, chunks, channels, c);
        if (threadIdx.y == 0 && c < channels)
            from_float(dtime.data + image * dtime.stride + c, sum);
    } else if (dbias) {
        float sum = add_partials(sums, images * chunks, channels, c);
        if (threadIdx.y == 0 && c < channels)
            put_sum(dbias + c, sum, overwrites & 2u);
    }
}

static bool weight_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *dy = &call->in[1];
    return ddpm_cuda_is_activation(x) && ddpm_cuda_takes(x, x->dtype) &&
           ddpm_cuda_takes(dy, x->dtype) && ddpm_tensor_same_shape(x, dy) && x->n <= 65535 &&
           ddpm_cuda_takes(&call->out[0], DDPM_F32) && ddpm_cuda_takes(&call->out[1], DDPM_F32) &&
           ddpm_cuda_takes(&call->out[2], x->dtype) && call->attributes.stride == 1;
}

static bool weight7_supports(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    return weight_supports(call) && a->kernel_h == TAPS && a->kernel_w == TAPS;
}

static bool is_tiled(const struct ddpm_call *call)
{
    return call->attributes.kernel_h == TAPS && call->attributes.kernel_w == TAPS;
}

static int rows_of(const struct ddpm_tensor *x)
{
    return x->dtype == DDPM_F32 ? tile_rows<float> : tile_rows<bf16>;
}

/* About a thousand blocks in total, so that the partial results stay small. */
static int chunk_count(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    if (!is_tiled(call))
        return 1;
    int64_t tiles = ddpm_ceil_div(x->h, rows_of(x)) * ddpm_ceil_div(x->w, TILE_W);
    int64_t most = ddpm_ceil_div(1024, x->n * ddpm_ceil_div(x->c, TILE_C));
    int64_t per_chunk = ddpm_ceil_div(tiles, tiles < most ? tiles : most);
    return (int)ddpm_ceil_div(tiles, per_chunk);
}

static struct weight_shape shape_of(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    const struct ddpm_tensor *both[] = {x, &call->in[1]};
    struct weight_shape s = {};
    s.height = (int)x->h;
    s.width = (int)x->w;
    s.channels = (int)x->c;
    s.tiles_w = (int)ddpm_ceil_div(x->w, TILE_W);
    s.tiles = (int)ddpm_ceil_div(x->h, rows_of(x)) * s.tiles_w;
    s.tiles_per_chunk = (int)ddpm_ceil_div(s.tiles, chunk_count(call));
    s.pad = call->attributes.padding;
    s.taps_w = call->attributes.kernel_w;
    s.vector = ddpm_cuda_vector(both, 2);
    return s;
}

static ddpm_status weight_prepare(struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    int64_t taps = (int64_t)call->attributes.kernel_h * call->attributes.kernel_w;
    call->scratch_bytes = (size_t)(x->n * chunk_count(call) * (taps + 1) * x->c) * sizeof(float);
    return DDPM_OK;
}

template <class T> static ddpm_status weight_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    struct weight_shape s = shape_of(call);
    int images = (int)x->n, parts = images * chunk_count(call);
    int64_t columns = (int64_t)call->attributes.kernel_h * call->attributes.kernel_w * x->c;
    float *taps = (float *)call->scratch, *sums = taps + parts * columns;
    struct plane<const T> from = ddpm_plane<const T>(x), dy = ddpm_plane<const T>(&call->in[1]);
    if (is_tiled(call)) {
        constexpr int rows = tile_rows<T>;
        size_t shared = ((rows + TAPS - 1) * BORDER_W + rows * TILE_W) * TILE_C * sizeof(T);
        dim3 grid((unsigned)chunk_count(call), (unsigned)ddpm_ceil_div(x->c, TILE_C),
                  (unsigned)images);
        DDPM_TRY(ddpm_cuda_launch(call, depthwise7_weight<T>, grid, dim3(TILE_THREADS), shared,
                                  from, dy, s, taps, sums));
    } else {
        dim3 grid((unsigned)ddpm_ceil_div(x->c, 32), (unsigned)(columns / x->c + 1),
                  (unsigned)images);
        DDPM_TRY(ddpm_cuda_launch(call, depthwise_weight<T>, grid, dim3(32, COLUMN_ROWS), 0, from,
                                  dy, s, taps, sums));
    }
    const struct ddpm_tensor *dbias = &call->out[1], *dtime = &call->out[2];
    int64_t sum_tiles = ddpm_ceil_div(x->c, 32) * (ddpm_tensor_present(dtime) ? 1 + x->n : 1);
    return ddpm_cuda_launch(call, depthwise_weight_finish<T>,
                            dim3((unsigned)(ddpm_ceil_div(columns, 32) + sum_tiles)),
                            dim3(32, PARTIAL_ROWS), 0, (const float *)taps, (const float *)sums,
                            images, parts / images, columns, (int)x->c,
                            (float *)call->out[0].data,
                            ddpm_tensor_present(dbias) ? (float *)dbias->data : NULL,
                            ddpm_plane<T>(dtime), call->attributes.overwrites);
}

static ddpm_status weight_run(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 ? weight_typed<float>(call) : weight_typed<bf16>(call);
}

const struct ddpm_kernel ddpm_cuda_depthwise7_backward_weight = {
    "depthwise_conv2d_7x7_backward_weight_cuda",
    weight7_supports,
    weight_prepare,
    NULL,
    weight_run,
    NULL};
const struct ddpm_kernel ddpm_cuda_depthwise_backward_weight = {
    "depthwise_conv2d_backward_weight_cuda",
    weight_supports,
    weight_prepare,
    NULL,
    weight_run,
    NULL};

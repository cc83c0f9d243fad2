/* Depthwise convolution forward and backward data, stride 1.
 *
 *     y[b,h,w,c] = bias[c] + time[b,c] + Σ_{r,s} w[r,s,c]·x[b,h+r-pad,w+s-pad,c]
 *
 * The gradient of x is the same sum over dy with reversed taps and pad' = R-1-pad, to which a
 * gradient that x already has may be added: that saves a separate pass over memory. The 7×7 kernel
 * of the networks works on tiles in shared memory: a warp computes one row of 16 pixels, whose sums
 * stay in registers while it reads the 22 inputs of each of seven rows. The statistics of y are
 * computed from these sums. Other sizes use a plain kernel, and another pass for the statistics. */
#include "kernels/cuda/depthwise.cuh"
#include "kernels/cuda/group_norm.cuh"
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/rows.cuh"

struct depthwise_shape {
    int height, width, channels, tiles_w, pad_h, pad_w;
    int taps_h, taps_w;
    bool turned, vector;
    bool fours; /* four weights at once */
    bool pairs; /* two channels of y and of the addend at once */
};

/* Moments of a lane's sums of one row: of the first `pixels` of them, with `channels` each. ALL: of
 * all of them, which is the common case and needs no comparisons. */
template <bool ALL>
static __device__ inline struct moments moments_of_sums(const float sum[TILE_W][2], int pixels,
                                                        int channels)
{
    float total = 0.0f, squares = 0.0f, count = ALL ? 2.0f * TILE_W : (float)(pixels * channels);
#pragma unroll
    for (int o = 0; o < TILE_W; ++o)
        for (int k = 0; k < 2; ++k)
            if (ALL || (o < pixels && k < channels))
                total += sum[o][k];
    float mean = ALL ? total * (0.5f / TILE_W) : total / fmaxf(count, 1.0f);
#pragma unroll
    for (int o = 0; o < TILE_W; ++o)
        for (int k = 0; k < 2; ++k)
            if (ALL || (o < pixels && k < channels))
                squares += (sum[o][k] - mean) * (sum[o][k] - mean);
    return {count, mean, squares};
}

/* A lane's sums += the addend at its pixels. All loads come before the first store: y may be the
 * addend, so the compiler must not move them. */
template <class T>
static __device__ inline void add_to_sums(float sum[TILE_W][2], struct plane<const T> addend,
                                          int64_t pixel, int c, int pixels, int channels,
                                          bool pairs)
{
    const T *from = addend.data + pixel * addend.stride + c;
    if (pairs && pixels == TILE_W && channels == 2) {
#pragma unroll
        for (int o = 0; o < TILE_W; ++o) {
            float v[2];
            load_pair(from + o * addend.stride, v);
            sum[o][0] += v[0];
            sum[o][1] += v[1];
        }
        return;
    }
#pragma unroll
    for (int o = 0; o < TILE_W; ++o)
        for (int k = 0; k < channels && o < pixels; ++k)
            sum[o][k] += to_float(from[o * addend.stride + k]);
}

/* The 49 weights of channels c0.., in the order of the sums; zeros beyond the last channel. Wait
 * for them as for fill_tile(). */
static __device__ inline void fill_weights(float *weights, const float *w,
                                           const struct depthwise_shape *s, int c0)
{
    const int wide = s->fours ? 4 : 1, per_tap = TILE_C / wide;
    int c = (int)threadIdx.x % per_tap * wide;
    for (int tap = (int)threadIdx.x / per_tap; tap < TAPS * TAPS; tap += TILE_THREADS / per_tap) {
        int turned = s->turned ? TAPS * TAPS - 1 - tap : tap;
        const float *from = w + turned * s->channels + c0 + c;
        float *to = weights + tap * TILE_C + c;
        if (s->fours)
            copy_async_cached(to, from, c0 + c < s->channels);
        else
            *to = c0 + c < s->channels ? *from : 0.0f;
    }
    copy_commit();
}

/* grid: (tiles, ceil(C/64), B); shared: the input tile, then the weights [49][64] in fp32.
 * partial: moments of every block's part of y, [B][ceil(C/64)][tiles], or NULL. */
template <class T>
static __global__ void __launch_bounds__(TILE_THREADS)
    depthwise7(struct plane<const T> x, const float *w, const float *bias,
               struct plane<const T> time, struct plane<const T> addend, struct plane<T> y,
               struct depthwise_shape s, struct moments *partial)
{
    __shared__ struct moments warps[TILE_THREADS / 32];
    T *tile = (T *)dynamic_shared();
    float *weights = (float *)(dynamic_shared() + BORDER_H * BORDER_W * TILE_C * sizeof(T));
    int c0 = (int)blockIdx.y * TILE_C, lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    int h0 = (int)blockIdx.x / s.tiles_w * TILE_H, w0 = (int)blockIdx.x % s.tiles_w * TILE_W;
    int64_t image = (int64_t)blockIdx.z * s.height * s.width;
    fill_tile(tile, x, image, s.height, s.width, s.channels, h0 - s.pad_h, w0 - s.pad_w, c0,
              BORDER_H, BORDER_W, s.vector);
    fill_weights(weights, w, &s, c0);
    copy_wait<0>();
    __syncthreads();
    int c = c0 + 2 * lane, here = min(2, s.channels - c);
    float start[2] = {0.0f, 0.0f}, sum[TILE_W][2];
    for (int k = 0; k < here; ++k) {
        if (bias)
            start[k] += bias[c + k];
        if (time.data)
            start[k] += to_float(time.data[blockIdx.z * time.stride + c + k]);
    }
#pragma unroll
    for (int o = 0; o < TILE_W; ++o)
        sum[o][0] = start[0], sum[o][1] = start[1];
    for (int r = 0; r < TAPS; ++r) {
        float tap[TAPS][2];
#pragma unroll
        for (int t = 0; t < TAPS; ++t)
            load_pair(weights + (r * TAPS + t) * TILE_C + 2 * lane, tap[t]);
        const T *row = tile + (warp + r) * BORDER_W * TILE_C + 2 * lane;
#pragma unroll
        for (int j = 0; j < BORDER_W; ++j) {
            float v[2];
            load_pair(row + j * TILE_C, v);
#pragma unroll
            for (int t = 0; t < TAPS; ++t) {
                if (j - t >= 0 && j - t < TILE_W) {
                    sum[j - t][0] += v[0] * tap[t][0];
                    sum[j - t][1] += v[1] * tap[t][1];
                }
            }
        }
    }
    int h = h0 + warp, pixels = h < s.height ? min(TILE_W, s.width - w0) : 0;
    int64_t pixel = image + (int64_t)h * s.width + w0;
    T *to = y.data + pixel * y.stride + c;
    if (addend.data)
        add_to_sums(sum, addend, pixel, c, pixels, here, s.pairs);
    bool all = pixels == TILE_W && here == 2;
    if (all && s.pairs) {
#pragma unroll
        for (int o = 0; o < TILE_W; ++o, to += y.stride)
            store_pair(to, sum[o]);
    } else {
#pragma unroll
        for (int o = 0; o < TILE_W; ++o)
            for (int k = 0; k < here && o < pixels; ++k)
                from_float(to + o * y.stride + k, sum[o][k]);
    }
    if (partial) {
        struct moments m = all ? moments_of_sums<true>(sum, pixels, here)
                               : moments_of_sums<false>(sum, pixels, max(here, 0));
        m = merge_block(m, warps);
        if (threadIdx.x == 0)
            partial[((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = m;
    }
}

/* Any size; one channel of one pixel per thread. */
template <class T> struct depthwise_map {
    struct plane<const T> x;
    const float *w, *bias;
    struct plane<const T> time, addend;
    struct plane<T> y;
    struct depthwise_shape s;
    __device__ void operator()(struct place at) const
    {
        int p = (int)at.p, w0 = p % s.width, row = p / s.width, h0 = row % s.height;
        int b = row / s.height, taps = s.taps_h * s.taps_w;
        float sum = bias ? bias[at.c] : 0.0f;
        if (time.data)
            sum += to_float(time.data[b * time.stride + at.c]);
        for (int tap = 0; tap < taps; ++tap) {
            int dh = tap / s.taps_w - s.pad_h, dw = tap % s.taps_w - s.pad_w;
            if (h0 + dh < 0 || h0 + dh >= s.height || w0 + dw < 0 || w0 + dw >= s.width)
                continue;
            int64_t from = at.p + (int64_t)dh * s.width + dw;
            sum += to_float(x.data[from * x.stride + at.c]) *
                   w[(int64_t)(s.turned ? taps - 1 - tap : tap) * s.channels + at.c];
        }
        if (addend.data)
            sum += to_float(addend.data[at.p * addend.stride + at.c]);
        from_float(y.data + at.p * y.stride + at.c, sum);
    }
};

static bool depthwise_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    bool forward = call->op == DDPM_OP_DEPTHWISE_CONV2D;
    return ddpm_cuda_is_activation(x) && ddpm_cuda_takes(x, x->dtype) &&
           ddpm_cuda_takes(y, x->dtype) && call->in[1].dtype == DDPM_F32 &&
           ddpm_tensor_same_shape(x, y) && call->attributes.stride == 1 &&
           (forward || ddpm_cuda_takes(&call->in[2], x->dtype)) &&
           (!forward ||
            (ddpm_cuda_takes(&call->in[2], DDPM_F32) && ddpm_cuda_takes(&call->in[3], x->dtype) &&
             (!ddpm_tensor_present(&call->out[1]) || (call->out[1].dtype == DDPM_F32 && x->n <= 65535))));
}

static bool depthwise7_supports(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    return depthwise_supports(call) && a->kernel_h == TAPS && a->kernel_w == TAPS &&
           call->in[0].n <= 65535;
}

static struct depthwise_shape shape_of(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    bool turned = call->op == DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA;
    const struct ddpm_tensor *stored[] = {y, &call->in[2]};
    struct depthwise_shape s = {};
    s.height = (int)x->h;
    s.width = (int)x->w;
    s.channels = (int)x->c;
    s.tiles_w = (int)ddpm_ceil_div(x->w, TILE_W);
    s.pad_h = turned ? a->kernel_h - 1 - a->padding : a->padding;
    s.pad_w = turned ? a->kernel_w - 1 - a->padding : a->padding;
    s.taps_h = a->kernel_h;
    s.taps_w = a->kernel_w;
    s.turned = turned;
    s.vector = ddpm_cuda_vector(&x, 1);
    s.pairs = ddpm_cuda_vector(stored, turned ? 2 : 1);
    s.fours = x->c % 4 == 0 && (uintptr_t)call->in[1].data % 16 == 0;
    return s;
}

static dim3 tiles_of(const struct ddpm_tensor *x)
{
    return dim3((unsigned)(ddpm_ceil_div(x->h, TILE_H) * ddpm_ceil_div(x->w, TILE_W)),
                (unsigned)ddpm_ceil_div(x->c, TILE_C), (unsigned)x->n);
}

static bool wants_statistics(const struct ddpm_call *call)
{
    return call->op == DDPM_OP_DEPTHWISE_CONV2D && ddpm_tensor_present(&call->out[1]);
}

template <class T> static ddpm_status depthwise_typed(const struct ddpm_call *call, bool tiled)
{
    const struct ddpm_tensor *x = &call->in[0];
    const bool statistics = wants_statistics(call);
    struct moments *partial = statistics ? (struct moments *)call->scratch : NULL;
    struct depthwise_shape s = shape_of(call);
    bool forward = !s.turned;
    const float *w = (const float *)call->in[1].data, *bias = NULL;
    struct plane<const T> time = {NULL, 0}, addend = {NULL, 0}, from = ddpm_plane<const T>(x);
    struct plane<T> to = ddpm_plane<T>(&call->out[0]);
    if (forward && ddpm_tensor_present(&call->in[2]))
        bias = (const float *)call->in[2].data;
    if (forward && ddpm_tensor_present(&call->in[3]))
        time = ddpm_plane<const T>(&call->in[3]);
    if (!forward && ddpm_tensor_present(&call->in[2]))
        addend = ddpm_plane<const T>(&call->in[2]);
    if (!tiled) {
        DDPM_TRY(ddpm_cuda_map(call, depthwise_map<T>{from, w, bias, time, addend, to, s},
                               ddpm_tensor_pixels(x), x->c, 1));
        return statistics ? ddpm_cuda_statistics(call, &call->out[0], call->scratch, &call->out[1])
                          : DDPM_OK;
    }
    size_t shared = BORDER_H * BORDER_W * TILE_C * sizeof(T) + TAPS * TAPS * TILE_C * sizeof(float);
    dim3 grid = tiles_of(x);
    DDPM_TRY(ddpm_cuda_launch(call, depthwise7<T>, grid, dim3(TILE_THREADS), shared, from, w, bias,
                              time, addend, to, s, partial));
    return statistics ? ddpm_cuda_finish_statistics(call, partial, (int64_t)grid.x * grid.y,
                                                    &call->out[1])
                      : DDPM_OK;
}

static ddpm_status depthwise_prepare(struct ddpm_call *call)
{
    if (wants_statistics(call))
        call->scratch_bytes = ddpm_cuda_statistics_bytes(&call->in[0]);
    return DDPM_OK;
}

static ddpm_status depthwise7_prepare(struct ddpm_call *call)
{
    dim3 grid = tiles_of(&call->in[0]);
    if (wants_statistics(call))
        call->scratch_bytes = (size_t)grid.x * grid.y * grid.z * sizeof(struct moments);
    return DDPM_OK;
}

static ddpm_status depthwise_run(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 ? depthwise_typed<float>(call, false)
                                         : depthwise_typed<bf16>(call, false);
}

static ddpm_status depthwise7_run(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 ? depthwise_typed<float>(call, true)
                                         : depthwise_typed<bf16>(call, true);
}

const struct ddpm_kernel ddpm_cuda_depthwise7 = {
    "depthwise_conv2d_7x7_cuda", depthwise7_supports, depthwise7_prepare, NULL, depthwise7_run, NULL};
const struct ddpm_kernel ddpm_cuda_depthwise7_backward_data = {
    "depthwise_conv2d_7x7_backward_data_cuda",
    depthwise7_supports,
    NULL,
    NULL,
    depthwise7_run,
    NULL};
const struct ddpm_kernel ddpm_cuda_depthwise = {
    "depthwise_conv2d_cuda", depthwise_supports, depthwise_prepare, NULL, depthwise_run, NULL};
const struct ddpm_kernel ddpm_cuda_depthwise_backward_data = {
    "depthwise_conv2d_backward_data_cuda", depthwise_supports, NULL, NULL, depthwise_run, NULL};

/* The geometry of a convolution as a matrix product with the im2col matrix, which is never stored.
 *
 * Forward and backward data are the same problem. Row m is a pixel of the result, column k =
 * (r,s,c) a tap and a channel of the source; the entry is the source element that this tap reads:
 *
 *     forward        source x,  h' = h·stride + r - pad
 *     backward data  source dy, h' = (h + r - pad') / dilate, if it divides; taps reversed,
 *                    pad' = R-1-pad, dilate = the stride of the forward convolution
 *
 * and the result is Σ_k entry(m,k)·weight(n,k). Backward weight has the same entries with the
 * pixels of dy as rows: dw[n][k] = Σ_m dy(m,n)·entry(m,k). */
#ifndef DDPM_KERNELS_CUDA_CONV_CUH
#define DDPM_KERNELS_CUDA_CONV_CUH

#include "kernels/cuda/numeric.cuh"

struct conv_shape {
    int out_h, out_w;         /* pixels of the rows */
    int in_h, in_w, channels; /* of the source */
    int taps_h, taps_w;       /* R, S */
    int stride, dilate;       /* one of them is 1 */
    int pad_h, pad_w;
    int rows, columns, depth; /* the product: rows × columns, over depth = R·S·channels */
    bool turned;              /* weights are read in reverse: backward data */
    int64_t pixel_stride;     /* of the source */
};

/* `image`: first pixel of the source's image. Without dilation, entry (row, tap) is at row.place +
 * tap.place: each half is computed when it changes, not for every pair. */
struct conv_row {
    int h, w;
    int64_t image, place;
};

struct conv_tap {
    int r, s, c;
    int64_t place;
};

/* The row of pixel (h, w) of image b of the result. */
static __device__ inline struct conv_row conv_row_at(const struct conv_shape *s, int b, int h,
                                                     int w)
{
    struct conv_row row = {h * s->stride - s->pad_h, w * s->stride - s->pad_w,
                           (int64_t)b * s->in_h * s->in_w, 0};
    row.place = (row.image + row.h * s->in_w + row.w) * s->pixel_stride;
    return row;
}

static __device__ inline struct conv_row conv_row_of(const struct conv_shape *s, int m)
{
    int row = m / s->out_w;
    return conv_row_at(s, row / s->out_h, row % s->out_h, m % s->out_w);
}

static __device__ inline void conv_tap_settle(const struct conv_shape *s, struct conv_tap *tap)
{
    tap->place = (tap->r * s->in_w + tap->s) * s->pixel_stride + tap->c;
}

static __device__ inline struct conv_tap conv_tap_of(const struct conv_shape *s, int k)
{
    int t = k / s->channels;
    struct conv_tap tap = {t / s->taps_w, t % s->taps_w, k % s->channels, 0};
    conv_tap_settle(s, &tap);
    return tap;
}

/* The tap `step` columns further on. */
static __device__ inline void conv_tap_advance(const struct conv_shape *s, struct conv_tap *tap,
                                               int step)
{
    tap->c += step;
    while (tap->c >= s->channels) {
        tap->c -= s->channels;
        if (++tap->s == s->taps_w) {
            tap->s = 0;
            ++tap->r;
        }
    }
    conv_tap_settle(s, tap);
}

/* Is (h, w) in the source's picture? */
static __device__ inline bool conv_inside(const struct conv_shape *s, int h, int w)
{
    return (unsigned)h < (unsigned)s->in_h && (unsigned)w < (unsigned)s->in_w;
}

/* Place of entry (row, tap) in the source, or -1 if it is zero. DILATED: dilation is possible; a
 * constant of the kernel, because a division takes a third of a step's instructions. */
template <bool DILATED>
static __device__ inline int64_t conv_place(const struct conv_shape *s, struct conv_row row,
                                            struct conv_tap tap)
{
    int h = row.h + tap.r, w = row.w + tap.s;
    if (DILATED && s->dilate != 1) {
        if (h < 0 || w < 0 || h % s->dilate || w % s->dilate)
            return -1;
        h /= s->dilate;
        w /= s->dilate;
    }
    if (!conv_inside(s, h, w))
        return -1;
    if (!DILATED)
        return row.place + tap.place;
    return (row.image + (int64_t)h * s->in_w + w) * s->pixel_stride + tap.c;
}

/* Place of the weight of result channel n and column k = tap in the masters [K,R,S,C]. */
static __device__ inline int64_t conv_weight_place(const struct conv_shape *s, int n,
                                                   struct conv_tap tap)
{
    if (!s->turned)
        return (int64_t)n * s->depth + (tap.r * s->taps_w + tap.s) * s->channels + tap.c;
    int taps = s->taps_h * s->taps_w;
    int64_t turned = taps - 1 - (tap.r * s->taps_w + tap.s);
    return (tap.c * taps + turned) * s->columns + n;
}

static inline struct conv_shape ddpm_conv_shape(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *source = &call->in[0], *result = &call->out[0];
    struct conv_shape s = {};
    if (call->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT)
        result = &call->in[1];
    s.turned = call->op == DDPM_OP_CONV2D_BACKWARD_DATA;
    s.out_h = (int)result->h;
    s.out_w = (int)result->w;
    s.in_h = (int)source->h;
    s.in_w = (int)source->w;
    s.channels = (int)source->c;
    s.taps_h = a->kernel_h;
    s.taps_w = a->kernel_w;
    s.stride = s.turned ? 1 : a->stride;
    s.dilate = s.turned ? a->stride : 1;
    s.pad_h = s.turned ? a->kernel_h - 1 - a->padding : a->padding;
    s.pad_w = s.turned ? a->kernel_w - 1 - a->padding : a->padding;
    s.rows = (int)ddpm_tensor_pixels(result);
    s.columns = (int)result->c;
    s.depth = s.taps_h * s.taps_w * s.channels;
    s.pixel_stride = source->pixel_stride;
    return s;
}

/* Do the counts of a convolution fit into the 32 bits that its kernels use? */
static inline bool ddpm_conv_fits(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const int64_t most = INT32_MAX / 2;
    int64_t widest = call->in[0].c > call->out[0].c ? call->in[0].c : call->out[0].c;
    return a->kernel_h > 0 && a->kernel_w > 0 && a->stride > 0 &&
           ddpm_tensor_pixels(&call->in[0]) < most && ddpm_tensor_pixels(&call->in[1]) < most &&
           ddpm_tensor_pixels(&call->out[0]) < most && a->kernel_h * a->kernel_w * widest < most;
}

/* What the last step of forward adds; absent parts have no data. */
template <class T> struct conv_epilogue {
    const float *bias;
    struct plane<const T> residual;
    struct plane<T> y;
};

template <class T>
static inline struct conv_epilogue<T> ddpm_conv_epilogue(const struct ddpm_call *call) {
    struct conv_epilogue<T> e = {
        NULL, {NULL, 0}, ddpm_plane<T>(&call->out[0])
    };
    if (call->op != DDPM_OP_CONV2D)
        return e;
    if (ddpm_tensor_present(&call->in[2]))
        e.bias = (const float *)call->in[2].data;
    if (ddpm_tensor_present(&call->in[3]))
        e.residual = ddpm_plane<const T>(&call->in[3]);
    return e;
}

template <class T>
static __device__ inline void conv_finish(const struct conv_epilogue<T> *e, int m, int n, float sum)
{
    if (e->bias)
        sum += e->bias[n];
    if (e->residual.data)
        sum += to_float(e->residual.data[m * e->residual.stride + n]);
    from_float(e->y.data + m * e->y.stride + n, sum);
}

#endif

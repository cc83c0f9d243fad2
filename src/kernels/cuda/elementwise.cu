/* Kernels that compute each element on its own: activation, add, add_channels, convert; the
 * timestep embedding; and sum_pixels, the gradient of add_channels. The formulas are in
 * kernels/ops.inc. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/rows.cuh"

/* All activations of the call, in and out, have the type of output 0. */
static bool same_types(const struct ddpm_call *call)
{
    enum ddpm_dtype dtype = call->out[0].dtype;
    bool ok = ddpm_cuda_is_activation(&call->out[0]) && ddpm_cuda_takes(&call->out[0], dtype);
    for (int i = 0; i < ddpm_op_info[call->op].inputs; ++i)
        ok = ok && ddpm_cuda_takes(&call->in[i], dtype);
    return ok;
}

/* ---- y = f(x) ---- */

template <class T, int V, enum ddpm_activation F> struct activation_map {
    struct plane<T> x, y;
    __device__ void operator()(struct place at) const
    {
        float v[V];
        load<V>(x.data + at.p * x.stride + at.c, v);
        for (int i = 0; i < V; ++i)
            v[i] = activate<F, T>(v[i]);
        store<V>(y.data + at.p * y.stride + at.c, v);
    }
};

template <class T, int V, enum ddpm_activation F>
static ddpm_status activation_of(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    struct activation_map<T, V, F> f = {ddpm_plane<T>(&call->in[0]), ddpm_plane<T>(y)};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, V);
}

template <class T, int V> static ddpm_status activation_typed(const struct ddpm_call *call)
{
    DDPM_BY_ACTIVATION(activation_of, call, T, V);
}

/* ---- dx = f'(x)·dy ---- */

template <class T, int V, enum ddpm_activation F> struct activation_backward_map {
    struct plane<T> x, dy, dx;
    __device__ void operator()(struct place at) const
    {
        float a[V], b[V];
        load<V>(x.data + at.p * x.stride + at.c, a);
        load<V>(dy.data + at.p * dy.stride + at.c, b);
        for (int i = 0; i < V; ++i) {
            float slope;
            activate_with_slope<F, T>(a[i], &slope);
            b[i] *= slope;
        }
        store<V>(dx.data + at.p * dx.stride + at.c, b);
    }
};

template <class T, int V, enum ddpm_activation F>
static ddpm_status activation_backward_of(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dx = &call->out[0];
    struct activation_backward_map<T, V, F> f = {ddpm_plane<T>(&call->in[0]),
                                                 ddpm_plane<T>(&call->in[1]), ddpm_plane<T>(dx)};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(dx), dx->c, V);
}

template <class T, int V> static ddpm_status activation_backward_typed(const struct ddpm_call *call)
{
    DDPM_BY_ACTIVATION(activation_backward_of, call, T, V);
}

/* ---- y = a + b; with `pixels` > 0 b is one vector per image of that many pixels ---- */

template <class T, int V> struct add_map {
    struct plane<T> a, b, y;
    int pixels;
    __device__ void operator()(struct place at) const
    {
        float s[V], t[V];
        int64_t p = pixels ? (int64_t)((unsigned)at.p / (unsigned)pixels) : at.p;
        load<V>(a.data + at.p * a.stride + at.c, s);
        load<V>(b.data + p * b.stride + at.c, t);
        for (int i = 0; i < V; ++i)
            s[i] += t[i];
        store<V>(y.data + at.p * y.stride + at.c, s);
    }
};

template <class T, int V> static ddpm_status add_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    int pixels = call->op == DDPM_OP_ADD_CHANNELS ? (int)(y->h * y->w) : 0;
    struct add_map<T, V> f = {
        ddpm_plane<T>(&call->in[0]), ddpm_plane<T>(&call->in[1]), ddpm_plane<T>(y), pixels
    };
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, V);
}

/* ---- y = x in a different type ---- */

template <class T, class D, int V> struct convert_map {
    struct plane<T> x;
    struct plane<D> y;
    __device__ void operator()(struct place at) const
    {
        float v[V];
        load<V>(x.data + at.p * x.stride + at.c, v);
        store<V>(y.data + at.p * y.stride + at.c, v);
    }
};

static bool convert_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    return ddpm_cuda_is_activation(x) && ddpm_cuda_is_activation(y) &&
           ddpm_cuda_takes(x, x->dtype) && ddpm_cuda_takes(y, y->dtype);
}

template <class T, class D> static ddpm_status convert_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *both[] = {&call->in[0], &call->out[0]};
    struct plane<T> x = ddpm_plane<T>(both[0]);
    struct plane<D> y = ddpm_plane<D>(both[1]);
    int64_t pixels = ddpm_tensor_pixels(both[1]), channels = both[1]->c;
    if (ddpm_cuda_vector(both, 2))
        return ddpm_cuda_map(call, convert_map<T, D, 8>{x, y}, pixels, channels, 8);
    return ddpm_cuda_map(call, convert_map<T, D, 1>{x, y}, pixels, channels, 1);
}

static ddpm_status convert_run(const struct ddpm_call *call)
{
    bool x32 = call->in[0].dtype == DDPM_F32, y32 = call->out[0].dtype == DDPM_F32;
    if (x32)
        return y32 ? convert_typed<float, float>(call) : convert_typed<float, bf16>(call);
    return y32 ? convert_typed<bf16, float>(call) : convert_typed<bf16, bf16>(call);
}

/* ---- which of the four instances ---- */

#define DISPATCH(function)                                                                         \
    static ddpm_status function##_run(const struct ddpm_call *call)                                \
    {                                                                                              \
        const struct ddpm_tensor *all[] = {&call->in[0], &call->in[1], &call->out[0]};             \
        bool vector = ddpm_cuda_vector(all, 3);                                                    \
        if (call->out[0].dtype == DDPM_F32)                                                        \
            return vector ? function##_typed<float, 8>(call) : function##_typed<float, 1>(call);   \
        return vector ? function##_typed<bf16, 8>(call) : function##_typed<bf16, 1>(call);         \
    }

DISPATCH(activation)
DISPATCH(activation_backward)
DISPATCH(add)

/* ---- timestep embedding ---- */

/* out[b][i] = sin(t_b·f_i), out[b][F/2+i] = cos(t_b·f_i). One thread per (b, i). The frequency is
 * computed in fp64 and rounded to fp32, like the CPU's table. The angle reaches a thousand radians,
 * so sine and cosine are the precise ones, of the fp64 product. */
template <class L, class T>
static __global__ void embed(struct plane<L> t, struct plane<T> out, int images, int half,
                             double theta)
{
    int i = (int)(blockIdx.x * MAP_THREADS + threadIdx.x);
    if (i >= images * half)
        return;
    int b = i / half, k = i % half;
    double frequency = exp(-k * log(theta) / (half - 1));
    double angle = (double)t.data[b * t.stride] * frequency;
    from_float(out.data + b * out.stride + k, (float)sin(angle));
    from_float(out.data + b * out.stride + half + k, (float)cos(angle));
}

static bool embedding_supports(const struct ddpm_call *call)
{
    return (call->in[0].dtype == DDPM_I32 || call->in[0].dtype == DDPM_F32) &&
           ddpm_cuda_is_activation(&call->out[0]);
}

template <class L, class T> static ddpm_status embedding_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *out = &call->out[0];
    int images = (int)out->n, half = (int)(out->c / 2);
    dim3 grid((unsigned)ddpm_ceil_div((int64_t)images * half, MAP_THREADS));
    return ddpm_cuda_launch(call, embed<L, T>, grid, dim3(MAP_THREADS), 0,
                            ddpm_plane<L>(&call->in[0]), ddpm_plane<T>(out), images, half,
                            call->attributes.theta);
}

static ddpm_status embedding_run(const struct ddpm_call *call)
{
    if (call->in[0].dtype == DDPM_F32)
        return call->out[0].dtype == DDPM_F32 ? embedding_typed<float, float>(call)
                                              : embedding_typed<float, bf16>(call);
    return call->out[0].dtype == DDPM_F32 ? embedding_typed<int32_t, float>(call)
                                          : embedding_typed<int32_t, bf16>(call);
}

/* ---- sum_pixels ---- */

static bool sum_pixels_supports(const struct ddpm_call *call)
{
    return same_types(call) && call->in[0].n <= 65535;
}

static ddpm_status sum_pixels_prepare(struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0];
    call->scratch_bytes = ddpm_cuda_column_sum_bytes(x, (int)x->n);
    return DDPM_OK;
}

static ddpm_status sum_pixels_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    float *partial = (float *)call->scratch;
    DDPM_TRY(ddpm_cuda_column_sum_partial(call, x, (int)x->n, partial));
    int chunks = ddpm_cuda_column_chunks(x, (int)x->n);
    if (y->dtype == DDPM_F32)
        return ddpm_cuda_sum_partials(call, partial, chunks, y->c, (int)y->n, ddpm_plane<float>(y),
                                      false);
    return ddpm_cuda_sum_partials(call, partial, chunks, y->c, (int)y->n, ddpm_plane<bf16>(y),
                                  false);
}

static const struct ddpm_kernel activation_kernel = {"activation_cuda", same_types, NULL, NULL,
                                                 activation_run,    NULL};
CUDA_KERNELS_OF(activation, &activation_kernel);
static const struct ddpm_kernel activation_backward_kernel = {
    "activation_backward_cuda", same_types, NULL, NULL, activation_backward_run, NULL};
CUDA_KERNELS_OF(activation_backward, &activation_backward_kernel);
static const struct ddpm_kernel add_kernel = {"add_cuda", same_types, NULL, NULL, add_run, NULL};
CUDA_KERNELS_OF(add, &add_kernel);
static const struct ddpm_kernel add_channels_kernel = {
    "add_channels_cuda", same_types, NULL, NULL, add_run, NULL};
CUDA_KERNELS_OF(add_channels, &add_channels_kernel);
static const struct ddpm_kernel sum_pixels_kernel = {
    "sum_pixels_cuda", sum_pixels_supports, sum_pixels_prepare, NULL, sum_pixels_run, NULL};
CUDA_KERNELS_OF(sum_pixels, &sum_pixels_kernel);
static const struct ddpm_kernel convert_kernel = {"convert_cuda", convert_supports, NULL,
                                              NULL,           convert_run,      NULL};
CUDA_KERNELS_OF(convert, &convert_kernel);
static const struct ddpm_kernel timestep_embedding_kernel = {
    "timestep_embedding_cuda", embedding_supports, NULL, NULL, embedding_run, NULL};
CUDA_KERNELS_OF(timestep_embedding, &timestep_embedding_kernel);

/* Kernels that move or scale whole pixels: concat, upsample, scale_pixels and their gradients. The
 * formulas are in kernels/ops.inc. */
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/rows.cuh"

static bool same_types(const struct ddpm_call *call)
{
    enum ddpm_dtype dtype = call->out[0].dtype;
    bool ok = ddpm_cuda_is_activation(&call->out[0]);
    for (int i = 0; i < ddpm_op_info[call->op].inputs; ++i)
        ok = ok && ddpm_cuda_takes(&call->in[i], dtype);
    for (int o = 0; o < ddpm_op_info[call->op].outputs; ++o)
        ok = ok && ddpm_cuda_takes(&call->out[o], dtype);
    return ok;
}

/* ---- concat: each input is copied to its channels ---- */

template <class T, int V> struct copy_map {
    struct plane<T> x, y;
    __device__ void operator()(struct place at) const
    {
        float v[V];
        load<V>(x.data + at.p * x.stride + at.c, v);
        store<V>(y.data + at.p * y.stride + at.c, v);
    }
};

template <class T>
static ddpm_status copy_pixels(const struct ddpm_call *call, const struct ddpm_tensor *x,
                               const struct ddpm_tensor *y)
{
    if (x->data == y->data)
        return DDPM_OK;
    const struct ddpm_tensor *all[] = {x, y};
    if (ddpm_cuda_vector(all, 2))
        return ddpm_cuda_map(call, copy_map<T, 8>{ddpm_plane<T>(x), ddpm_plane<T>(y)},
                             ddpm_tensor_pixels(x), x->c, 8);
    return ddpm_cuda_map(call, copy_map<T, 1>{ddpm_plane<T>(x), ddpm_plane<T>(y)},
                         ddpm_tensor_pixels(x), x->c, 1);
}

static ddpm_status concat_run(const struct ddpm_call *call)
{
    struct ddpm_tensor part = call->out[0];
    for (int i = 0; i < 2; ++i) {
        const struct ddpm_tensor *x = &call->in[i];
        part.c = x->c;
        if (x->dtype == DDPM_F32)
            DDPM_TRY(copy_pixels<float>(call, x, &part));
        else
            DDPM_TRY(copy_pixels<bf16>(call, x, &part));
        part.data = (char *)part.data + (size_t)x->c * ddpm_dtype_size(x->dtype);
    }
    return DDPM_OK;
}

/* ---- upsample: y[b,h,w] = x[b,h/2,w/2] ---- */

template <class T, int V> struct upsample_map {
    struct plane<T> x, y;
    unsigned height, width; /* of y */
    __device__ void operator()(struct place at) const
    {
        unsigned p = (unsigned)at.p, w = p % width, row = p / width, h = row % height;
        unsigned b = row / height;
        int64_t from = ((int64_t)b * (height / 2) + h / 2) * (width / 2) + w / 2;
        float v[V];
        load<V>(x.data + from * x.stride + at.c, v);
        store<V>(y.data + at.p * y.stride + at.c, v);
    }
};

template <class T, int V> static ddpm_status upsample_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    struct upsample_map<T, V> f = {
        ddpm_plane<T>(&call->in[0]), ddpm_plane<T>(y), (unsigned)y->h, (unsigned)y->w
    };
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, V);
}

/* ---- its gradient: dx[b,h,w] = Σ dy[b,2h+i,2w+j] ---- */

template <class T, int V> struct upsample_backward_map {
    struct plane<T> dy, dx;
    unsigned width; /* of dx */
    __device__ void operator()(struct place at) const
    {
        unsigned p = (unsigned)at.p, w = p % width, row = p / width;
        float sum[V];
        for (int i = 0; i < V; ++i)
            sum[i] = 0.0f;
        for (int k = 0; k < 4; ++k) {
            int64_t from = (2 * (int64_t)row + k / 2) * (2 * width) + 2 * w + k % 2;
            float v[V];
            load<V>(dy.data + from * dy.stride + at.c, v);
            for (int i = 0; i < V; ++i)
                sum[i] += v[i];
        }
        store<V>(dx.data + at.p * dx.stride + at.c, sum);
    }
};

template <class T, int V> static ddpm_status upsample_backward_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dx = &call->out[0];
    struct upsample_backward_map<T, V> f = {
        ddpm_plane<T>(&call->in[0]), ddpm_plane<T>(dx), (unsigned)dx->w
    };
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(dx), dx->c, V);
}

/* ---- y = a·x, one factor a per pixel ---- */

template <class T, int V> struct scale_map {
    struct plane<T> a, x, y;
    __device__ void operator()(struct place at) const
    {
        float factor = to_float(a.data[at.p * a.stride]), v[V];
        load<V>(x.data + at.p * x.stride + at.c, v);
        for (int i = 0; i < V; ++i)
            v[i] *= factor;
        store<V>(y.data + at.p * y.stride + at.c, v);
    }
};

template <class T, int V> static ddpm_status scale_pixels_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    struct scale_map<T, V> f = {
        ddpm_plane<T>(&call->in[0]), ddpm_plane<T>(&call->in[1]), ddpm_plane<T>(y)
    };
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, V);
}

/* Which instance: by element type, and by whether all wide tensors can be read in vectors. */
#define DISPATCH(function, first_input)                                                            \
    static ddpm_status function##_run(const struct ddpm_call *call)                                \
    {                                                                                              \
        const struct ddpm_tensor *all[] = {&call->in[first_input], &call->out[0]};                 \
        bool vector = ddpm_cuda_vector(all, 2);                                                    \
        if (call->out[0].dtype == DDPM_F32)                                                        \
            return vector ? function##_typed<float, 8>(call) : function##_typed<float, 1>(call);   \
        return vector ? function##_typed<bf16, 8>(call) : function##_typed<bf16, 1>(call);         \
    }

DISPATCH(upsample, 0)
DISPATCH(upsample_backward, 0)
DISPATCH(scale_pixels, 1)

/* ---- its gradient: dx = a·dy, da = Σ_c x·dy. One warp per pixel; dx may be dy ---- */

#define SCALE_WARPS 8

template <class T, int V>
static __global__ void __launch_bounds__(32 * SCALE_WARPS)
    scale_pixels_backward(struct plane<T> a, struct plane<T> x, struct plane<T> dy,
                          struct plane<T> dx, struct plane<T> da, int pixels, int channels)
{
    int p = (int)(blockIdx.x * SCALE_WARPS + threadIdx.x / 32), lane = (int)threadIdx.x % 32;
    if (p >= pixels)
        return;
    float factor = to_float(a.data[p * a.stride]), sum = 0.0f;
    for (int c = lane * V; c < channels; c += 32 * V) {
        float u[V], g[V];
        load<V>(x.data + p * x.stride + c, u);
        load<V>(dy.data + p * dy.stride + c, g);
        for (int i = 0; i < V; ++i) {
            sum += u[i] * g[i];
            g[i] *= factor;
        }
        store<V>(dx.data + p * dx.stride + c, g);
    }
    sum = warp_sum(sum);
    if (lane == 0)
        from_float(da.data + p * da.stride, sum);
}

template <class T> static ddpm_status scale_pixels_backward_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[1], *dy = &call->in[2], *dx = &call->out[0];
    const struct ddpm_tensor *all[] = {x, dy, dx};
    int pixels = (int)ddpm_tensor_pixels(x);
    auto kernel =
        ddpm_cuda_vector(all, 3) ? scale_pixels_backward<T, 8> : scale_pixels_backward<T, 1>;
    return ddpm_cuda_launch(call, kernel, dim3((unsigned)ddpm_ceil_div(pixels, SCALE_WARPS)),
                            dim3(32 * SCALE_WARPS), 0, ddpm_plane<T>(&call->in[0]),
                            ddpm_plane<T>(x), ddpm_plane<T>(dy), ddpm_plane<T>(dx),
                            ddpm_plane<T>(&call->out[1]), pixels, (int)x->c);
}

static ddpm_status scale_pixels_backward_run(const struct ddpm_call *call)
{
    return call->out[0].dtype == DDPM_F32 ? scale_pixels_backward_typed<float>(call)
                                          : scale_pixels_backward_typed<bf16>(call);
}

static const struct ddpm_kernel concat_kernel = {"concat_cuda", same_types, NULL,
                                             NULL,          concat_run, NULL};
CUDA_KERNELS_OF(concat, &concat_kernel);
static const struct ddpm_kernel upsample_kernel = {"upsample_cuda", same_types, NULL, NULL,
                                               upsample_run,    NULL};
CUDA_KERNELS_OF(upsample, &upsample_kernel);
static const struct ddpm_kernel upsample_backward_kernel = {
    "upsample_backward_cuda", same_types, NULL, NULL, upsample_backward_run, NULL};
CUDA_KERNELS_OF(upsample_backward, &upsample_backward_kernel);
static const struct ddpm_kernel scale_pixels_kernel = {"scale_pixels_cuda", same_types, NULL, NULL,
                                                   scale_pixels_run,    NULL};
CUDA_KERNELS_OF(scale_pixels, &scale_pixels_kernel);
static const struct ddpm_kernel scale_pixels_backward_kernel = {
    "scale_pixels_backward_cuda", same_types, NULL, NULL, scale_pixels_backward_run, NULL};
CUDA_KERNELS_OF(scale_pixels_backward, &scale_pixels_backward_kernel);

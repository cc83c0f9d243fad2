/* The loss per image, in two steps so that many blocks share an image, and its gradient. The
 * formulas are in kernels/ops.inc; the prediction may be bf16 or fp32, the noise is fp32. */
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/rows.cuh"

#define LOSS_THREADS 256
#define LOSS_CHUNK 4096 /* elements per block */

/* partial[b][z] = Σ (p-ε)² or |p-ε| over chunk z of image b, in fp64. grid: (chunks, B) */
template <class T>
static __global__ void __launch_bounds__(LOSS_THREADS)
    loss_partial(struct plane<T> p, struct plane<float> noise, unsigned elements, unsigned channels,
                 unsigned image_pixels, enum ddpm_loss loss, double *partial)
{
    __shared__ double warps[LOSS_THREADS / 32];
    double sum = 0.0;
    unsigned begin = blockIdx.x * LOSS_CHUNK, end = min(begin + LOSS_CHUNK, elements);
    for (unsigned i = begin + threadIdx.x; i < end; i += LOSS_THREADS) {
        unsigned pixel = i / channels, c = i - pixel * channels;
        int64_t at = (int64_t)blockIdx.y * image_pixels + pixel;
        float difference = to_float(p.data[at * p.stride + c]) - noise.data[at * noise.stride + c];
        sum += loss == DDPM_LOSS_L2 ? (double)difference * difference : (double)fabsf(difference);
    }
    sum = block_sum(sum, warps, (int)threadIdx.x, LOSS_THREADS / 32);
    if (threadIdx.x == 0)
        partial[(int64_t)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

/* loss[b] = weight[b] · Σ_z partial[b][z] / elements. One thread per image. */
static __global__ void loss_finish(const double *partial, int chunks, double elements, int images,
                                   struct plane<float> weight, struct plane<float> loss)
{
    int b = (int)(blockIdx.x * MAP_THREADS + threadIdx.x);
    if (b >= images)
        return;
    double sum = 0.0;
    for (int z = 0; z < chunks; ++z)
        sum += partial[(int64_t)b * chunks + z];
    double mean = sum / elements;
    loss.data[b * loss.stride] =
        (float)(weight.data ? mean * weight.data[b * weight.stride] : mean);
}

/* Without data if the call has no weights. */
static struct plane<float> weight_of(const struct ddpm_call *call)
{
    const struct ddpm_tensor *weight = &call->in[2];
    return {ddpm_tensor_present(weight) ? (float *)weight->data : NULL, weight->pixel_stride};
}

static int chunk_count(const struct ddpm_tensor *p)
{
    return (int)ddpm_ceil_div(p->h * p->w * p->c, LOSS_CHUNK);
}

static bool loss_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *p = &call->in[0];
    return ddpm_cuda_is_activation(p) && ddpm_cuda_takes(&call->in[1], DDPM_F32) &&
           ddpm_cuda_takes(&call->in[2], DDPM_F32) && p->n <= 65535 &&
           p->h * p->w * p->c <= INT32_MAX - LOSS_CHUNK && ddpm_cuda_is_activation(&call->out[0]) &&
           (call->op == DDPM_OP_LOSS_BACKWARD || call->out[0].dtype == DDPM_F32);
}

static ddpm_status loss_prepare(struct ddpm_call *call)
{
    const struct ddpm_tensor *p = &call->in[0];
    call->scratch_bytes = (size_t)(p->n * chunk_count(p)) * sizeof(double);
    return DDPM_OK;
}

template <class T> static ddpm_status loss_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *p = &call->in[0];
    return ddpm_cuda_launch(
        call, loss_partial<T>, dim3((unsigned)chunk_count(p), (unsigned)p->n), dim3(LOSS_THREADS),
        0, ddpm_plane<T>(p), ddpm_plane<float>(&call->in[1]), (unsigned)(p->h * p->w * p->c),
        (unsigned)p->c, (unsigned)(p->h * p->w), call->attributes.loss, (double *)call->scratch);
}

static ddpm_status loss_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *p = &call->in[0];
    if (p->dtype == DDPM_F32)
        DDPM_TRY(loss_typed<float>(call));
    else
        DDPM_TRY(loss_typed<bf16>(call));
    return ddpm_cuda_launch(call, loss_finish, dim3((unsigned)ddpm_ceil_div(p->n, MAP_THREADS)),
                            dim3(MAP_THREADS), 0, (const double *)call->scratch, chunk_count(p),
                            (double)(p->h * p->w * p->c), (int)p->n, weight_of(call),
                            ddpm_plane<float>(&call->out[0]));
}

/* dp = weight[b]·scale/(B·H·W·C) · 2(p-ε) (l2) or sign(p-ε) (l1) */
template <class T, class D> struct loss_backward_map {
    struct plane<T> p;
    struct plane<float> noise, weight;
    struct plane<D> dp;
    unsigned image_pixels;
    float scale;
    enum ddpm_loss loss;
    __device__ void operator()(struct place at) const
    {
        float difference =
            to_float(p.data[at.p * p.stride + at.c]) - noise.data[at.p * noise.stride + at.c];
        float slope = 2.0f * difference;
        if (loss == DDPM_LOSS_L1) /* NaN stays NaN */
            slope = difference > 0.0f ? 1.0f : difference < 0.0f ? -1.0f : difference;
        float factor = scale;
        if (weight.data)
            factor *= weight.data[(int64_t)((unsigned)at.p / image_pixels) * weight.stride];
        from_float(dp.data + at.p * dp.stride + at.c, factor * slope);
    }
};

template <class T, class D> static ddpm_status loss_backward_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dp = &call->out[0];
    float scale = (float)((double)call->attributes.scale / (double)ddpm_tensor_count(dp));
    struct loss_backward_map<T, D> f = {
        ddpm_plane<T>(&call->in[0]), ddpm_plane<float>(&call->in[1]), weight_of(call),
            ddpm_plane<D>(dp), (unsigned)(dp->h * dp->w), scale, call->attributes.loss
    };
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(dp), dp->c, 1);
}

static ddpm_status loss_backward_run(const struct ddpm_call *call)
{
    if (call->in[0].dtype == DDPM_F32)
        return call->out[0].dtype == DDPM_F32 ? loss_backward_typed<float, float>(call)
                                              : loss_backward_typed<float, bf16>(call);
    return call->out[0].dtype == DDPM_F32 ? loss_backward_typed<bf16, float>(call)
                                          : loss_backward_typed<bf16, bf16>(call);
}

static const struct ddpm_kernel loss_kernel = {"loss_cuda", loss_supports, loss_prepare,
                                           NULL,        loss_run,      NULL};
CUDA_KERNELS_OF(loss, &loss_kernel);
static const struct ddpm_kernel loss_backward_kernel = {"loss_backward_cuda", loss_supports, NULL, NULL,
                                                    loss_backward_run,    NULL};
CUDA_KERNELS_OF(loss_backward, &loss_backward_kernel);

/* One thread per image. In fp64: r - eps cancels. */
static __global__ void pseudo_huber(struct plane<float> m, struct plane<float> rows, double eps,
                                    double scale, int images, struct plane<float> loss,
                                    struct plane<float> slopes)
{
    int b = (int)(blockIdx.x * MAP_THREADS + threadIdx.x);
    if (b >= images)
        return;
    const float *row = rows.data + b * rows.stride;
    double root = sqrt((double)m.data[b * m.stride] + eps * eps);
    float slope = (float)((double)row[1] * (double)row[0] * scale / root);
    loss.data[b * loss.stride] = (float)((double)row[1] * (root - eps));
    slopes.data[b * slopes.stride] = slope;
    slopes.data[b * slopes.stride + 1] = -slope;
}

static bool pseudo_huber_supports(const struct ddpm_call *call)
{
    return ddpm_cuda_takes(&call->in[0], DDPM_F32) && ddpm_cuda_takes(&call->in[1], DDPM_F32) &&
           ddpm_cuda_takes(&call->out[0], DDPM_F32) && ddpm_cuda_takes(&call->out[1], DDPM_F32);
}

static ddpm_status pseudo_huber_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *m = &call->in[0];
    return ddpm_cuda_launch(
        call, pseudo_huber, dim3((unsigned)ddpm_ceil_div(m->n, MAP_THREADS)), dim3(MAP_THREADS), 0,
        ddpm_plane<float>(m), ddpm_plane<float>(&call->in[1]), (double)call->attributes.eps,
        (double)call->attributes.scale / (double)m->n, (int)m->n, ddpm_plane<float>(&call->out[0]),
        ddpm_plane<float>(&call->out[1]));
}

static const struct ddpm_kernel pseudo_huber_kernel = {
    "pseudo_huber_cuda", pseudo_huber_supports, NULL, NULL, pseudo_huber_run, NULL};
CUDA_KERNELS_OF(pseudo_huber, &pseudo_huber_kernel);

/* One thread per image. In fp64: 1 - loss·e^-u cancels. */
static __global__ void uncertainty(struct plane<float> loss, struct plane<float> u, double scale,
                                   int images, struct plane<float> weight,
                                   struct plane<float> slopes)
{
    int b = (int)(blockIdx.x * MAP_THREADS + threadIdx.x);
    if (b >= images)
        return;
    double factor = exp(-(double)u.data[b * u.stride]);
    weight.data[b * weight.stride] = (float)factor;
    slopes.data[b * slopes.stride] =
        (float)(scale * (1 - (double)loss.data[b * loss.stride] * factor));
}

static ddpm_status uncertainty_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *loss = &call->in[0];
    return ddpm_cuda_launch(call, uncertainty, dim3((unsigned)ddpm_ceil_div(loss->n, MAP_THREADS)),
                            dim3(MAP_THREADS), 0, ddpm_plane<float>(loss),
                            ddpm_plane<float>(&call->in[1]),
                            (double)call->attributes.scale / (double)loss->n, (int)loss->n,
                            ddpm_plane<float>(&call->out[0]), ddpm_plane<float>(&call->out[1]));
}

static const struct ddpm_kernel uncertainty_kernel = {
    "uncertainty_cuda", pseudo_huber_supports, NULL, NULL, uncertainty_run, NULL};
CUDA_KERNELS_OF(uncertainty, &uncertainty_kernel);

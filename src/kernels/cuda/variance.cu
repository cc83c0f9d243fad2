/* A learned variance: the variational term of its loss, in two steps like the loss, the gradient of
 * that term, and noise. The formulas are in kernels/ops.inc.
 *
 * In fp64, because differences of probabilities cancel, and a picture has few elements compared
 * with a network. */
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/rows.cuh"

#define TERM_THREADS 256
#define TERM_CHUNK 4096 /* elements per block */
#define LN2 0.69314718055994530942
#define TWO_ROOTS 1.59576912160573071176 /* 2·√(2/π) */
#define SMALLEST 1e-12                   /* of a probability */

/* ln variance of the value v. */
static __device__ inline double log_variance(const float *row, float v)
{
    double lowest = row[DDPM_VARIANCE_LOWEST];
    return lowest + ((double)v + 1.0) / 2.0 * ((double)row[DDPM_VARIANCE_HIGHEST] - lowest);
}

/* x·e^e, but 0 for x = 0, however large the other factor. */
static __device__ inline double times_exp(double x, double e)
{
    return x == 0.0 ? 0.0 : x * exp(e);
}

/* Φ(u) = 1/(1 + e^-logit(u)) */
static __device__ inline double logit(double u)
{
    return TWO_ROOTS * (u + 0.044715 * u * u * u);
}

static __device__ inline double logistic(double w)
{
    return 1.0 / (1.0 + exp(-w));
}

/* u·Φ'(u), 0 where Φ is 0 or 1. */
static __device__ inline double slope(double u)
{
    double w = logit(u), product = logistic(w) * logistic(-w);
    return product > 0.0 ? product * TWO_ROOTS * (1.0 + 0.134145 * u * u) * u : product;
}

/* -ln of the probability of the value x, whose mean is off by d, and its derivative with respect to
 * l. */
static __device__ inline double decoder(double l, double d, float x, double *by_l)
{
    double s = exp(-l / 2.0), above = s * (d + 1.0 / 255.0), below = s * (d - 1.0 / 255.0);
    double p, change;
    if ((double)x < -0.999) {
        p = logistic(logit(above));
        change = slope(above);
    } else if ((double)x > 0.999) {
        p = logistic(-logit(below));
        change = -slope(below);
    } else { /* of two equal differences, take the one between small numbers */
        p = d > 0.0 ? logistic(-logit(below)) - logistic(-logit(above))
                    : logistic(logit(above)) - logistic(logit(below));
        change = slope(above) - slope(below);
    }
    *by_l = p < SMALLEST ? 0.0 : change / p / 2.0;
    return -log(p < SMALLEST ? SMALLEST : p);
}

/* The inputs of both loss operations. */
template <class T> struct term_inputs {
    struct plane<T> answer;
    struct plane<float> noise, x, rows;
    unsigned image_pixels;
    int channels;
};

/* L of channel c of pixel p, and its derivative with respect to l. */
template <class T>
static __device__ inline double term_at(const struct term_inputs<T> &in, int64_t p, int c,
                                        const float *row, double *by_l)
{
    const T *answer = in.answer.data + p * in.answer.stride + c;
    double l = log_variance(row, to_float(answer[in.channels]));
    double d = (double)row[DDPM_VARIANCE_MEAN] *
               ((double)to_float(answer[0]) - (double)in.noise.data[p * in.noise.stride + c]);
    if (row[DDPM_VARIANCE_DECODER] > 0.0f)
        return decoder(l, d, in.x.data[p * in.x.stride + c], by_l);
    double lowest = row[DDPM_VARIANCE_LOWEST];
    double both = exp(lowest - l) + times_exp(d * d, -l);
    *by_l = (1.0 - both) / 2.0;
    return (l - lowest - 1.0 + both) / 2.0;
}

/* partial[b][z] = Σ L over chunk z of picture b. grid: (chunks, B) */
template <class T>
static __global__ void __launch_bounds__(TERM_THREADS)
    term_partial(struct term_inputs<T> in, unsigned elements, double *partial)
{
    __shared__ double warps[TERM_THREADS / 32];
    const float *row = in.rows.data + (int64_t)blockIdx.y * in.rows.stride;
    double sum = 0.0, unused;
    unsigned begin = blockIdx.x * TERM_CHUNK, end = min(begin + TERM_CHUNK, elements);
    for (unsigned i = begin + threadIdx.x; i < end; i += TERM_THREADS) {
        unsigned pixel = i / (unsigned)in.channels;
        sum += term_at(in, (int64_t)blockIdx.y * in.image_pixels + pixel,
                       (int)(i - pixel * (unsigned)in.channels), row, &unused);
    }
    sum = block_sum(sum, warps, (int)threadIdx.x, TERM_THREADS / 32);
    if (threadIdx.x == 0)
        partial[(int64_t)blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

/* loss[b] = simple[b] + weight[b]/ln 2 · Σ_z partial[b][z] / elements. One thread per picture. */
static __global__ void term_finish(const double *partial, int chunks, double elements, int images,
                                   struct plane<float> rows, struct plane<float> simple,
                                   struct plane<float> loss)
{
    int b = (int)(blockIdx.x * MAP_THREADS + threadIdx.x);
    if (b >= images)
        return;
    double sum = 0.0;
    for (int z = 0; z < chunks; ++z)
        sum += partial[(int64_t)b * chunks + z];
    sum *= (double)rows.data[b * rows.stride + DDPM_VARIANCE_WEIGHT] / (elements * LN2);
    loss.data[b * loss.stride] = (float)((double)simple.data[b * simple.stride] + sum);
}

static int chunk_count(const struct ddpm_tensor *x)
{
    return (int)ddpm_ceil_div(x->h * x->w * x->c, TERM_CHUNK);
}

/* From the network's output on: output, ε, x, rows. */
static bool reads(const struct ddpm_tensor *in)
{
    const struct ddpm_tensor *x = &in[2], *rows = &in[3];
    return ddpm_cuda_is_activation(&in[0]) && ddpm_cuda_takes(&in[0], in[0].dtype) &&
           ddpm_cuda_takes(&in[1], DDPM_F32) && ddpm_cuda_takes(x, DDPM_F32) &&
           ddpm_cuda_takes(rows, DDPM_F32) && in[0].c == 2 * x->c &&
           rows->c == DDPM_VARIANCE_COLUMNS && x->n <= 65535 &&
           x->h * x->w * x->c <= INT32_MAX - TERM_CHUNK;
}

template <class T> static struct term_inputs<T> inputs_of(const struct ddpm_tensor *in)
{
    return {ddpm_plane<T>(&in[0]),     ddpm_plane<float>(&in[1]),
            ddpm_plane<float>(&in[2]), ddpm_plane<float>(&in[3]),
            (unsigned)(in[2].h * in[2].w), (int)in[2].c};
}

static bool loss_supports(const struct ddpm_call *call)
{
    return ddpm_cuda_takes(&call->in[0], DDPM_F32) && reads(&call->in[1]) &&
           ddpm_cuda_takes(&call->out[0], DDPM_F32);
}

static ddpm_status loss_prepare(struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[3];
    call->scratch_bytes = (size_t)(x->n * chunk_count(x)) * sizeof(double);
    return DDPM_OK;
}

template <class T> static ddpm_status loss_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[3];
    return ddpm_cuda_launch(call, term_partial<T>, dim3((unsigned)chunk_count(x), (unsigned)x->n),
                            dim3(TERM_THREADS), 0, inputs_of<T>(&call->in[1]),
                            (unsigned)(x->h * x->w * x->c), (double *)call->scratch);
}

static ddpm_status loss_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[3];
    if (call->in[1].dtype == DDPM_F32)
        DDPM_TRY(loss_typed<float>(call));
    else
        DDPM_TRY(loss_typed<bf16>(call));
    return ddpm_cuda_launch(call, term_finish, dim3((unsigned)ddpm_ceil_div(x->n, MAP_THREADS)),
                            dim3(MAP_THREADS), 0, (const double *)call->scratch, chunk_count(x),
                            (double)(x->h * x->w * x->c), (int)x->n,
                            ddpm_plane<float>(&call->in[4]), ddpm_plane<float>(&call->in[0]),
                            ddpm_plane<float>(&call->out[0]));
}

/* dv = weight[b]·scale/(B·H·W·C)/ln 2 · dL/dl · (highest - lowest)/2 */
template <class T> struct term_backward_map {
    struct term_inputs<T> in;
    struct plane<T> dv;
    double scale;
    __device__ void operator()(struct place at) const
    {
        const float *row =
            in.rows.data + (int64_t)((unsigned)at.p / in.image_pixels) * in.rows.stride;
        double width = (double)row[DDPM_VARIANCE_HIGHEST] - (double)row[DDPM_VARIANCE_LOWEST];
        double by_l;
        term_at(in, at.p, at.c, row, &by_l);
        by_l *= scale * (double)row[DDPM_VARIANCE_WEIGHT] * width;
        from_float(dv.data + at.p * dv.stride + at.c, (float)by_l);
    }
};

template <class T> static ddpm_status backward_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dv = &call->out[0];
    double scale = (double)call->attributes.scale / ((double)ddpm_tensor_count(dv) * LN2) / 2.0;
    struct term_backward_map<T> f = {inputs_of<T>(&call->in[0]), ddpm_plane<T>(dv), scale};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(dv), dv->c, 1);
}

static bool backward_supports(const struct ddpm_call *call)
{
    return reads(&call->in[0]) && ddpm_cuda_takes(&call->out[0], call->in[0].dtype);
}

static ddpm_status backward_run(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 ? backward_typed<float>(call) : backward_typed<bf16>(call);
}

/* y = z·e^(l/2) */
template <class T> struct scale_noise_map {
    struct plane<T> v;
    struct plane<float> z, rows, y;
    unsigned image_pixels;
    __device__ void operator()(struct place at) const
    {
        const float *row = rows.data + (int64_t)((unsigned)at.p / image_pixels) * rows.stride;
        double l = log_variance(row, to_float(v.data[at.p * v.stride + at.c]));
        y.data[at.p * y.stride + at.c] =
            (float)times_exp((double)z.data[at.p * z.stride + at.c], l / 2.0);
    }
};

static bool noise_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *v = &call->in[0];
    return ddpm_cuda_is_activation(v) && ddpm_cuda_takes(v, v->dtype) &&
           ddpm_cuda_takes(&call->in[1], DDPM_F32) && ddpm_cuda_takes(&call->in[2], DDPM_F32) &&
           ddpm_cuda_takes(&call->out[0], DDPM_F32);
}

template <class T> static ddpm_status noise_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    struct scale_noise_map<T> f = {ddpm_plane<T>(&call->in[0]), ddpm_plane<float>(&call->in[1]),
                                   ddpm_plane<float>(&call->in[2]), ddpm_plane<float>(y),
                                   (unsigned)(y->h * y->w)};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, 1);
}

static ddpm_status noise_run(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 ? noise_typed<float>(call) : noise_typed<bf16>(call);
}

static const struct ddpm_kernel loss_kernel = {
    "variational_loss_cuda", loss_supports, loss_prepare, NULL, loss_run, NULL};
CUDA_KERNELS_OF(variational_loss, &loss_kernel);
static const struct ddpm_kernel backward_kernel = {
    "variational_loss_backward_cuda", backward_supports, NULL, NULL, backward_run, NULL};
CUDA_KERNELS_OF(variational_loss_backward, &backward_kernel);
static const struct ddpm_kernel noise_kernel = {
    "scale_noise_cuda", noise_supports, NULL, NULL, noise_run, NULL};
CUDA_KERNELS_OF(scale_noise, &noise_kernel);

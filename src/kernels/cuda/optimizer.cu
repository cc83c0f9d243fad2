/* The global norm of the gradient, and AdamW with clipping, EMA and the weights' bf16 copy in one
 * pass over the slabs.
 * Formulas are in kernels/ops.inc. */
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/rows.cuh"

#define SLAB_THREADS 256
#define NORM_BLOCKS 1024

/* partial[block] = Σ g² of this block's elements, in fp64. */
static __global__ void __launch_bounds__(SLAB_THREADS)
    norm_partial(const float *g, int64_t count, double *partial)
{
    __shared__ double warps[SLAB_THREADS / 32];
    double sum = 0.0;
    int64_t step = (int64_t)gridDim.x * SLAB_THREADS, quads = count / 4;
    int64_t first = (int64_t)blockIdx.x * SLAB_THREADS + threadIdx.x;
    for (int64_t i = first; i < quads; i += step) {
        float4 v = ((const float4 *)g)[i];
        sum += (double)v.x * v.x + (double)v.y * v.y + (double)v.z * v.z + (double)v.w * v.w;
    }
    for (int64_t i = 4 * quads + first; i < count; i += step)
        sum += (double)g[i] * g[i];
    sum = block_sum(sum, warps, (int)threadIdx.x, SLAB_THREADS / 32);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

/* norm = √Σ partial; losses that are not finite make it NaN: x - x is 0 or NaN. One block. */
static __global__ void __launch_bounds__(SLAB_THREADS)
    norm_finish(const double *partial, int count, const float *loss, int losses, float *norm)
{
    __shared__ double warps[SLAB_THREADS / 32];
    double sum = 0.0;
    for (int i = (int)threadIdx.x; i < count; i += SLAB_THREADS)
        sum += partial[i];
    for (int b = (int)threadIdx.x; b < losses; b += SLAB_THREADS)
        sum += (double)(loss[b] - loss[b]);
    sum = block_sum(sum, warps, (int)threadIdx.x, SLAB_THREADS / 32);
    if (threadIdx.x == 0)
        norm[0] = (float)sqrt(sum);
}

static int norm_blocks(const struct ddpm_tensor *g)
{
    int64_t blocks = ddpm_ceil_div(g->c, 4 * SLAB_THREADS);
    return (int)(blocks < NORM_BLOCKS ? blocks : NORM_BLOCKS);
}

/* A slab is one dense row of fp32 numbers. */
static bool is_slab(const struct ddpm_tensor *t)
{
    return t->dtype == DDPM_F32 && ddpm_tensor_pixels(t) == 1;
}

static bool norm_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *loss = &call->in[1];
    return is_slab(&call->in[0]) && call->out[0].dtype == DDPM_F32 &&
           (!ddpm_tensor_present(loss) ||
            (loss->dtype == DDPM_F32 && loss->c == 1 && loss->pixel_stride == 1));
}

static ddpm_status norm_prepare(struct ddpm_call *call)
{
    call->scratch_bytes = (size_t)norm_blocks(&call->in[0]) * sizeof(double);
    return DDPM_OK;
}

static ddpm_status norm_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *g = &call->in[0];
    double *partial = (double *)call->scratch;
    int blocks = norm_blocks(g);
    DDPM_TRY(ddpm_cuda_launch(call, norm_partial, dim3((unsigned)blocks), dim3(SLAB_THREADS), 0,
                              (const float *)g->data, g->c, partial));
    return ddpm_cuda_launch(call, norm_finish, dim3(1), dim3(SLAB_THREADS), 0,
                            (const double *)partial, blocks, (const float *)call->in[1].data,
                            (int)ddpm_tensor_pixels(&call->in[1]), (float *)call->out[0].data);
}

struct adamw_factors {
    float decay, clip, beta1, beta2, step, correction2, eps, ema;
};

static __device__ inline struct adamw_factors adamw_factors_of(const float *hyper, float norm)
{
    struct adamw_factors f;
    float lr = hyper[DDPM_HYPER_LR], max_norm = hyper[DDPM_HYPER_MAX_NORM];
    f.decay = (float)(1.0 - (double)lr * hyper[DDPM_HYPER_WEIGHT_DECAY]);
    f.clip = 1.0f;
    if (max_norm > 0.0f)
        f.clip = min(1.0f, max_norm / (norm + 1e-6f));
    f.beta1 = hyper[DDPM_HYPER_BETA1];
    f.beta2 = hyper[DDPM_HYPER_BETA2];
    f.step = lr / hyper[DDPM_HYPER_CORRECTION1];
    f.correction2 = sqrtf(hyper[DDPM_HYPER_CORRECTION2]);
    f.eps = hyper[DDPM_HYPER_EPS];
    f.ema = hyper[DDPM_HYPER_EMA_DECAY];
    return f;
}

static __device__ inline void adamw_one(const struct adamw_factors *f, float g, float *w, float *m,
                                        float *v, float *ema)
{
    g *= f->clip;
    *m = f->beta1 * *m + (1.0f - f->beta1) * g;
    *v = f->beta2 * *v + (1.0f - f->beta2) * g * g;
    *w = *w * f->decay - f->step * *m / (sqrtf(*v) / f->correction2 + f->eps);
    *ema = f->ema * *ema + (1.0f - f->ema) * *w;
}

/* One thread per four neighbours; the last thread takes what is left. The EMA is not even read
 * where d = 1: most steps leave it as it is. */
static __global__ void __launch_bounds__(SLAB_THREADS)
    adamw(const float *g, const float *norm, const float *hyper, float *w, float *m, float *v,
          float *ema, bf16 *copy, int64_t count)
{
    if (!isfinite(norm[0]))
        return;
    int64_t i = 4 * ((int64_t)blockIdx.x * SLAB_THREADS + threadIdx.x);
    if (i >= count)
        return;
    struct adamw_factors f = adamw_factors_of(hyper, norm[0]);
    bool averaging = f.ema != 1.0f;
    if (i + 4 > count) {
        for (; i < count; ++i) {
            float average = averaging ? ema[i] : 0.0f;
            adamw_one(&f, g[i], w + i, m + i, v + i, &average);
            if (averaging)
                ema[i] = average;
            if (copy)
                from_float(copy + i, w[i]);
        }
        return;
    }
    float4 g4 = *(const float4 *)(g + i), w4 = *(float4 *)(w + i), m4 = *(float4 *)(m + i);
    float4 v4 = *(float4 *)(v + i), e4 = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (averaging)
        e4 = *(float4 *)(ema + i);
    adamw_one(&f, g4.x, &w4.x, &m4.x, &v4.x, &e4.x);
    adamw_one(&f, g4.y, &w4.y, &m4.y, &v4.y, &e4.y);
    adamw_one(&f, g4.z, &w4.z, &m4.z, &v4.z, &e4.z);
    adamw_one(&f, g4.w, &w4.w, &m4.w, &v4.w, &e4.w);
    *(float4 *)(w + i) = w4;
    *(float4 *)(m + i) = m4;
    *(float4 *)(v + i) = v4;
    if (averaging)
        *(float4 *)(ema + i) = e4;
    if (copy)
        *(uint2 *)(copy + i) = make_uint2(pack_bf16(w4.x, w4.y), pack_bf16(w4.z, w4.w));
}

static bool adamw_supports(const struct ddpm_call *call)
{
    for (int o = 0; o < 4; ++o)
        if (!is_slab(&call->out[o]))
            return false;
    return is_slab(&call->in[0]) && is_slab(&call->in[1]) && is_slab(&call->in[2]) &&
           ddpm_cuda_takes(&call->out[4], DDPM_BF16);
}

static ddpm_status adamw_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *g = &call->in[0];
    dim3 grid((unsigned)ddpm_ceil_div(g->c, 4 * SLAB_THREADS));
    return ddpm_cuda_launch(call, adamw, grid, dim3(SLAB_THREADS), 0, (const float *)g->data,
                            (const float *)call->in[1].data, (const float *)call->in[2].data,
                            (float *)call->out[0].data, (float *)call->out[1].data,
                            (float *)call->out[2].data, (float *)call->out[3].data,
                            (bf16 *)call->out[4].data, g->c);
}

static const struct ddpm_kernel gradient_norm_kernel = {
    "gradient_norm_cuda", norm_supports, norm_prepare, NULL, norm_run, NULL};
CUDA_KERNELS_OF(gradient_norm, &gradient_norm_kernel);
static const struct ddpm_kernel adamw_kernel = {"adamw_cuda", adamw_supports, NULL,
                                            NULL,         adamw_run,      NULL};
CUDA_KERNELS_OF(adamw, &adamw_kernel);

/* The global norm of the gradient, and AdamW with clipping, EMA and the weights' bf16 copy in one
 * pass over the slabs. The formulas are in kernels/ops.inc. */
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

/* norm = √Σ partial; losses that are not finite make it NaN, because x - x is 0 or NaN. One
 * block. */
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
    float decay, clip, beta1, beta2, step, correction2, eps, ema, second;
};

struct adamw_slabs {
    const float *g, *norm, *hyper;
    const uint8_t *rules; /* or NULL */
    float *w, *m, *v, *ema;
    bf16 *copy;    /* or NULL */
    float *second; /* or NULL */
    int64_t count;
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
    f.second = hyper[DDPM_HYPER_SECOND_DECAY];
    return f;
}

static __device__ inline void adamw_one(const struct adamw_factors *f, float g, float *w, float *m,
                                        float *v)
{
    g *= f->clip;
    *m = f->beta1 * *m + (1.0f - f->beta1) * g;
    *v = f->beta2 * *v + (1.0f - f->beta2) * g * g;
    *w = *w * f->decay - f->step * *m / (sqrtf(*v) / f->correction2 + f->eps);
}

/* Element i, if fewer than four are left. */
static __device__ inline void adamw_single(const struct adamw_slabs *s,
                                           const struct adamw_factors *f, bool steps, int64_t i)
{
    if (steps)
        adamw_one(f, s->g[i], s->w + i, s->m + i, s->v + i);
    if (s->copy)
        from_float(s->copy + i, s->w[i]);
    if (f->ema != 1.0f)
        s->ema[i] = f->ema * s->ema[i] + (1.0f - f->ema) * s->w[i];
    if (s->second && f->second != 1.0f)
        s->second[i] = f->second * s->second[i] + (1.0f - f->second) * s->w[i];
}

/* With d = 1 the EMA is not even read: most steps leave it unchanged. */
static __device__ inline void average_four(float *ema, float d, float4 w)
{
    if (d == 1.0f)
        return;
    float4 e = *(float4 *)ema;
    *(float4 *)ema = make_float4(d * e.x + (1.0f - d) * w.x, d * e.y + (1.0f - d) * w.y,
                                 d * e.z + (1.0f - d) * w.z, d * e.w + (1.0f - d) * w.w);
}

static __device__ inline void adamw_four(const struct adamw_slabs *s, const struct adamw_factors *f,
                                         bool steps, int64_t i)
{
    float4 w = *(float4 *)(s->w + i);
    if (steps) {
        float4 g = *(const float4 *)(s->g + i), m = *(float4 *)(s->m + i);
        float4 v = *(float4 *)(s->v + i);
        adamw_one(f, g.x, &w.x, &m.x, &v.x);
        adamw_one(f, g.y, &w.y, &m.y, &v.y);
        adamw_one(f, g.z, &w.z, &m.z, &v.z);
        adamw_one(f, g.w, &w.w, &m.w, &v.w);
        *(float4 *)(s->w + i) = w;
        *(float4 *)(s->m + i) = m;
        *(float4 *)(s->v + i) = v;
    }
    if (s->copy)
        *(uint2 *)(s->copy + i) = make_uint2(pack_bf16(w.x, w.y), pack_bf16(w.z, w.w));
    average_four(s->ema + i, f->ema, w);
    if (s->second)
        average_four(s->second + i, f->second, w);
}

/* One thread per four neighbours; the last thread handles the rest. */
static __global__ void __launch_bounds__(SLAB_THREADS) adamw(struct adamw_slabs s)
{
    int64_t i = 4 * ((int64_t)blockIdx.x * SLAB_THREADS + threadIdx.x);
    if (!isfinite(s.norm[0]) || i >= s.count)
        return;
    struct adamw_factors f = adamw_factors_of(s.hyper, s.norm[0]);
    int rule = s.rules ? s.rules[i / DDPM_RULE_ELEMENTS] : DDPM_RULE_DECAYS | DDPM_RULE_STEPS;
    bool steps = (rule & DDPM_RULE_STEPS) != 0;
    if (!(rule & DDPM_RULE_DECAYS))
        f.decay = 1.0f;
    if (i + 4 <= s.count)
        adamw_four(&s, &f, steps, i);
    else
        for (; i < s.count; ++i)
            adamw_single(&s, &f, steps, i);
}

static bool adamw_supports(const struct ddpm_call *call)
{
    for (int o = 0; o < 4; ++o)
        if (!is_slab(&call->out[o]))
            return false;
    return is_slab(&call->in[0]) && is_slab(&call->in[1]) && is_slab(&call->in[2]) &&
           ddpm_cuda_takes(&call->in[3], DDPM_U8) && ddpm_cuda_takes(&call->out[4], DDPM_BF16) &&
           (!ddpm_tensor_present(&call->out[5]) || is_slab(&call->out[5]));
}

static ddpm_status adamw_run(const struct ddpm_call *call)
{
    struct adamw_slabs s;
    s.g = (const float *)call->in[0].data;
    s.norm = (const float *)call->in[1].data;
    s.hyper = (const float *)call->in[2].data;
    s.rules = (const uint8_t *)call->in[3].data;
    s.w = (float *)call->out[0].data;
    s.m = (float *)call->out[1].data;
    s.v = (float *)call->out[2].data;
    s.ema = (float *)call->out[3].data;
    s.copy = (bf16 *)call->out[4].data;
    s.second = (float *)call->out[5].data;
    s.count = call->in[0].c;
    dim3 grid((unsigned)ddpm_ceil_div(s.count, 4 * SLAB_THREADS));
    return ddpm_cuda_launch(call, adamw, grid, dim3(SLAB_THREADS), 0, s);
}

static const struct ddpm_kernel gradient_norm_kernel = {
    "gradient_norm_cuda", norm_supports, norm_prepare, NULL, norm_run, NULL};
CUDA_KERNELS_OF(gradient_norm, &gradient_norm_kernel);
static const struct ddpm_kernel adamw_kernel = {"adamw_cuda", adamw_supports, NULL,
                                                NULL,         adamw_run,      NULL};
CUDA_KERNELS_OF(adamw, &adamw_kernel);

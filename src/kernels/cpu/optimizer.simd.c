/* The optimizer's loops over the slabs: √Σg², and AdamW with clipping and EMA in one pass. Bound by
 * memory: 28 bytes per parameter, 36 in steps that update the EMA, 2 more for a bf16 copy. */
#include <math.h>

#include "kernels/cpu/element.h"
#include "kernels/squares.h"

/* Elements per piece; one partial sum each. */
enum { SLAB_GRAIN = DDPM_SQUARES_BLOCK };

static int64_t pieces_of(const struct ddpm_tensor *slab)
{
    return (ddpm_tensor_count(slab) + SLAB_GRAIN - 1) / SLAB_GRAIN;
}

static void squares_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const float *g = call->in[0].data;
    ((double *)call->scratch)[begin / SLAB_GRAIN] = ddpm_squares(g + begin, end - begin);
}

static ddpm_status gradient_norm_prepare(struct ddpm_call *call)
{
    call->scratch_bytes = (size_t)pieces_of(&call->in[0]) * sizeof(double);
    return DDPM_OK;
}

static ddpm_status gradient_norm_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_count(&call->in[0]), SLAB_GRAIN,
                      squares_range, (void *)call);
    double sum = 0;
    for (int64_t i = 0; i < pieces_of(&call->in[0]); ++i)
        sum += ((const double *)call->scratch)[i];
    const float *loss = call->in[1].data;
    for (int64_t b = 0; b < ddpm_tensor_pixels(&call->in[1]); ++b)
        if (!isfinite(loss[b]))
            sum = NAN;
    *(float *)call->out[0].data = (float)sqrt(sum);
    return DDPM_OK;
}

static bool gradient_norm_supports(const struct ddpm_call *call)
{
    const struct ddpm_tensor *loss = &call->in[1];
    return call->in[0].dtype == DDPM_F32 && call->out[0].dtype == DDPM_F32 &&
           (!ddpm_tensor_present(loss) ||
            (loss->dtype == DDPM_F32 && loss->c == 1 && loss->pixel_stride == 1));
}

static const struct ddpm_kernel gradient_norm_kernel = {.name = SIMD_NAME("gradient_norm"),
                                                        .supports = gradient_norm_supports,
                                                        .prepare = gradient_norm_prepare,
                                                        .run = gradient_norm_run};
KERNELS_OF(gradient_norm, &gradient_norm_kernel);

struct adamw {
    const struct ddpm_call *call;
    float clip, decay, rate, beta1, beta2, rest1, rest2, root_correction, eps, ema, second;
};

static void adamw_piece(const struct adamw *a, int64_t count, const float *restrict g,
                        float *restrict w, float *restrict m, float *restrict v)
{
    for (int64_t i = 0; i < count; ++i) {
        const float gradient = g[i] * a->clip;
        const float moment1 = a->beta1 * m[i] + a->rest1 * gradient;
        const float moment2 = a->beta2 * v[i] + a->rest2 * (gradient * gradient);
        m[i] = moment1;
        v[i] = moment2;
        w[i] =
            w[i] * a->decay - a->rate * (moment1 / (sqrtf(moment2) * a->root_correction + a->eps));
    }
}

/* Runs of neighbours that follow the same rule. */
static void ruled_piece(const struct adamw *a, const uint8_t *rules, int64_t begin, int64_t end)
{
    const struct ddpm_call *call = a->call;
    struct adamw plain = *a;
    plain.decay = 1;
    for (int64_t i = begin, next; i < end; i = next) {
        const uint8_t rule = rules[i / DDPM_RULE_ELEMENTS];
        for (next = i; next < end && rules[next / DDPM_RULE_ELEMENTS] == rule;)
            next += DDPM_RULE_ELEMENTS;
        next = next < end ? next : end;
        if (rule & DDPM_RULE_STEPS)
            adamw_piece(rule & DDPM_RULE_DECAYS ? a : &plain, next - i,
                        (const float *)call->in[0].data + i, (float *)call->out[0].data + i,
                        (float *)call->out[1].data + i, (float *)call->out[2].data + i);
    }
}

static void ema_piece(float d, int64_t count, const float *restrict w, float *restrict ema)
{
    if (d == 0)
        memcpy(ema, w, (size_t)count * sizeof *w);
    if (d == 0 || d == 1)
        return;
    const float rest = 1 - d;
    for (int64_t i = 0; i < count; ++i)
        ema[i] = d * ema[i] + rest * w[i];
}

static void copy_piece(int64_t count, const float *restrict w, uint16_t *restrict copy)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vf_store_bf16(copy + i, vf_load(w + i));
    for (; i < count; ++i)
        copy[i] = ddpm_float_to_bf16(w[i]);
}

static void *optional(const struct ddpm_tensor *tensor)
{
    return ddpm_tensor_present(tensor) ? tensor->data : NULL;
}

static void adamw_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct adamw *a = context;
    const float *g = a->call->in[0].data;
    float *w = a->call->out[0].data, *m = a->call->out[1].data, *v = a->call->out[2].data,
          *ema = a->call->out[3].data, *second = optional(&a->call->out[5]);
    const uint8_t *rules = optional(&a->call->in[3]);
    uint16_t *copy = optional(&a->call->out[4]);
    /* So short that the weights are still in the first-level cache for the EMA and the copy. */
    enum { BLOCK = 1024 };
    for (int64_t i = begin; i < end; i += BLOCK) {
        const int64_t count = end - i < BLOCK ? end - i : BLOCK;
        if (rules)
            ruled_piece(a, rules, i, i + count);
        else
            adamw_piece(a, count, g + i, w + i, m + i, v + i);
        ema_piece(a->ema, count, w + i, ema + i);
        if (second)
            ema_piece(a->second, count, w + i, second + i);
        if (copy)
            copy_piece(count, w + i, copy + i);
    }
}

static ddpm_status adamw_run(const struct ddpm_call *call)
{
    const float norm = *(const float *)call->in[1].data, *hyper = call->in[2].data;
    if (!isfinite(norm))
        return DDPM_OK;
    const double max_norm = (double)hyper[DDPM_HYPER_MAX_NORM];
    const double lr = (double)hyper[DDPM_HYPER_LR];
    const double clip = max_norm > 0 ? max_norm / ((double)norm + 1e-6) : 1;
    struct adamw a = {
        .call = call,
        .clip = clip < 1 ? (float)clip : 1,
        .decay = (float)(1 - lr * (double)hyper[DDPM_HYPER_WEIGHT_DECAY]),
        .rate = (float)(lr / (double)hyper[DDPM_HYPER_CORRECTION1]),
        .beta1 = hyper[DDPM_HYPER_BETA1],
        .beta2 = hyper[DDPM_HYPER_BETA2],
        .rest1 = (float)(1 - (double)hyper[DDPM_HYPER_BETA1]),
        .rest2 = (float)(1 - (double)hyper[DDPM_HYPER_BETA2]),
        .root_correction = (float)(1 / sqrt((double)hyper[DDPM_HYPER_CORRECTION2])),
        .eps = hyper[DDPM_HYPER_EPS],
        .ema = hyper[DDPM_HYPER_EMA_DECAY],
        .second = hyper[DDPM_HYPER_SECOND_DECAY],
    };
    ddpm_parallel_for(call->device->threads, ddpm_tensor_count(&call->in[0]), SLAB_GRAIN,
                      adamw_range, &a);
    return DDPM_OK;
}

static bool adamw_supports(const struct ddpm_call *call)
{
    for (int i = 0; i < 4; ++i)
        if (call->out[i].dtype != DDPM_F32 || (i < 3 && call->in[i].dtype != DDPM_F32))
            return false;
    return (!ddpm_tensor_present(&call->in[3]) || call->in[3].dtype == DDPM_U8) &&
           (!ddpm_tensor_present(&call->out[4]) || call->out[4].dtype == DDPM_BF16) &&
           (!ddpm_tensor_present(&call->out[5]) || call->out[5].dtype == DDPM_F32);
}

static const struct ddpm_kernel adamw_kernel = {
    .name = SIMD_NAME("adamw"), .supports = adamw_supports, .run = adamw_run};
KERNELS_OF(adamw, &adamw_kernel);

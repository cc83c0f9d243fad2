/* The optimizer's loops over flat slabs [1,1,1,N]: norm of the gradient, and AdamW (Loshchilov &
 * Hutter 2019, PyTorch's form) with clipping and EMA. */
#include <math.h>

#include "kernels/ref/ref.h"

/* norm = √Σg², NaN if a loss is not finite. in: g [1,1,1,N], loss [B,1,1,1] or absent; out: norm
 * [1,1,1,1] */
ddpm_status ddpm_ref_gradient_norm(const struct ddpm_call *call)
{
    const struct ddpm_tensor *g = &call->in[0], *loss = &call->in[1];
    double squares = 0;
    for (int64_t i = 0; i < g->c; ++i)
        squares += ref_get(g, 0, i) * ref_get(g, 0, i);
    for (int64_t b = 0; b < ddpm_tensor_pixels(loss); ++b)
        if (!isfinite(ref_get(loss, b, 0)))
            squares = NAN;
    ref_set(&call->out[0], 0, 0, sqrt(squares));
    return DDPM_OK;
}

/* Element i of w, m and v. */
static void step(const struct ddpm_call *call, const double h[DDPM_HYPER_COUNT],
                 double weight_decay, int64_t i)
{
    const struct ddpm_tensor *w = &call->out[0], *m = &call->out[1], *v = &call->out[2];
    const double beta1 = h[DDPM_HYPER_BETA1], beta2 = h[DDPM_HYPER_BETA2], lr = h[DDPM_HYPER_LR];
    const double norm = ref_get(&call->in[1], 0, 0), max_norm = h[DDPM_HYPER_MAX_NORM];
    const double shrink = max_norm > 0 ? fmin(1, max_norm / (norm + 1e-6)) : 1;
    const double gradient = ref_get(&call->in[0], 0, i) * shrink;
    const double moment = beta1 * ref_get(m, 0, i) + (1 - beta1) * gradient;
    const double square = beta2 * ref_get(v, 0, i) + (1 - beta2) * gradient * gradient;
    const double root = sqrt(square) / sqrt(h[DDPM_HYPER_CORRECTION2]) + h[DDPM_HYPER_EPS];
    ref_set(m, 0, i, moment);
    ref_set(v, 0, i, square);
    ref_set(w, 0, i,
            ref_get(w, 0, i) * (1 - lr * weight_decay) -
                lr / h[DDPM_HYPER_CORRECTION1] * moment / root);
}

static void average(const struct ddpm_tensor *ema, int64_t i, double decay, double weight)
{
    ref_set(ema, 0, i, decay * ref_get(ema, 0, i) + (1 - decay) * weight);
}

/*   g' = g·min(1, max_norm/(norm+1e-6)) if max_norm > 0;  w *= 1 - lr·weight_decay
 *   m = β1·m + (1-β1)·g';  v = β2·v + (1-β2)·g'²;  w -= lr/(1-β1^k) · m/(√v/√(1-β2^k) + eps)
 *   ema = d·ema + (1-d)·w, and the second EMA
 * Does nothing if norm is not finite; decay and step follow rules, if given.
 * in: g [1,1,1,N], norm [1,1,1,1], hyper [1,1,1,DDPM_HYPER_COUNT], rules [1,1,1,⌈N/16⌉] or absent;
 * out: w, m, v, ema [1,1,1,N], read and written, copy [1,1,1,N] or absent: w in its dtype; second
 * EMA like the first, or absent */
ddpm_status ddpm_ref_adamw(const struct ddpm_call *call)
{
    const struct ddpm_tensor *w = &call->out[0], *copy = &call->out[4];
    double h[DDPM_HYPER_COUNT];
    if (!isfinite(ref_get(&call->in[1], 0, 0)))
        return DDPM_OK;
    for (int i = 0; i < DDPM_HYPER_COUNT; ++i)
        h[i] = ref_get(&call->in[2], 0, i);
    for (int64_t i = 0; i < w->c; ++i) {
        const int rule = ddpm_tensor_present(&call->in[3])
                             ? (int)ref_get(&call->in[3], 0, i / DDPM_RULE_ELEMENTS)
                             : DDPM_RULE_DECAYS | DDPM_RULE_STEPS;
        if (rule & DDPM_RULE_STEPS)
            step(call, h, rule & DDPM_RULE_DECAYS ? h[DDPM_HYPER_WEIGHT_DECAY] : 0, i);
        if (ddpm_tensor_present(copy))
            ref_set(copy, 0, i, ref_get(w, 0, i));
        average(&call->out[3], i, h[DDPM_HYPER_EMA_DECAY], ref_get(w, 0, i));
        if (ddpm_tensor_present(&call->out[5]))
            average(&call->out[5], i, h[DDPM_HYPER_SECOND_DECAY], ref_get(w, 0, i));
    }
    return DDPM_OK;
}

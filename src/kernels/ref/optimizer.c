/* The optimizer's loops over flat slabs [1,1,1,N]: norm of the gradient, and AdamW (Loshchilov &
 * Hutter 2019, PyTorch's form) with clipping and EMA. */
#include <math.h>

#include "kernels/ref/ref.h"

/* norm = √Σg², NaN where a loss is not finite. in: g [1,1,1,N], loss [B,1,1,1] or absent; out: norm
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

/*   g' = g·min(1, max_norm/(norm+1e-6)) if max_norm > 0;  w *= 1 - lr·weight_decay
 *   m = β1·m + (1-β1)·g';  v = β2·v + (1-β2)·g'²;  w -= lr/(1-β1^k) · m/(√v/√(1-β2^k) + eps)
 *   ema = d·ema + (1-d)·w
 * Nothing at all where norm is not finite.
 * in: g [1,1,1,N], norm [1,1,1,1], hyper [1,1,1,DDPM_HYPER_COUNT]; out: w, m, v, ema [1,1,1,N],
 * read and written, copy [1,1,1,N] or absent: w in its dtype */
ddpm_status ddpm_ref_adamw(const struct ddpm_call *call)
{
    const struct ddpm_tensor *g = &call->in[0], *w = &call->out[0], *m = &call->out[1],
                             *v = &call->out[2], *ema = &call->out[3], *copy = &call->out[4];
    const double norm = ref_get(&call->in[1], 0, 0);
    double h[DDPM_HYPER_COUNT];
    if (!isfinite(norm))
        return DDPM_OK;
    for (int i = 0; i < DDPM_HYPER_COUNT; ++i)
        h[i] = ref_get(&call->in[2], 0, i);
    const double beta1 = h[DDPM_HYPER_BETA1], beta2 = h[DDPM_HYPER_BETA2], lr = h[DDPM_HYPER_LR];
    const double decay = h[DDPM_HYPER_EMA_DECAY], max_norm = h[DDPM_HYPER_MAX_NORM];
    const double shrink = max_norm > 0 ? fmin(1, max_norm / (norm + 1e-6)) : 1;
    for (int64_t i = 0; i < g->c; ++i) {
        double gradient = ref_get(g, 0, i) * shrink;
        double moment = beta1 * ref_get(m, 0, i) + (1 - beta1) * gradient;
        double square = beta2 * ref_get(v, 0, i) + (1 - beta2) * gradient * gradient;
        double root = sqrt(square) / sqrt(h[DDPM_HYPER_CORRECTION2]) + h[DDPM_HYPER_EPS];
        double weight = ref_get(w, 0, i) * (1 - lr * h[DDPM_HYPER_WEIGHT_DECAY]) -
                        lr / h[DDPM_HYPER_CORRECTION1] * moment / root;
        ref_set(m, 0, i, moment);
        ref_set(v, 0, i, square);
        ref_set(w, 0, i, weight);
        if (ddpm_tensor_present(copy))
            ref_set(copy, 0, i, weight);
        ref_set(ema, 0, i, decay * ref_get(ema, 0, i) + (1 - decay) * weight);
    }
    return DDPM_OK;
}

/* Group normalisation with one group (Wu & He 2018): over all H, W, C of an image, after an
 * activation a = f(x).
 *
 *     y = (a - mean_b)·rstd_b·w[c] + bias[c],   rstd = 1/√(var + eps), biased variance */
#include <math.h>

#include "kernels/ref/ref.h"

void ddpm_ref_statistics(const struct ddpm_tensor *x, enum ddpm_activation f, float eps,
                         const struct ddpm_tensor *stats)
{
    const int64_t image = x->h * x->w;
    const double count = (double)(image * x->c);
    for (int64_t n = 0; n < x->n; ++n) {
        double sum = 0, squares = 0;
        for (int64_t p = n * image; p < (n + 1) * image; ++p)
            for (int64_t c = 0; c < x->c; ++c)
                sum += ddpm_ref_activate(f, ref_get(x, p, c));
        const double mean = sum / count;
        for (int64_t p = n * image; p < (n + 1) * image; ++p) {
            for (int64_t c = 0; c < x->c; ++c) {
                double centred = ddpm_ref_activate(f, ref_get(x, p, c)) - mean;
                squares += centred * centred;
            }
        }
        ref_set(stats, n, 0, mean);
        ref_set(stats, n, 1, 1 / sqrt(squares / count + (double)eps));
    }
}

/* in: x [B,H,W,C], w, bias [1,1,1,C], stats [B,1,1,2] = (mean, rstd)?; out: y [B,H,W,C] (may be x),
 * stats? */
ddpm_status ddpm_ref_group_norm(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *weight = &call->in[1], *bias = &call->in[2],
                             *stats = &call->in[3], *y = &call->out[0];
    const enum ddpm_activation f = call->attributes.activation;
    const int64_t image = x->h * x->w;
    if (!ddpm_tensor_present(stats)) {
        stats = &call->out[1];
        ddpm_ref_statistics(x, f, call->attributes.eps, stats);
    }
    for (int64_t n = 0; n < x->n; ++n) {
        const double mean = ref_get(stats, n, 0), rstd = ref_get(stats, n, 1);
        for (int64_t p = n * image; p < (n + 1) * image; ++p) {
            for (int64_t c = 0; c < x->c; ++c) {
                double a = ddpm_ref_activate(f, ref_get(x, p, c));
                ref_set(y, p, c, (a - mean) * rstd * ref_get(weight, 0, c) + ref_get(bias, 0, c));
            }
        }
    }
    return DDPM_OK;
}

/* With â = (a - mean)·rstd and g = dy·w, means over the image:
 *
 *     da = rstd·(g - mean(g) - â·mean(g·â)),  dx = f'(x)·da,  dw[c] += Σ dy·â,  dbias[c] += Σ dy
 *
 * in: x, w, stats, dy; out: dx (may be dy), dw +=, dbias += */
ddpm_status ddpm_ref_group_norm_backward(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *weight = &call->in[1], *stats = &call->in[2],
                             *dy = &call->in[3], *dx = &call->out[0];
    const enum ddpm_activation f = call->attributes.activation;
    const int64_t image = x->h * x->w;
    const double count = (double)(image * x->c);
    /* The weights' gradients come first: dx may overwrite dy. */
    for (int64_t c = 0; c < x->c; ++c) {
        double sum = 0, product = 0;
        for (int64_t p = 0; p < ddpm_tensor_pixels(x); ++p) {
            double mean = ref_get(stats, p / image, 0), rstd = ref_get(stats, p / image, 1);
            sum += ref_get(dy, p, c);
            product += ref_get(dy, p, c) * (ddpm_ref_activate(f, ref_get(x, p, c)) - mean) * rstd;
        }
        ref_add(call, 1, 0, c, product);
        ref_add(call, 2, 0, c, sum);
    }
    for (int64_t n = 0; n < x->n; ++n) {
        const double mean = ref_get(stats, n, 0), rstd = ref_get(stats, n, 1);
        double sum = 0, product = 0;
        for (int64_t p = n * image; p < (n + 1) * image; ++p) {
            for (int64_t c = 0; c < x->c; ++c) {
                double g = ref_get(dy, p, c) * ref_get(weight, 0, c);
                sum += g;
                product += g * (ddpm_ref_activate(f, ref_get(x, p, c)) - mean) * rstd;
            }
        }
        for (int64_t p = n * image; p < (n + 1) * image; ++p) {
            for (int64_t c = 0; c < x->c; ++c) {
                double g = ref_get(dy, p, c) * ref_get(weight, 0, c), value = ref_get(x, p, c);
                double normal = (ddpm_ref_activate(f, value) - mean) * rstd;
                double da = rstd * (g - sum / count - normal * product / count);
                ref_set(dx, p, c, da * ddpm_ref_activate_derivative(f, value));
            }
        }
    }
    return DDPM_OK;
}

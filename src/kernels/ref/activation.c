/* Activations and their derivatives.
 *
 *     GELU     x·Φ(x), Φ the normal distribution function (the exact one, by erf)
 *     ReLU     max(x, 0), derivative 0 at 0
 *     sigmoid  1/(1 + e^-x) */
#include <math.h>

#include "kernels/ref/ref.h"

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double normal_pdf(double x)
{
    return 0.39894228040143267794 * exp(-0.5 * x * x);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double ddpm_ref_activate(enum ddpm_activation activation, double x)
{
    switch (activation) {
    case DDPM_GELU:
        return x * normal_cdf(x);
    case DDPM_RELU:
        return x < 0 ? 0 : x;
    case DDPM_SIGMOID:
        return sigmoid(x);
    case DDPM_NO_ACTIVATION:
        break;
    }
    return x;
}

double ddpm_ref_activate_derivative(enum ddpm_activation activation, double x)
{
    switch (activation) {
    case DDPM_GELU:
        return normal_cdf(x) + x * normal_pdf(x);
    case DDPM_RELU:
        return x > 0 ? 1 : 0;
    case DDPM_SIGMOID:
        return sigmoid(x) * (1 - sigmoid(x));
    case DDPM_NO_ACTIVATION:
        break;
    }
    return 1;
}

/* y = f(x). in: x [B,H,W,C]; out: y (may be x) */
ddpm_status ddpm_ref_activation(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p)
        for (int64_t c = 0; c < y->c; ++c)
            ref_set(y, p, c, ddpm_ref_activate(call->attributes.activation, ref_get(x, p, c)));
    return DDPM_OK;
}

/* dx = f'(x)·dy. in: x, dy [B,H,W,C]; out: dx (may be dy) */
ddpm_status ddpm_ref_activation_backward(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *dy = &call->in[1], *dx = &call->out[0];
    const enum ddpm_activation f = call->attributes.activation;
    for (int64_t p = 0; p < ddpm_tensor_pixels(dx); ++p)
        for (int64_t c = 0; c < dx->c; ++c)
            ref_set(dx, p, c,
                    ddpm_ref_activate_derivative(f, ref_get(x, p, c)) * ref_get(dy, p, c));
    return DDPM_OK;
}

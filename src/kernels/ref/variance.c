/* A learned variance: the variational term of its loss, that term's gradient, and noise. */
#include <math.h>

#include "kernels/ref/ref.h"

/* One element: p and v from the network's output, ε, x, and its picture's coefficients. */
struct element {
    double lowest, highest, weight;
    double l, d, x; /* ln variance; error of the mean; the picture */
    bool decoder;
};

static double log_variance(double lowest, double highest, double v)
{
    return lowest + (v + 1) / 2 * (highest - lowest);
}

/* x·e^e; 0 if x is 0, however large the other factor. */
static double times_exp(double x, double e)
{
    return x == 0 ? 0 : x * exp(e);
}

/* Element c of pixel p. */
static struct element element_of(const struct ddpm_tensor *answer, const struct ddpm_tensor *noise,
                                 const struct ddpm_tensor *x, const struct ddpm_tensor *rows,
                                 int64_t p, int64_t c)
{
    const int64_t b = p / (x->h * x->w);
    struct element e = {
        .lowest = ref_get(rows, b, DDPM_VARIANCE_LOWEST),
        .highest = ref_get(rows, b, DDPM_VARIANCE_HIGHEST),
        .weight = ref_get(rows, b, DDPM_VARIANCE_WEIGHT),
        .decoder = ref_get(rows, b, DDPM_VARIANCE_DECODER) > 0,
        .x = ref_get(x, p, c),
    };
    e.d = ref_get(rows, b, DDPM_VARIANCE_MEAN) * (ref_get(answer, p, c) - ref_get(noise, p, c));
    e.l = log_variance(e.lowest, e.highest, ref_get(answer, p, x->c + c));
    return e;
}

static const double slope_of_tanh = 0.79788456080286535588, cubic = 0.044715; /* √(2/π) */

/* (1 + tanh(w))/2 = 1/(1 + e^-2w) */
static double cdf(double u)
{
    return 1 / (1 + exp(-2 * slope_of_tanh * (u + cubic * u * u * u)));
}

/* u·Φ'(u); 0 where Φ is 0 or 1. */
static double slope(double u)
{
    const double product = cdf(u) * cdf(-u);
    return product > 0 ? product * 2 * slope_of_tanh * (1 + 3 * cubic * u * u) * u : product;
}

/* Probability of the element's 8-bit value, and its derivative with respect to l: du/dl = -u/2. */
static double probability(const struct element *e, double *derivative)
{
    const double s = exp(-e->l / 2);
    const double above = s * (e->d + 1.0 / 255), below = s * (e->d - 1.0 / 255);
    const bool black = e->x<-0.999, white = e->x> 0.999;
    *derivative = ((black ? 0 : slope(below)) - (white ? 0 : slope(above))) / 2;
    if (black)
        return cdf(above);
    if (white)
        return cdf(-below);
    return e->d > 0 ? cdf(-below) - cdf(-above) : cdf(above) - cdf(below); /* the more exact form */
}

/* L of an element and its derivative with respect to l. */
static double term(const struct element *e, double *derivative)
{
    if (e->decoder) {
        const double p = probability(e, derivative);
        *derivative = p < 1e-12 ? 0 : -*derivative / p;
        return -log(p < 1e-12 ? 1e-12 : p);
    }
    const double ratio = exp(e->lowest - e->l), error = times_exp(e->d * e->d, -e->l);
    *derivative = (1 - ratio - error) / 2;
    return (e->l - e->lowest - 1 + ratio + error) / 2;
}

/* loss[b] = simple[b] + weight·mean of L / ln 2.
 * in: simple [B,1,1,1], (p, v) [B,H,W,2C], ε, x [B,H,W,C], rows [B,1,1,5]; out: loss [B,1,1,1] */
ddpm_status ddpm_ref_variational_loss(const struct ddpm_call *call)
{
    const struct ddpm_tensor *in = call->in, *x = &in[3];
    const int64_t pixels = x->h * x->w;
    for (int64_t b = 0; b < x->n; ++b) {
        double sum = 0, unused;
        for (int64_t p = b * pixels; p < (b + 1) * pixels; ++p)
            for (int64_t c = 0; c < x->c; ++c) {
                const struct element e = element_of(&in[1], &in[2], x, &in[4], p, c);
                sum += e.weight * term(&e, &unused);
            }
        ref_set(&call->out[0], b, 0,
                ref_get(&in[0], b, 0) + sum / (double)(pixels * x->c) / log(2));
    }
    return DDPM_OK;
}

/* dv = weight·scale/(B·H·W·C)/ln 2 · dL/dl · (highest - lowest)/2.
 * in: (p, v) [B,H,W,2C], ε, x [B,H,W,C], rows [B,1,1,5]; out: dv [B,H,W,C] */
ddpm_status ddpm_ref_variational_loss_backward(const struct ddpm_call *call)
{
    const struct ddpm_tensor *in = call->in, *dv = &call->out[0];
    const double scale = (double)call->attributes.scale / (double)ddpm_tensor_count(dv) / log(2);
    for (int64_t p = 0; p < ddpm_tensor_pixels(dv); ++p)
        for (int64_t c = 0; c < dv->c; ++c) {
            const struct element e = element_of(&in[0], &in[1], &in[2], &in[3], p, c);
            double by_l;
            term(&e, &by_l);
            ref_set(dv, p, c, scale * e.weight * by_l * (e.highest - e.lowest) / 2);
        }
    return DDPM_OK;
}

/* y = z·e^(l/2). in: v, z [B,H,W,C], rows [B,1,1,2]; out: y [B,H,W,C] (may be z) */
ddpm_status ddpm_ref_scale_noise(const struct ddpm_call *call)
{
    const struct ddpm_tensor *v = &call->in[0], *z = &call->in[1], *rows = &call->in[2];
    for (int64_t p = 0; p < ddpm_tensor_pixels(v); ++p) {
        const int64_t b = p / (v->h * v->w);
        const double lowest = ref_get(rows, b, DDPM_VARIANCE_LOWEST),
                     highest = ref_get(rows, b, DDPM_VARIANCE_HIGHEST);
        for (int64_t c = 0; c < v->c; ++c)
            ref_set(
                &call->out[0], p, c,
                times_exp(ref_get(z, p, c), log_variance(lowest, highest, ref_get(v, p, c)) / 2));
    }
    return DDPM_OK;
}

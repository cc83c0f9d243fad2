/* A learned variance: the variational term of its loss, the gradient of that term, and noise. The
 * formulas are in kernels/ops.inc.
 *
 * Plain C in fp64, one source for all levels: one or two exponentials per element of a picture,
 * against millions of operations in the network. */
#include <math.h>

#include "core/threads.h"
#include "kernels/backend.h"
#include "kernels/cpu/levels.h"

enum { PIXEL_GRAIN = 1024 };

static const double ln2 = 0.69314718055994530942;
static const double smallest = 1e-12; /* of a probability */

static inline double load(const struct ddpm_tensor *t, int64_t i)
{
    return (double)(t->dtype == DDPM_F32 ? ((const float *)t->data)[i]
                                         : ddpm_bf16_to_float(((const uint16_t *)t->data)[i]));
}

static bool is_compute(const struct ddpm_tensor *t)
{
    return t->dtype == DDPM_F32 || t->dtype == DDPM_BF16;
}

/* x·e^e, but 0 for x = 0, however large the other factor. */
static inline double times_exp(double x, double e)
{
    return x == 0 ? 0 : x * exp(e);
}

/* Coefficients of picture b. */
static const float *row_of(const struct ddpm_tensor *rows, int64_t b)
{
    return (const float *)rows->data + b * rows->pixel_stride;
}

static double log_variance(const float *row, double v)
{
    const double lowest = (double)row[DDPM_VARIANCE_LOWEST];
    return lowest + (v + 1) / 2 * ((double)row[DDPM_VARIANCE_HIGHEST] - lowest);
}

/* The inputs of the two loss operations. */
struct term {
    const struct ddpm_tensor *answer, *noise, *x, *rows;
};

/* 2·√(2/π)·(u + 0.044715·u³): Φ(u) = 1/(1 + e^-this) */
static double logit(double u)
{
    return 1.59576912160573071176 * (u + 0.044715 * u * u * u);
}

static double logistic(double w)
{
    return 1 / (1 + exp(-w));
}

/* u·Φ'(u), 0 where Φ is 0 or 1. */
static double slope(double u)
{
    const double w = logit(u), product = logistic(w) * logistic(-w);
    return product > 0 ? product * 1.59576912160573071176 * (1 + 0.134145 * u * u) * u : product;
}

/* -ln of the probability of the value x, whose mean is off by d, and its derivative with respect to
 * l. */
static double decoder(double l, double d, double x, double *by_l)
{
    const double s = exp(-l / 2), above = s * (d + 1.0 / 255), below = s * (d - 1.0 / 255);
    double p, change;
    if (x < -0.999) {
        p = logistic(logit(above));
        change = slope(above);
    } else if (x > 0.999) {
        p = logistic(-logit(below));
        change = -slope(below);
    } else { /* of two equal differences, take the one between small numbers */
        p = d > 0 ? logistic(-logit(below)) - logistic(-logit(above))
                  : logistic(logit(above)) - logistic(logit(below));
        change = slope(above) - slope(below);
    }
    *by_l = p < smallest ? 0 : change / p / 2;
    return -log(p < smallest ? smallest : p);
}

/* L of channel c of a pixel of picture b, and its derivative with respect to l. */
static double term_at(const struct term *term, int64_t b, int64_t pixel, int64_t c, double *by_l)
{
    const float *row = row_of(term->rows, b);
    const int64_t at = pixel * term->answer->pixel_stride + c;
    const double l = log_variance(row, load(term->answer, at + term->x->c));
    const double d =
        (double)row[DDPM_VARIANCE_MEAN] *
        (load(term->answer, at) - load(term->noise, pixel * term->noise->pixel_stride + c));
    if (row[DDPM_VARIANCE_DECODER] > 0)
        return decoder(l, d, load(term->x, pixel * term->x->pixel_stride + c), by_l);
    const double lowest = (double)row[DDPM_VARIANCE_LOWEST];
    const double both = exp(lowest - l) + times_exp(d * d, -l);
    *by_l = (1 - both) / 2;
    return (l - lowest - 1 + both) / 2;
}

/* Over the pictures: one sum each, in the order of the elements. */
static void loss_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct term term = {&call->in[1], &call->in[2], &call->in[3], &call->in[4]};
    const int64_t pixels = term.x->h * term.x->w;
    for (int64_t b = begin; b < end; ++b) {
        double sum = 0, unused;
        for (int64_t pixel = b * pixels; pixel < (b + 1) * pixels; ++pixel)
            for (int64_t c = 0; c < term.x->c; ++c)
                sum += term_at(&term, b, pixel, c, &unused);
        sum *= (double)row_of(term.rows, b)[DDPM_VARIANCE_WEIGHT] /
               ((double)(pixels * term.x->c) * ln2);
        ((float *)call->out[0].data)[b] =
            (float)((double)((const float *)call->in[0].data)[b] + sum);
    }
}

static ddpm_status loss_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, call->in[3].n, 1, loss_range, (void *)call);
    return DDPM_OK;
}

static bool reads(const struct ddpm_tensor *answer)
{
    const struct ddpm_tensor *noise = answer + 1, *x = answer + 2, *rows = answer + 3;
    return is_compute(answer) && is_compute(noise) && is_compute(x) && rows->dtype == DDPM_F32 &&
           answer->c == 2 * x->c && rows->c == DDPM_VARIANCE_COLUMNS;
}

static bool loss_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 && reads(&call->in[1]) && call->out[0].dtype == DDPM_F32;
}

static const struct ddpm_kernel variational_loss_kernel = {
    .name = "variational_loss_cpu", .supports = loss_supports, .run = loss_run};
KERNELS_OF_ALL_LEVELS(variational_loss, &variational_loss_kernel);

static void store(const struct ddpm_tensor *t, int64_t i, double value)
{
    if (t->dtype == DDPM_F32)
        ((float *)t->data)[i] = (float)value;
    else
        ((uint16_t *)t->data)[i] = ddpm_float_to_bf16((float)value);
}

/* Over the pixels. */
static void backward_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct term term = {&call->in[0], &call->in[1], &call->in[2], &call->in[3]};
    const struct ddpm_tensor *dv = &call->out[0];
    const double all = (double)call->attributes.scale / ((double)ddpm_tensor_count(dv) * ln2) / 2;
    for (int64_t pixel = begin; pixel < end; ++pixel) {
        const int64_t b = pixel / (dv->h * dv->w);
        const float *row = row_of(term.rows, b);
        const double scale =
            all * (double)row[DDPM_VARIANCE_WEIGHT] *
            ((double)row[DDPM_VARIANCE_HIGHEST] - (double)row[DDPM_VARIANCE_LOWEST]);
        for (int64_t c = 0; c < dv->c; ++c) {
            double by_l;
            term_at(&term, b, pixel, c, &by_l);
            store(dv, pixel * dv->pixel_stride + c, scale * by_l);
        }
    }
}

static ddpm_status backward_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]), PIXEL_GRAIN,
                      backward_range, (void *)call);
    return DDPM_OK;
}

static bool backward_supports(const struct ddpm_call *call)
{
    return reads(&call->in[0]) && is_compute(&call->out[0]);
}

static const struct ddpm_kernel variational_loss_backward_kernel = {
    .name = "variational_loss_backward_cpu", .supports = backward_supports, .run = backward_run};
KERNELS_OF_ALL_LEVELS(variational_loss_backward, &variational_loss_backward_kernel);

/* Over the pixels. */
static void noise_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *v = &call->in[0], *z = &call->in[1], *y = &call->out[0];
    for (int64_t pixel = begin; pixel < end; ++pixel) {
        const float *row = row_of(&call->in[2], pixel / (v->h * v->w));
        for (int64_t c = 0; c < v->c; ++c) {
            const double l = log_variance(row, load(v, pixel * v->pixel_stride + c));
            store(y, pixel * y->pixel_stride + c,
                  times_exp(load(z, pixel * z->pixel_stride + c), l / 2));
        }
    }
}

static ddpm_status noise_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]), PIXEL_GRAIN,
                      noise_range, (void *)call);
    return DDPM_OK;
}

static bool noise_supports(const struct ddpm_call *call)
{
    return is_compute(&call->in[0]) && is_compute(&call->in[1]) && call->in[2].dtype == DDPM_F32 &&
           is_compute(&call->out[0]);
}

static const struct ddpm_kernel scale_noise_kernel = {
    .name = "scale_noise_cpu", .supports = noise_supports, .run = noise_run};
KERNELS_OF_ALL_LEVELS(scale_noise, &scale_noise_kernel);

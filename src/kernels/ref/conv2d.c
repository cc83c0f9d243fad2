/* Convolution and its two gradients, computed from the definition.
 *
 *     y[b,h,w,k] = bias[k] + residual[b,h,w,k] + Σ_{r,s,c} w[k,r,s,c]·x[b, h·stride+r-pad,
 * w·stride+s-pad, c]
 *
 * Each loop is parallel over its outputs, so the result never depends on the threads. */
#include "kernels/ref/ref.h"

/* Pixel p of `t` as image, row and column. */
struct place {
    int64_t n, h, w;
};

static struct place place_of(const struct ddpm_tensor *t, int64_t p)
{
    return (struct place){p / (t->h * t->w), p / t->w % t->h, p % t->w};
}

/* Index of w[k,r,s,0] as a pixel of the weights. */
static int64_t tap(const struct ddpm_tensor *w, int64_t k, int64_t r, int64_t s)
{
    return ref_pixel(w, k, r, s);
}

/* Σ_{r,s,c} w[k,r,s,c]·x[…] for one output element. */
static double correlate(const struct ddpm_call *call, struct place at, int64_t k)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *x = &call->in[0], *w = &call->in[1];
    double sum = 0;
    for (int64_t r = 0; r < w->h; ++r) {
        for (int64_t s = 0; s < w->w; ++s) {
            int64_t h = at.h * a->stride + r - a->padding, v = at.w * a->stride + s - a->padding;
            if (!ref_inside(x, h, v))
                continue;
            int64_t from = ref_pixel(x, at.n, h, v), weights = tap(w, k, r, s);
            for (int64_t c = 0; c < x->c; ++c)
                sum += ref_get(w, weights, c) * ref_get(x, from, c);
        }
    }
    return sum;
}

static void forward_pixels(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *bias = &call->in[2], *residual = &call->in[3], *y = &call->out[0];
    for (int64_t p = begin; p < end; ++p) {
        const struct place at = place_of(y, p);
        for (int64_t k = 0; k < y->c; ++k) {
            double sum = correlate(call, at, k);
            if (ddpm_tensor_present(bias))
                sum += ref_get(bias, 0, k);
            if (ddpm_tensor_present(residual))
                sum += ref_get(residual, p, k);
            ref_set(y, p, k, sum);
        }
    }
}

/* in: x [B,H,W,C], w [K,R,S,C], bias [1,1,1,K]?, residual [B,H',W',K]?; out: y [B,H',W',K] */
ddpm_status ddpm_ref_conv2d(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]), 16, forward_pixels,
                      (void *)call);
    return DDPM_OK;
}

/* Output row (or column) that reads input row `at` through tap r: (at + pad - r)/stride, or -1. */
static int64_t reader(int64_t at, int64_t r, const struct ddpm_attributes *a)
{
    int64_t shifted = at + a->padding - r;
    return shifted >= 0 && shifted % a->stride == 0 ? shifted / a->stride : -1;
}

static void backward_data_pixels(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *dy = &call->in[0], *w = &call->in[1], *dx = &call->out[0];
    for (int64_t p = begin; p < end; ++p) {
        struct place at = place_of(dx, p);
        for (int64_t c = 0; c < dx->c; ++c) {
            double sum = 0;
            for (int64_t r = 0; r < w->h; ++r) {
                for (int64_t s = 0; s < w->w; ++s) {
                    int64_t h = reader(at.h, r, &call->attributes);
                    int64_t v = reader(at.w, s, &call->attributes);
                    if (!ref_inside(dy, h, v))
                        continue;
                    int64_t from = ref_pixel(dy, at.n, h, v);
                    for (int64_t k = 0; k < dy->c; ++k)
                        sum += ref_get(w, tap(w, k, r, s), c) * ref_get(dy, from, k);
                }
            }
            ref_set(dx, p, c, sum);
        }
    }
}

/* dx[b,i,j,c] = Σ_{k,r,s} w[k,r,s,c]·dy[b,h,w,k] over h·stride+r-pad = i, w·stride+s-pad = j.
 * in: dy [B,H',W',K], w [K,R,S,C]; out: dx [B,H,W,C] */
ddpm_status ddpm_ref_conv2d_backward_data(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]), 16,
                      backward_data_pixels, (void *)call);
    return DDPM_OK;
}

/* Σ_{b,h,w} dy[b,h,w,k]·x[…,c], the gradient of w[k,r,s,c]; `weight` is (k,r,s). */
static double weight_gradient(const struct ddpm_call *call, struct place weight, int64_t c)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *x = &call->in[0], *dy = &call->in[1];
    double sum = 0;
    for (int64_t n = 0; n < dy->n; ++n) {
        for (int64_t i = 0; i < dy->h; ++i) {
            for (int64_t j = 0; j < dy->w; ++j) {
                int64_t h = i * a->stride + weight.h - a->padding;
                int64_t v = j * a->stride + weight.w - a->padding;
                if (ref_inside(x, h, v))
                    sum += ref_get(dy, ref_pixel(dy, n, i, j), weight.n) *
                           ref_get(x, ref_pixel(x, n, h, v), c);
            }
        }
    }
    return sum;
}

/* `filters` are the taps (k,r,s) = pixels of dw. */
static void backward_weight_filters(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *dw = &call->out[0];
    for (int64_t filter = begin; filter < end; ++filter) {
        const struct place weight = place_of(dw, filter);
        for (int64_t c = 0; c < dw->c; ++c)
            ref_add(call, 0, filter, c, weight_gradient(call, weight, c));
    }
}

/* dw[k,r,s,c] += Σ_{b,h,w} dy[b,h,w,k]·x[b, h·stride+r-pad, w·stride+s-pad, c];  dbias[k] += Σ dy.
 * in: x [B,H,W,C], dy [B,H',W',K]; out: dw [K,R,S,C] +=, dbias [1,1,1,K]? += */
ddpm_status ddpm_ref_conv2d_backward_weight(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dy = &call->in[1], *dbias = &call->out[1];
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]), 1,
                      backward_weight_filters, (void *)call);
    for (int64_t k = 0; ddpm_tensor_present(dbias) && k < dbias->c; ++k) {
        double sum = 0;
        for (int64_t p = 0; p < ddpm_tensor_pixels(dy); ++p)
            sum += ref_get(dy, p, k);
        ref_add(call, 1, 0, k, sum);
    }
    return DDPM_OK;
}

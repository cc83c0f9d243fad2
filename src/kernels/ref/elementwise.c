/* Sums and products of activations, and their conversion. */
#include "kernels/ref/ref.h"

/* y = x in y's dtype. in: x [B,H,W,C]; out: y */
ddpm_status ddpm_ref_convert(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p)
        for (int64_t c = 0; c < y->c; ++c)
            ref_set(y, p, c, ref_get(x, p, c));
    return DDPM_OK;
}

/* y = a + b, all [B,H,W,C]; y may be a or b. */
ddpm_status ddpm_ref_add(const struct ddpm_call *call)
{
    const struct ddpm_tensor *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p)
        for (int64_t c = 0; c < y->c; ++c)
            ref_set(y, p, c, ref_get(a, p, c) + ref_get(b, p, c));
    return DDPM_OK;
}

/* y[b,h,w,c] = x[b,h,w,c] + v[b,c]. in: x [B,H,W,C], v [B,1,1,C]; out: y (may be x) */
ddpm_status ddpm_ref_add_channels(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *v = &call->in[1], *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p)
        for (int64_t c = 0; c < y->c; ++c)
            ref_set(y, p, c, ref_get(x, p, c) + ref_get(v, p / (y->h * y->w), c));
    return DDPM_OK;
}

/* y[b,c] = Σ_{h,w} x[b,h,w,c]. in: x [B,H,W,C]; out: y [B,1,1,C] */
ddpm_status ddpm_ref_sum_pixels(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    const int64_t image = x->h * x->w;
    for (int64_t n = 0; n < y->n; ++n) {
        for (int64_t c = 0; c < y->c; ++c) {
            double sum = 0;
            for (int64_t p = n * image; p < (n + 1) * image; ++p)
                sum += ref_get(x, p, c);
            ref_set(y, n, c, sum);
        }
    }
    return DDPM_OK;
}

/* y[b,h,w,c] = a[b,h,w]·x[b,h,w,c]. in: a [B,H,W,1], x [B,H,W,C]; out: y (may be x) */
ddpm_status ddpm_ref_scale_pixels(const struct ddpm_call *call)
{
    const struct ddpm_tensor *a = &call->in[0], *x = &call->in[1], *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p)
        for (int64_t c = 0; c < y->c; ++c)
            ref_set(y, p, c, ref_get(a, p, 0) * ref_get(x, p, c));
    return DDPM_OK;
}

/* dx = a·dy, da[b,h,w] = Σ_c x·dy. in: a [B,H,W,1], x, dy [B,H,W,C]; out: dx (may be dy), da */
ddpm_status ddpm_ref_scale_pixels_backward(const struct ddpm_call *call)
{
    const struct ddpm_tensor *a = &call->in[0], *x = &call->in[1], *dy = &call->in[2],
                             *dx = &call->out[0], *da = &call->out[1];
    for (int64_t p = 0; p < ddpm_tensor_pixels(dx); ++p) {
        double sum = 0;
        for (int64_t c = 0; c < dx->c; ++c) {
            double gradient = ref_get(dy, p, c);
            sum += ref_get(x, p, c) * gradient;
            ref_set(dx, p, c, ref_get(a, p, 0) * gradient);
        }
        ref_set(da, p, 0, sum);
    }
    return DDPM_OK;
}

/* Depthwise convolution, stride 1: every channel has its own filter, weights [1,R,S,C].
 *
 *     y[b,h,w,c] = bias[c] + time[b,c] + Σ_{r,s} w[r,s,c]·x[b,h+r-pad,w+s-pad,c] */
#include "kernels/ref/ref.h"

/* in: x [B,H,W,C], w [1,R,S,C], bias [1,1,1,C], time [B,1,1,C]?; out: y [B,H,W,C],
 * stats [B,1,1,2]? */
ddpm_status ddpm_ref_depthwise_conv2d(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *weight = &call->in[1], *bias = &call->in[2],
                             *time = &call->in[3], *y = &call->out[0];
    const int pad = call->attributes.padding;
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p) {
        int64_t n = p / (y->h * y->w), h = p / y->w % y->h, w = p % y->w;
        for (int64_t c = 0; c < y->c; ++c) {
            double sum = ref_get(bias, 0, c);
            if (ddpm_tensor_present(time))
                sum += ref_get(time, n, c);
            for (int64_t r = 0; r < weight->h; ++r)
                for (int64_t s = 0; s < weight->w; ++s)
                    if (ref_inside(x, h + r - pad, w + s - pad))
                        sum += ref_get(weight, ref_pixel(weight, 0, r, s), c) *
                               ref_get(x, ref_pixel(x, n, h + r - pad, w + s - pad), c);
            ref_set(y, p, c, sum);
        }
    }
    if (ddpm_tensor_present(&call->out[1]))
        ddpm_ref_statistics(y, DDPM_NO_ACTIVATION, call->attributes.eps, &call->out[1]);
    return DDPM_OK;
}

/* dx[b,h,w,c] = sum[b,h,w,c] + Σ_{r,s} w[r,s,c]·dy[b,h-r+pad,w-s+pad,c].
 * in: dy [B,H,W,C], w [1,R,S,C], sum [B,H,W,C]?; out: dx [B,H,W,C] */
ddpm_status ddpm_ref_depthwise_conv2d_backward_data(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dy = &call->in[0], *weight = &call->in[1], *more = &call->in[2],
                             *dx = &call->out[0];
    const int pad = call->attributes.padding;
    for (int64_t p = 0; p < ddpm_tensor_pixels(dx); ++p) {
        int64_t n = p / (dx->h * dx->w), h = p / dx->w % dx->h, w = p % dx->w;
        for (int64_t c = 0; c < dx->c; ++c) {
            double sum = ddpm_tensor_present(more) ? ref_get(more, p, c) : 0;
            for (int64_t r = 0; r < weight->h; ++r)
                for (int64_t s = 0; s < weight->w; ++s)
                    if (ref_inside(dy, h - r + pad, w - s + pad))
                        sum += ref_get(weight, ref_pixel(weight, 0, r, s), c) *
                               ref_get(dy, ref_pixel(dy, n, h - r + pad, w - s + pad), c);
            ref_set(dx, p, c, sum);
        }
    }
    return DDPM_OK;
}

/* Σ_{b,h,w} dy[b,h,w,c]·x[b,h+r-pad,w+s-pad,c] */
static double weight_gradient(const struct ddpm_call *call, int64_t r, int64_t s, int64_t c)
{
    const struct ddpm_tensor *x = &call->in[0], *dy = &call->in[1];
    const int64_t down = r - call->attributes.padding, right = s - call->attributes.padding;
    double sum = 0;
    for (int64_t n = 0; n < dy->n; ++n)
        for (int64_t h = 0; h < dy->h; ++h)
            for (int64_t w = 0; w < dy->w; ++w)
                if (ref_inside(x, h + down, w + right))
                    sum += ref_get(dy, ref_pixel(dy, n, h, w), c) *
                           ref_get(x, ref_pixel(x, n, h + down, w + right), c);
    return sum;
}

/* in: x, dy [B,H,W,C]; out: dw [1,R,S,C] +=, dbias [1,1,1,C] += Σ_{b,h,w} dy,
 * dtime [B,1,1,C]? = Σ_{h,w} dy */
ddpm_status ddpm_ref_depthwise_conv2d_backward_weight(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dy = &call->in[1], *dw = &call->out[0], *dbias = &call->out[1],
                             *dtime = &call->out[2];
    const int64_t image = dy->h * dy->w;
    for (int64_t r = 0; r < dw->h; ++r)
        for (int64_t s = 0; s < dw->w; ++s)
            for (int64_t c = 0; c < dw->c; ++c)
                ref_add(call, 0, ref_pixel(dw, 0, r, s), c, weight_gradient(call, r, s, c));
    for (int64_t c = 0; c < dy->c; ++c) {
        double total = 0;
        for (int64_t n = 0; n < dy->n; ++n) {
            double sum = 0;
            for (int64_t p = n * image; p < (n + 1) * image; ++p)
                sum += ref_get(dy, p, c);
            if (ddpm_tensor_present(dtime))
                ref_set(dtime, n, c, sum);
            total += sum;
        }
        if (ddpm_tensor_present(dbias))
            ref_add(call, 1, 0, c, total);
    }
    return DDPM_OK;
}

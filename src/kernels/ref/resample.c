/* Concatenation of channels, and nearest-neighbour upsampling with its gradient. */
#include "kernels/ref/ref.h"

/* Copy `part` into channels [first, first + part.C) of y, unless it already is that view. */
static void place_channels(const struct ddpm_tensor *part, const struct ddpm_tensor *y,
                           int64_t first)
{
    const size_t offset = (size_t)first * ddpm_dtype_size(y->dtype);
    if (part->data == (char *)y->data + offset && part->pixel_stride == y->pixel_stride)
        return;
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p)
        for (int64_t c = 0; c < part->c; ++c)
            ref_set(y, p, first + c, ref_get(part, p, c));
}

/* in: a [B,H,W,Ca], b [B,H,W,Cb]; out: y [B,H,W,Ca+Cb] */
ddpm_status ddpm_ref_concat(const struct ddpm_call *call)
{
    place_channels(&call->in[0], &call->out[0], 0);
    place_channels(&call->in[1], &call->out[0], call->in[0].c);
    return DDPM_OK;
}

/* y[b,h,w,c] = x[b,h/2,w/2,c]. in: x [B,H,W,C]; out: y [B,2H,2W,C] */
ddpm_status ddpm_ref_upsample(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    for (int64_t n = 0; n < y->n; ++n)
        for (int64_t h = 0; h < y->h; ++h)
            for (int64_t w = 0; w < y->w; ++w)
                for (int64_t c = 0; c < y->c; ++c)
                    ref_set(y, ref_pixel(y, n, h, w), c,
                            ref_get(x, ref_pixel(x, n, h / 2, w / 2), c));
    return DDPM_OK;
}

/* dx[b,h,w,c] = Σ_{i,j∈{0,1}} dy[b,2h+i,2w+j,c]. in: dy [B,2H,2W,C]; out: dx [B,H,W,C] */
ddpm_status ddpm_ref_upsample_backward(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dy = &call->in[0], *dx = &call->out[0];
    for (int64_t n = 0; n < dx->n; ++n) {
        for (int64_t h = 0; h < dx->h; ++h) {
            for (int64_t w = 0; w < dx->w; ++w) {
                int64_t top = ref_pixel(dy, n, 2 * h, 2 * w), bottom = top + dy->w;
                for (int64_t c = 0; c < dx->c; ++c)
                    ref_set(dx, ref_pixel(dx, n, h, w), c,
                            ref_get(dy, top, c) + ref_get(dy, top + 1, c) + ref_get(dy, bottom, c) +
                                ref_get(dy, bottom + 1, c));
            }
        }
    }
    return DDPM_OK;
}

/* When and where: the sinusoidal embedding of the timestep (Vaswani et al. 2017, in the form of Ho
 * et al. 2020), and the coordinates of the pixels. */
#include <math.h>

#include "kernels/ref/ref.h"

/* y[b] = [sin(t_b·f_i), cos(t_b·f_i)], f_i = exp(-i·ln θ/(F/2-1)), i < F/2.
 * in: t int32 or floating [B,1,1,1]; out: y [B,1,1,F], F even and at least 4 */
ddpm_status ddpm_ref_timestep_embedding(const struct ddpm_call *call)
{
    const struct ddpm_tensor *t = &call->in[0], *y = &call->out[0];
    const int64_t half = y->c / 2;
    for (int64_t n = 0; n < y->n; ++n) {
        for (int64_t i = 0; i < half; ++i) {
            double frequency = exp(-(double)i * log(call->attributes.theta) / (double)(half - 1));
            double angle = ref_get(t, n, 0) * frequency;
            ref_set(y, n, i, sin(angle));
            ref_set(y, n, half + i, cos(angle));
        }
    }
    return DDPM_OK;
}

/* y[b,h,w] = ((2·(top_b+h)+1)/H - 1, (2·(left_b+w)+1)/W - 1), H and W: picture_h and picture_w.
 * in: corners int32 [B,1,1,2] = (top, left), or absent: (0, 0); out: y [B,H,W,2] */
ddpm_status ddpm_ref_coordinates(const struct ddpm_call *call)
{
    const struct ddpm_tensor *corners = &call->in[0], *y = &call->out[0];
    const double height = call->attributes.picture_h, width = call->attributes.picture_w;
    const bool given = ddpm_tensor_present(corners);
    for (int64_t n = 0; n < y->n; ++n) {
        const double top = given ? ref_get(corners, n, 0) : 0;
        const double left = given ? ref_get(corners, n, 1) : 0;
        for (int64_t h = 0; h < y->h; ++h) {
            for (int64_t w = 0; w < y->w; ++w) {
                const int64_t p = ref_pixel(y, n, h, w);
                ref_set(y, p, 0, (2 * (top + (double)h) + 1 - height) / height);
                ref_set(y, p, 1, (2 * (left + (double)w) + 1 - width) / width);
            }
        }
    }
    return DDPM_OK;
}

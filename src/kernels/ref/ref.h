/* The reference kernels: scalar C that follows the formulas of ops.inc word for word. They are the
 * specification that every other backend is tested against, so nothing here is blocked or fused,
 * and everything is computed in double and rounded once, when stored, to the dtype of its tensor.
 * Every tensor may have any dtype, mixed as the caller likes. */
#ifndef DDPM_KERNELS_REF_REF_H
#define DDPM_KERNELS_REF_REF_H

#include "core/threads.h"
#include "kernels/backend.h"

/* Element c of pixel p, p = (n*H + h)*W + w. fp64, in which the tests run, is spared the call. */
static inline double ref_get(const struct ddpm_tensor *t, int64_t p, int64_t c)
{
    if (t->dtype == DDPM_F64)
        return ((const double *)t->data)[p * t->pixel_stride + c];
    return ddpm_load(t->data, t->dtype, p * t->pixel_stride + c);
}

static inline void ref_set(const struct ddpm_tensor *t, int64_t p, int64_t c, double value)
{
    ddpm_store(t->data, t->dtype, p * t->pixel_stride + c, value);
}

static inline void ref_add(const struct ddpm_tensor *t, int64_t p, int64_t c, double value)
{
    ref_set(t, p, c, ref_get(t, p, c) + value);
}

static inline int64_t ref_pixel(const struct ddpm_tensor *t, int64_t n, int64_t h, int64_t w)
{
    return (n * t->h + h) * t->w + w;
}

static inline bool ref_inside(const struct ddpm_tensor *t, int64_t h, int64_t w)
{
    return h >= 0 && h < t->h && w >= 0 && w < t->w;
}

/* f(x) and f'(x) of an enum ddpm_activation. */
double ddpm_ref_activate(enum ddpm_activation activation, double x);
double ddpm_ref_activate_derivative(enum ddpm_activation activation, double x);

/* stats [B,1,1,2] = (mean, 1/√(var + eps)) of f(x), per image. */
void ddpm_ref_statistics(const struct ddpm_tensor *x, enum ddpm_activation f, float eps,
                         const struct ddpm_tensor *stats);

ddpm_status ddpm_ref_conv2d(const struct ddpm_call *call);
ddpm_status ddpm_ref_conv2d_backward_data(const struct ddpm_call *call);
ddpm_status ddpm_ref_conv2d_backward_weight(const struct ddpm_call *call);
ddpm_status ddpm_ref_depthwise_conv2d(const struct ddpm_call *call);
ddpm_status ddpm_ref_depthwise_conv2d_backward_data(const struct ddpm_call *call);
ddpm_status ddpm_ref_depthwise_conv2d_backward_weight(const struct ddpm_call *call);
ddpm_status ddpm_ref_group_norm(const struct ddpm_call *call);
ddpm_status ddpm_ref_group_norm_backward(const struct ddpm_call *call);
ddpm_status ddpm_ref_activation(const struct ddpm_call *call);
ddpm_status ddpm_ref_activation_backward(const struct ddpm_call *call);
ddpm_status ddpm_ref_add(const struct ddpm_call *call);
ddpm_status ddpm_ref_add_channels(const struct ddpm_call *call);
ddpm_status ddpm_ref_sum_pixels(const struct ddpm_call *call);
ddpm_status ddpm_ref_concat(const struct ddpm_call *call);
ddpm_status ddpm_ref_upsample(const struct ddpm_call *call);
ddpm_status ddpm_ref_upsample_backward(const struct ddpm_call *call);
ddpm_status ddpm_ref_scale_pixels(const struct ddpm_call *call);
ddpm_status ddpm_ref_scale_pixels_backward(const struct ddpm_call *call);
ddpm_status ddpm_ref_timestep_embedding(const struct ddpm_call *call);
ddpm_status ddpm_ref_normalize_pictures(const struct ddpm_call *call);
ddpm_status ddpm_ref_draw_timesteps(const struct ddpm_call *call);
ddpm_status ddpm_ref_draw_normal(const struct ddpm_call *call);
ddpm_status ddpm_ref_draw_normal_prepare(struct ddpm_call *call);
ddpm_status ddpm_ref_convert(const struct ddpm_call *call);
ddpm_status ddpm_ref_q_sample(const struct ddpm_call *call);
ddpm_status ddpm_ref_gather_rows(const struct ddpm_call *call);
ddpm_status ddpm_ref_combine(const struct ddpm_call *call);
ddpm_status ddpm_ref_loss(const struct ddpm_call *call);
ddpm_status ddpm_ref_loss_backward(const struct ddpm_call *call);
ddpm_status ddpm_ref_reverse_step(const struct ddpm_call *call);
ddpm_status ddpm_ref_gradient_norm(const struct ddpm_call *call);
ddpm_status ddpm_ref_adamw(const struct ddpm_call *call);

#endif

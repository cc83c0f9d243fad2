/* The reference kernels: scalar C that follows the formulas of ops.inc literally. Every other
 * backend is tested against them, so nothing here is blocked or fused. Everything is computed in
 * double and rounded once, to the tensor's dtype, when stored. Tensors may have any mix of
 * dtypes. */
#ifndef DDPM_KERNELS_REF_REF_H
#define DDPM_KERNELS_REF_REF_H

#include "core/threads.h"
#include "kernels/backend.h"

/* Element c of pixel p, p = (n*H + h)*W + w. */
static inline double ref_get(const struct ddpm_tensor *t, int64_t p, int64_t c)
{
    return ddpm_load(t->data, t->dtype, p * t->pixel_stride + c);
}

static inline void ref_set(const struct ddpm_tensor *t, int64_t p, int64_t c, double value)
{
    ddpm_store(t->data, t->dtype, p * t->pixel_stride + c, value);
}

/* Add to output `o`, or write it if the call overwrites it. */
static inline void ref_add(const struct ddpm_call *call, int o, int64_t p, int64_t c, double value)
{
    const struct ddpm_tensor *t = &call->out[o];
    ref_set(t, p, c, ddpm_call_overwrites(call, o) ? value : ref_get(t, p, c) + value);
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

/* One kernel for every operation, named after it. */
#define OP(id, name, ...) ddpm_status ddpm_ref_##name(const struct ddpm_call *call);
#include "kernels/ops.inc"
#undef OP

#endif

/* Winograd's transforms F(4,3) in one dimension, see winograd.h for the matrices. Even and odd
 * powers of ±a and ±b are computed once for both signs. */
#ifndef DDPM_KERNELS_CPU_WINOGRAD_1D_H
#define DDPM_KERNELS_CPU_WINOGRAD_1D_H

#include "kernels/cpu/conv.h"
#include "kernels/cpu/element.h"

enum { F43_PLACES = 6, F43_PIXELS = 4, F43_TAPS = 3 };

/* A 3×3 convolution of fp32 from x to y, or back, for which F(4,3) along the rows pays: most tiles
 * do not hang over the edge, and a picture has at least `least` of them. */
static inline bool winograd_rows_suit(const struct ddpm_call *call, const struct ddpm_tensor *x,
                                      const struct ddpm_tensor *y, int64_t least)
{
    const struct ddpm_attributes *at = &call->attributes;
    const int64_t columns = ddpm_ceil_div(x->w, F43_PIXELS);
    return !call->device->direct && x->dtype == DDPM_F32 && y->dtype == DDPM_F32 &&
           at->kernel_h == F43_TAPS && at->kernel_w == F43_TAPS && at->stride == 1 &&
           at->padding == 1 && x->c % LANES == 0 && y->c % LANES == 0 &&
           2 * columns * F43_PIXELS <= 3 * x->w && columns * x->h >= least;
}

#define A1 0.625f
#define A2 (A1 * A1)
#define A3 (A1 * A2)
#define B1 1.5f
#define B2 (B1 * B1)
#define B3 (B1 * B2)
#define P_INVERSE (1.0f / (2.0f * A2 * (A2 - B2)))
#define Q_INVERSE (1.0f / (2.0f * B2 * (B2 - A2)))

/* t = Bᵀ d */
ALWAYS_INLINE void input_1d(const vf d[6], vf t[6])
{
    vf even_a = d[4] - B2 * d[2], odd_a = A1 * (d[3] - B2 * d[1]);
    vf even_b = d[4] - A2 * d[2], odd_b = B1 * (d[3] - A2 * d[1]);
    t[0] = A2 * B2 * d[0] - (A2 + B2) * d[2] + d[4];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = A2 * B2 * d[1] - (A2 + B2) * d[3] + d[5];
}

/* t = A d */
ALWAYS_INLINE void gradient_1d(const vf d[4], vf t[6])
{
    vf even_a = d[0] + A2 * d[2], odd_a = A1 * d[1] + A3 * d[3];
    vf even_b = d[0] + B2 * d[2], odd_b = B1 * d[1] + B3 * d[3];
    t[0] = d[0];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = d[3];
}

/* y = Aᵀ p */
ALWAYS_INLINE void output_1d(const vf p[6], vf y[4])
{
    vf even_a = p[1] + p[2], odd_a = p[1] - p[2], even_b = p[3] + p[4], odd_b = p[3] - p[4];
    y[0] = p[0] + even_a + even_b;
    y[1] = A1 * odd_a + B1 * odd_b;
    y[2] = A2 * even_a + B2 * even_b;
    y[3] = A3 * odd_a + B3 * odd_b + p[5];
}

/* u = G w */
ALWAYS_INLINE void weights_1d(const vf w[3], vf u[6])
{
    vf even_a = P_INVERSE * (w[0] + A2 * w[2]), odd_a = P_INVERSE * A1 * w[1];
    vf even_b = Q_INVERSE * (w[0] + B2 * w[2]), odd_b = Q_INVERSE * B1 * w[1];
    u[0] = 1.0f / (A2 * B2) * w[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = w[2];
}

/* w = Gᵀ p */
ALWAYS_INLINE void weight_gradient_1d(const vf p[6], vf w[3])
{
    vf even_a = P_INVERSE * (p[1] + p[2]), odd_a = P_INVERSE * A1 * (p[1] - p[2]);
    vf even_b = Q_INVERSE * (p[3] + p[4]), odd_b = Q_INVERSE * B1 * (p[3] - p[4]);
    w[0] = 1.0f / (A2 * B2) * p[0] + even_a + even_b;
    w[1] = odd_a + odd_b;
    w[2] = A2 * even_a + B2 * even_b + p[5];
}

#undef A1
#undef A2
#undef A3
#undef B1
#undef B2
#undef B3
#undef P_INVERSE
#undef Q_INVERSE

#endif

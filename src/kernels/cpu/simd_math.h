/* Elementary functions on vectors: exp, and the normal distribution that GELU needs.
 *
 * exp(a): a = n·ln 2 + r, |r| ≤ ln 2 / 2, exp(r) = 1 + r + r²·q(r) with q of degree 4, relative
 * error below 1.5e-7.
 *
 * Φ(x): with u = |x|, the upper tail is Q(u) = exp(-u²/2)·P(u), P(u) = erfcx(u/√2)/2. P falls from
 * 1/2 like 1/(u√(2π)), so P(u)·(u + k) is nearly constant. A polynomial of degree 9 in u/(u + k) -
 * 1/2, k = 3.5, approximates it with a relative error of 5.3e-9 on [0, 13.25] (minimax fit, Remez;
 * the change of variable is that of Shepherd & Laframboise 1981). u² is split into a part that is
 * exact in fp32 and a small rest, because its rounding alone would cost 40 ulp in the tail. Beyond
 * u = 13.2, Q is below the smallest normal number and taken as 0. x·Φ(x) has a relative error
 * below 3.5e-7 for every x, worst below x = -10.
 *
 * If the result is rounded to bf16, with its eight bits, a third of the work is enough: Φ(u) - 1/2
 * and its sum with u·φ(u) are computed as u·P(2u²/4.5² - 1), |u| ≤ 4.5. P is minimax, of degree 8
 * and 9, under the condition that u = ±4.5 gives ±1/2. Because 1/2 is rounded, 3e-8·x is left
 * beyond that, which is almost nothing. Absolute error of x·Φ(x) 8e-5, of its derivative 7e-5. */
#ifndef DDPM_KERNELS_CPU_SIMD_MATH_H
#define DDPM_KERNELS_CPU_SIMD_MATH_H

#include "kernels/cpu/simd.h"

/* exp(a + rest), a in [-87.3, 88], |rest| « 1. */
static inline vf vf_exp_split(vf a, vf rest)
{
    const vf magic = vf_set(12582912.0f); /* 1.5·2^23: adding it rounds to an integer */
    vf shifted = a * vf_set(1.44269504f) + magic;
    vf n = shifted - magic;
    vf r = a - n * vf_set(0.693145752f); /* 16 bits of ln 2, so that the product is exact */
    r = r - n * vf_set(1.42860677e-6f);
    r = r + rest;
    vf q = vf_set(0.00139291254f);
    q = q * r + vf_set(0.00836553411f);
    q = q * r + vf_set(0.0416665363f);
    q = q * r + vf_set(0.166665623f);
    q = q * r + vf_set(0.5f);
    vf e = 1.0f + (r + r * r * q);
    return (vf)((vu)e + ((vu)shifted << 23));
}

/* Outside [-87.3, 88] the result is that of the nearest bound; NaN stays NaN. */
static inline vf vf_exp(vf a)
{
    vf clamped = vf_select((vi)(a < vf_set(-87.3f)), vf_set(-87.3f), a);
    clamped = vf_select((vi)(clamped > vf_set(88.0f)), vf_set(88.0f), clamped);
    vf e = vf_exp_split(vf_select((vi)(a == a), clamped, (vf){0}), (vf){0});
    return vf_select((vi)(a == a), e, a);
}

static inline vf vf_relu(vf x)
{
    /* Written so that NaN passes through. */
    return (vf)((vi)x & ~(vi)(x < 0));
}

/* Q(u), u ≥ 0, as two factors, neither of them subnormal: P(u), and *exponential = exp(-u²/2) =
 * φ(u)·√(2π), or 0 if u > 13.2. */
static inline vf vf_normal_tail(vf u, vf *exponential)
{
    vf high = (vf)((vu)u & 0xfffff000);
    vf e = vf_exp_split(-0.5f * (high * high), -0.5f * ((u - high) * (u + high)));
    e = (vf)((vi)e & (vi)(u < vf_set(13.2f)));
    vf inverse = 1.0f / (u + 3.5f);
    vf z = u * inverse - 0.5f;
    vf p = vf_set(0.0593404994f);
    p = p * z + vf_set(0.110507075f);
    p = p * z + vf_set(-0.0632068538f);
    p = p * z + vf_set(-0.203615696f);
    p = p * z + vf_set(0.207717218f);
    p = p * z + vf_set(0.278522311f);
    p = p * z + vf_set(-0.928421243f);
    p = p * z + vf_set(1.26169984f);
    p = p * z + vf_set(-1.13112352f);
    p = p * z + vf_set(0.744416075f);
    *exponential = e;
    return p * inverse;
}

/* x·Φ(x) = max(x, 0) - u·Q(u), u = |x| */
static inline vf vf_gelu(vf x)
{
    vf u = (vf)((vu)x & 0x7fffffff), exponential, factor = vf_normal_tail(u, &exponential);
    return vf_relu(x) - (u * factor) * exponential;
}

/* x·Φ(x), and its derivative Φ(x) + x·φ(x). */
static inline vf vf_gelu_with_slope(vf x, vf *slope)
{
    vf u = (vf)((vu)x & 0x7fffffff), exponential, factor = vf_normal_tail(u, &exponential);
    vf below = (factor - u * vf_set(0.398942280f)) * exponential;
    *slope = vf_select((vi)(x < 0), below, 1.0f - below);
    return vf_relu(x) - (u * factor) * exponential;
}

/* u: x clamped to ±4.5; *t = 2u²/4.5² - 1. */
static inline vf vf_gelu_argument(vf x, vf *t)
{
    vf u = vf_max(vf_min(x, vf_set(4.5f)), vf_set(-4.5f));
    *t = u * u * vf_set(2 / (4.5f * 4.5f)) - 1.0f;
    return u;
}

static inline vf vf_gelu_bf16(vf x)
{
    vf t, u = vf_gelu_argument(x, &t);
    vf p = vf_set(0.00412155511f);
    p = p * t + vf_set(-0.0100396422f);
    p = p * t + vf_set(0.011125202f);
    p = p * t + vf_set(-0.0157870937f);
    p = p * t + vf_set(0.0280692735f);
    p = p * t + vf_set(-0.0409084231f);
    p = p * t + vf_set(0.0547688122f);
    p = p * t + vf_set(-0.0771413378f);
    p = p * t + vf_set(0.156902765f);
    return x * (u * p + 0.5f);
}

static inline vf vf_gelu_slope_bf16(vf x)
{
    vf t, u = vf_gelu_argument(x, &t);
    vf p = vf_set(-0.0274321496f);
    p = p * t + vf_set(0.0581600107f);
    p = p * t + vf_set(-0.0408352338f);
    p = p * t + vf_set(0.0442130119f);
    p = p * t + vf_set(-0.0902887392f);
    p = p * t + vf_set(0.106748676f);
    p = p * t + vf_set(-0.0948924975f);
    p = p * t + vf_set(0.0859312062f);
    p = p * t + vf_set(-0.0899445191f);
    p = p * t + vf_set(0.159451345f);
    return u * p + 0.5f;
}

static inline vf vf_relu_slope(vf x)
{
    return vf_select((vi)(x > 0), vf_set(1.0f), (vf){0});
}

static inline vf vf_sigmoid(vf x)
{
    return 1.0f / (1.0f + vf_exp(-x));
}

/* σ'(x) = e/(1 + e)², e = exp(-|x|): no cancellation on either side. */
static inline vf vf_sigmoid_slope(vf x)
{
    vf e = vf_exp((vf)((vu)x | 0x80000000));
    vf inverse = 1.0f / (1.0f + e);
    return e * inverse * inverse;
}

#endif

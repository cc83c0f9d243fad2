/* Winograd's minimal filtering F(4×4,3×3) (Lavin & Gray 2016; Toom-Cook with chosen points).
 *
 *   y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A     x 6×6 pixels at (4i-1, 4j-1), y 4×4 pixels at (4i, 4j)
 *   dw = Gᵀ[Σ_tiles (A dy Aᵀ) ⊙ (Bᵀ x B)]G
 *
 * 36 products per 16 pixels instead of 144. Summed over channels, the ⊙ is one matrix product for
 * each of the 36 places ("frequencies"), which are stored apart: [36][tiles][channels].
 *
 * The points are 0, ±a, ±b, ∞ with a = 5/8, b = 3/2: the relative error of a convolution is half of
 * that with the usual ±1, ±2 (docs/speed-log.md), and every constant of A and B is exact in fp32.
 *
 *   Bᵀ = | a²b²  0   -(a²+b²)  0       1 0 |   A = | 1  0  0   0  |   G = | 1/a²b²  0     0     |
 *        | 0   ∓ab²  -b²      ±a       1 0 |       | 1 ±a  a² ±a³ |       | 1/p   ±a/p   a²/p   |
 *        | 0   ∓a²b  -a²      ±b       1 0 |       | 1 ±b  b² ±b³ |       | 1/q   ±b/q   b²/q   |
 *        | 0   a²b²   0       -(a²+b²) 0 1 |       | 0  0  0   1  |       | 0       0     1     |
 *   p = 2a²(a²-b²), q = 2b²(b²-a²)
 *
 * bf16: Bᵀ x B, G w Gᵀ and A dy Aᵀ are computed in fp32 and rounded to bf16, the products are
 * summed in fp32. One convolution of random data then has a relative error of 0.012 (directly:
 * 0.002), but a whole trained network only 0.010 (directly: 0.007), because the activations are
 * rounded to bf16 between its layers in any case: docs/performance.md.
 *
 * Channels are multiples of LANES. Strides of v and d count steps of four bytes, see gemm.h. */
#ifndef DDPM_KERNELS_CPU_WINOGRAD_H
#define DDPM_KERNELS_CPU_WINOGRAD_H

#include "kernels/cpu/conv.h"

#define WINOGRAD_PLACES 36
#define WINOGRAD_CHANNELS 16 /* at every level, the channels of all tensors are multiples of it */

/* The pictures of x or y, cut into tiles of 4×4 pixels. */
struct ddpm_tiles {
    int64_t high, wide, count; /* tiles of a picture, and of all */
};

static inline struct ddpm_tiles ddpm_tiles_of(const struct ddpm_tensor *t)
{
    int64_t high = (t->h + 3) / 4, wide = (t->w + 3) / 4;
    return (struct ddpm_tiles){high, wide, t->n * high * wide};
}

/* A 3×3 convolution between tensors that Winograd suits? All activations fp32, or all bf16. */
bool SIMD(winograd_suits)(const struct ddpm_call *call, const struct ddpm_tensor *x,
                          const struct ddpm_tensor *y);

/* Bᵀ x B of a tile: v[place·stride + step], with each pixel's channels in order, in fp32 or rounded
 * to bf16 like x. `copy` holds 36·C elements of x. */
void SIMD(winograd_input)(const struct ddpm_tensor *x, int64_t tile, void *v, int64_t stride,
                          void *copy);

/* For the gradient of the weights: Bᵀ x B of `tile`, v[place·stride + c]. bf16: of `tile` and the
 * next one, in pairs, if `tiles` is 2; paired with zeros if it is 1. `copy` holds `tiles` patches
 * of 36·C elements, or of 16·K for a gradient. */
void SIMD(winograd_input_columns)(const struct ddpm_tensor *x, int64_t tile, int tiles, void *v,
                                  int64_t stride, void *copy);

/* The same for A dy Aᵀ; and the sum of the tiles' pixels in fp32 at place 36. */
void SIMD(winograd_gradient_columns)(const struct ddpm_tensor *dy, int64_t tile, int tiles, void *v,
                                     int64_t stride, void *copy);

/* y = bias + residual + Aᵀ p A of a tile, p[place·stride + k]; bias and residual may be absent. */
void SIMD(winograd_output)(const float *p, int64_t stride, const float *bias,
                           const struct ddpm_tensor *residual, const struct ddpm_tensor *y,
                           int64_t tile);

/* G w Gᵀ for GEMM_COLUMNS weights at once: w[9][GEMM_COLUMNS] → u[place·stride + column]; bf16:
 * w[2][9][GEMM_COLUMNS] of two neighbouring channels, which become pairs. */
void SIMD(winograd_weights)(const float *w, enum ddpm_dtype dtype, void *u, int64_t stride);

/* dw[(3r+s)·C + c] += (Gᵀ p G)[r][s], p[place·stride + c]. */
void SIMD(winograd_weight_gradient)(const float *p, int64_t stride, int64_t channels, bool fresh,
                                    float *dw);

#endif

/* Winograd's minimal filtering F(m×m,3×3), m = 2 or 4 (Lavin & Gray 2016; Toom-Cook with chosen
 * points).
 *
 *   y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A     x (m+2)² pixels at (m·i-1, m·j-1), y m² pixels at (m·i, m·j)
 *   dw = Gᵀ[Σ_tiles (A dy Aᵀ) ⊙ (Bᵀ x B)]G
 *
 * (m+2)² products per m² pixels instead of 9·m²: 36 instead of 144 for m = 4, 16 instead of 36 for
 * m = 2. Summed over channels, the ⊙ is one matrix product for each of the (m+2)² places
 * ("frequencies"), which lie apart: [places][tiles][channels].
 *
 * m = 4: the points are 0, ±a, ±b, ∞ with a = 5/8, b = 3/2: the relative error of a convolution is
 * half of that with the usual ±1, ±2 (docs/speed-log.md), and every constant of A and B is exact in
 * fp32.
 *
 *   Bᵀ = | a²b²  0   -(a²+b²)  0       1 0 |   A = | 1  0  0   0  |   G = | 1/a²b²  0     0     |
 *        | 0   ∓ab²  -b²      ±a       1 0 |       | 1 ±a  a² ±a³ |       | 1/p   ±a/p   a²/p   |
 *        | 0   ∓a²b  -a²      ±b       1 0 |       | 1 ±b  b² ±b³ |       | 1/q   ±b/q   b²/q   |
 *        | 0   a²b²   0       -(a²+b²) 0 1 |       | 0  0  0   1  |       | 0       0     1     |
 *   p = 2a²(a²-b²), q = 2b²(b²-a²)
 *
 * m = 2: the points are 0, ±1, ∞.
 *
 *   Bᵀ = | 1  0 -1  0 |   A = | 1  0 |   G = | 1    0   0 |
 *        | 0 ±1  1  0 |       | 1 ±1 |       | 1/2 ±1/2 1/2 |
 *        | 0 -1  0  1 |       | 0  1 |       | 0    0   1 |
 *
 * fp32 takes m = 4 throughout. bf16 rounds Bᵀ x B, G w Gᵀ and A dy Aᵀ to bf16; the products are
 * summed in fp32. That costs a relative error of 0.004 with m = 2 and of 0.012 with m = 4 (0.002
 * directly): the forward pass takes m = 2, the gradients m = 4, whose error is far below what
 * separates one batch's gradient from the next one's (docs/performance.md).
 *
 * Channels are multiples of LANES. Strides of v and d count steps of four bytes, see gemm.h. */
#ifndef DDPM_KERNELS_CPU_WINOGRAD_H
#define DDPM_KERNELS_CPU_WINOGRAD_H

#include "kernels/cpu/conv.h"

#define WINOGRAD_PLACES_MOST 36
#define WINOGRAD_CHANNELS 16 /* the channels of all tensors are multiples of it, at every level */

/* (m+2)² */
static inline int64_t ddpm_winograd_places(int m)
{
    return (int64_t)(m + 2) * (m + 2);
}

/* m of a call. */
static inline int ddpm_winograd_m(const struct ddpm_call *call)
{
    return call->op == DDPM_OP_CONV2D && call->in[0].dtype == DDPM_BF16 ? 2 : 4;
}

/* The pictures of x or y cut into tiles of m×m pixels. */
struct ddpm_tiles {
    int m;
    int64_t high, wide, count; /* tiles of a picture, and of all */
};

static inline struct ddpm_tiles ddpm_tiles_of(const struct ddpm_tensor *t, int m)
{
    int64_t high = (t->h + m - 1) / m, wide = (t->w + m - 1) / m;
    return (struct ddpm_tiles){m, high, wide, t->n * high * wide};
}

/* A 3×3 convolution between tensors that Winograd suits? All activations fp32, or all bf16. */
bool SIMD(winograd_suits)(const struct ddpm_call *call, const struct ddpm_tensor *x,
                          const struct ddpm_tensor *y);

/* Bᵀ x B of a tile: v[place·stride + step], each pixel's channels as they are, in fp32 or rounded
 * to bf16, as x is. `patch` holds (m+2)²·C elements of x. */
void SIMD(winograd_input)(const struct ddpm_tensor *x, int m, int64_t tile, void *v, int64_t stride,
                          void *patch);

/* m = 4, for the gradient of the weights: Bᵀ x B of `tile`, v[place·stride + c]; bf16: of `tile`
 * and the next one side by side, as pairs. `tiles` is 2 where the next one is there, else 1. */
void SIMD(winograd_input_columns)(const struct ddpm_tensor *x, int64_t tile, int tiles, void *v,
                                  int64_t stride, void *patch);

/* The same of A dy Aᵀ; and the sum of the tiles' pixels in fp32 at place 36. */
void SIMD(winograd_gradient_columns)(const struct ddpm_tensor *dy, int64_t tile, int tiles, void *v,
                                     int64_t stride, void *patch);

/* y = bias + residual + Aᵀ p A of a tile, p[place·stride + k]; bias and residual may be absent. */
void SIMD(winograd_output)(const float *p, int m, int64_t stride, const float *bias,
                           const struct ddpm_tensor *residual, const struct ddpm_tensor *y,
                           int64_t tile);

/* G w Gᵀ for GEMM_COLUMNS weights at once: w[9][GEMM_COLUMNS] → u[place·stride + column]; bf16:
 * w[2][9][GEMM_COLUMNS], of two neighbouring channels, which become pairs. */
void SIMD(winograd_weights)(const float *w, int m, enum ddpm_dtype dtype, void *u, int64_t stride);

/* dw[(3r+s)·C + c] += (Gᵀ p G)[r][s], p[place·stride + c], m = 4. */
void SIMD(winograd_weight_gradient)(const float *p, int64_t stride, int64_t channels, float *dw);

#endif

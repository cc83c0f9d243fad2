/* Loading bf16 tiles into shared memory for the tensor-core convolutions.
 *
 * A tile is rows of 16-byte chunks (8 bf16). The position of chunk `c` of row `r` is rotated by the
 * row, so that the eight rows read by one ldmatrix are in eight different groups of banks. */
#ifndef DDPM_KERNELS_CUDA_CONV_MMA_CUH
#define DDPM_KERNELS_CUDA_CONV_MMA_CUH

#include "kernels/cuda/conv.cuh"
#include "kernels/cuda/tensor_core.cuh"

#define MMA_THREADS 256
#define MMA_STEP 32  /* columns of depth per step */
#define MMA_STAGES 4 /* steps in flight */

/* Element offset of a chunk in a tile of rows of four chunks: two rows fill the 128 bytes of all
 * banks, so the rotation changes every second row. */
static __device__ inline int chunk4(int row, int chunk)
{
    return (row * 4 + (chunk ^ ((row >> 1) & 3))) * 8;
}

/* The same for rows of 8·n chunks. */
template <int CHUNKS> static __device__ inline int chunk_wide(int row, int chunk)
{
    return (row * CHUNKS + (chunk ^ (row & 7))) * 8;
}

/* Copy eight im2col entries (row, k..k+7) into shared memory: with one background copy if the eight
 * are adjacent (VECTOR: channels a multiple of 8), one by one otherwise. `tap` is that of k. Zeros
 * if `here` is false, and where k is beyond the depth. */
template <bool VECTOR, bool DILATED>
static __device__ inline void load_entries(bf16 *to, const bf16 *x, const struct conv_shape *s,
                                           struct conv_row row, struct conv_tap tap, int k,
                                           bool here)
{
    if constexpr (VECTOR && !DILATED) {
        copy_async(to, x + row.place + tap.place,
                   here && k < s->depth && conv_inside(s, row.h + tap.r, row.w + tap.s));
    } else if constexpr (VECTOR) {
        int64_t place = here && k < s->depth ? conv_place<true>(s, row, tap) : -1;
        copy_async(to, x + (place >= 0 ? place : 0), place >= 0);
    } else {
        float v[8];
        for (int i = 0; i < 8; ++i) {
            int64_t place = here && k + i < s->depth ? conv_place<DILATED>(s, row, tap) : -1;
            v[i] = place >= 0 ? to_float(x[place]) : 0.0f;
            conv_tap_advance(s, &tap, 1);
        }
        store<8>(to, v);
    }
}

/* Add one step of 16 of the depth: C[M·16][32] += A·B of fragments. */
template <int M>
static __device__ inline void multiply(float c[M][4][4], const uint32_t a[M][4],
                                       const uint32_t b[2][4])
{
#pragma unroll
    for (int i = 0; i < M; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
            mma_bf16(c[i][j], a[i], &b[j / 2][j % 2 * 2]);
}

/* Two neighbouring channels of a pixel; `pairs`: their address allows one access for both. */
template <class TY>
static __device__ inline void finish_pair(const struct conv_epilogue<TY> *e, int m, int n,
                                          int columns, const float sum[2], bool pairs)
{
    if (!pairs) {
        for (int k = 0; k < 2 && n + k < columns; ++k)
            conv_finish(e, m, n + k, sum[k]);
        return;
    }
    if (n >= columns)
        return;
    float low = sum[0], high = sum[1];
    if (e->bias) {
        low += e->bias[n];
        high += e->bias[n + 1];
    }
    if (e->residual.data) {
        const TY *from = e->residual.data + m * e->residual.stride + n;
        low += to_float(from[0]);
        high += to_float(from[1]);
    }
    TY *to = e->y.data + m * e->y.stride + n;
    if constexpr (sizeof(TY) == 2)
        *(uint32_t *)to = pack_bf16(low, high);
    else
        *(float2 *)to = make_float2(low, high);
}

/* One access for two channels of y (those of the residual are read one by one). */
static inline bool ddpm_conv_pairs(const struct ddpm_tensor *y)
{
    return y->c % 2 == 0 && y->pixel_stride % 2 == 0 && (uintptr_t)y->data % 8 == 0;
}

#endif

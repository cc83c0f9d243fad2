/* Tiles of the depthwise 7×7 kernels: 8×16 pixels and 64 channels per block of eight warps, a lane
 * for two neighbouring channels, the input with its border of three in shared memory. */
#ifndef DDPM_KERNELS_CUDA_DEPTHWISE_CUH
#define DDPM_KERNELS_CUDA_DEPTHWISE_CUH

#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/tensor_core.cuh"

#define TILE_H 8
#define TILE_W 16
#define TILE_C 64
#define TAPS 7
#define TILE_THREADS 256
#define BORDER_H (TILE_H + TAPS - 1)
#define BORDER_W (TILE_W + TAPS - 1)

/* The lane's two channels at one place of a tile. */
static __device__ inline void load_pair(const float *p, float x[2])
{
    float2 v = *(const float2 *)p;
    x[0] = v.x, x[1] = v.y;
}

static __device__ inline void load_pair(const bf16 *p, float x[2])
{
    unpack_bf16(*(const uint32_t *)p, &x[0], &x[1]);
}

static __device__ inline void store_pair(float *p, const float x[2])
{
    *(float2 *)p = make_float2(x[0], x[1]);
}

static __device__ inline void store_pair(bf16 *p, const float x[2])
{
    *(uint32_t *)p = pack_bf16(x[0], x[1]);
}

/* Fill tile [rows][columns][64] from image rows h0.., columns w0.., channels c0..; zeros outside. WIDE
 * elements at a time: a constant, as rows and columns are, so that nothing is divided by variables. */
template <int WIDE, class T>
static __device__ inline void fill_tile_by(T *tile, struct plane<const T> x, int64_t image_pixel,
                                           int height, int width, int channels, int h0, int w0,
                                           int c0, int rows, int columns)
{
    constexpr int per_pixel = TILE_C / WIDE;
    for (int i = (int)threadIdx.x; i < rows * columns * per_pixel; i += TILE_THREADS) {
        int pixel = i / per_pixel, c = (i % per_pixel) * WIDE;
        int h = h0 + pixel / columns, w = w0 + pixel % columns;
        bool inside = h >= 0 && h < height && w >= 0 && w < width && c0 + c < channels;
        const T *from = x.data + (image_pixel + (int64_t)h * width + w) * x.stride + c0 + c;
        T *to = tile + pixel * TILE_C + c;
        if constexpr (WIDE > 1)
            *(uint4 *)to = inside ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
        else if (inside)
            *to = *from;
        else
            from_float(to, 0.0f);
    }
}

/* `vector`: 16 bytes at a time (C a multiple of 8, addresses aligned). */
template <class T>
static __device__ inline void fill_tile(T *tile, struct plane<const T> x, int64_t image_pixel,
                                        int height, int width, int channels, int h0, int w0, int c0,
                                        int rows, int columns, bool vector)
{
    if (vector)
        fill_tile_by<16 / (int)sizeof(T)>(tile, x, image_pixel, height, width, channels, h0, w0, c0,
                                          rows, columns);
    else
        fill_tile_by<1>(tile, x, image_pixel, height, width, channels, h0, w0, c0, rows, columns);
}

#endif

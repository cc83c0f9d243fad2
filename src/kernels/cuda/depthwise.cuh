/* Tiles of the depthwise 7×7 kernels: 8×16 pixels and 64 channels per block of eight warps, one
 * lane per two neighbouring channels, the input with its border of three in shared memory. */
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

/* Fill tile [rows][columns][64] from image rows h0.., columns w0.., channels c0..; zeros outside.
 * WIDE elements at a time: a constant, like rows and columns. More than one element is 16 bytes,
 * copied in the background: a thread need not wait for one pixel before it asks for the next. It
 * keeps its channels and advances from pixel to pixel by the same distance, without divisions. */
template <int WIDE, class T>
static __device__ inline void fill_tile_by(T *tile, struct plane<const T> x, int64_t image_pixel,
                                           int height, int width, int channels, int h0, int w0,
                                           int c0, int rows, int columns)
{
    constexpr int per_pixel = TILE_C / WIDE, pixels = TILE_THREADS / per_pixel;
    int c = (int)threadIdx.x % per_pixel * WIDE, pixel = (int)threadIdx.x / per_pixel;
    int r = pixel / columns, s = pixel % columns, stride = (int)x.stride;
    const T *from = x.data + (image_pixel + h0 * width + w0) * x.stride + c0 + c;
    T *to = tile + pixel * TILE_C + c;
    bool known = c0 + c < channels;
    for (; pixel < rows * columns; pixel += pixels, to += pixels * TILE_C) {
        bool inside = known && (unsigned)(h0 + r) < (unsigned)height &&
                      (unsigned)(w0 + s) < (unsigned)width;
        const T *at = from + (int64_t)(r * width + s) * stride;
        if constexpr (WIDE > 1)
            copy_async(to, at, inside);
        else if (inside)
            *to = *at;
        else
            from_float(to, 0.0f);
        r += pixels / columns;
        s += pixels % columns;
        if (s >= columns) {
            s -= columns;
            ++r;
        }
    }
}

/* `vector`: 16 bytes at a time (C a multiple of 8, addresses aligned). copy_wait<0>() and the
 * block's barrier must come before the tile is read. */
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
    copy_commit();
}

#endif

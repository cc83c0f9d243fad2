/* One thread per vector of V channels of a pixel: the skeleton of the elementwise kernels. */
#ifndef DDPM_KERNELS_CUDA_MAP_CUH
#define DDPM_KERNELS_CUDA_MAP_CUH

#include "kernels/cuda/numeric.cuh"

#define MAP_THREADS 256

/* What thread `i` of a map works on: channels c..c+V-1 of pixel p. */
struct place {
    int64_t p;
    int c;
};

/* f(place) for every vector. F is a struct of tensors with operator(). grid: ceil(vectors/256). */
template <class F>
static __global__ void __launch_bounds__(MAP_THREADS)
    map_kernel(F f, unsigned vectors, unsigned vectors_per_pixel, int vector)
{
    unsigned i = blockIdx.x * MAP_THREADS + threadIdx.x;
    if (i >= vectors)
        return;
    unsigned p = i / vectors_per_pixel;
    f(place{(int64_t)p, (int)(i - p * vectors_per_pixel) * vector});
}

/* Run f over `pixels` × `channels` in vectors of `vector` channels. */
template <class F>
static ddpm_status ddpm_cuda_map(const struct ddpm_call *call, F f, int64_t pixels,
                                 int64_t channels, int vector)
{
    int64_t per_pixel = channels / vector, vectors = pixels * per_pixel;
    dim3 grid((unsigned)ddpm_ceil_div(vectors, MAP_THREADS));
    return ddpm_cuda_launch(call, map_kernel<F>, grid, dim3(MAP_THREADS), 0, f, (unsigned)vectors,
                            (unsigned)per_pixel, vector);
}

#endif

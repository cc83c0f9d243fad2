/* Backward weight is split along the pixels. Each split has a matrix of partial sums [K][R·S·C] in
 * scratch; they are added to dw in a fixed order. dbias is the sum of dy over its pixels. */
#ifndef DDPM_KERNELS_CUDA_CONV_WEIGHT_CUH
#define DDPM_KERNELS_CUDA_CONV_WEIGHT_CUH

#include "kernels/cuda/conv.cuh"
#include "kernels/cuda/reduce.cuh"

/* Number of splits with which all blocks run at once, if there are `tiles` tiles and two blocks fit
 * on a multiprocessor, with at least `least` pixels each. One split more, and a few blocks would run
 * after all others. */
static inline int ddpm_conv_splits(const struct ddpm_call *call, int64_t tiles, int64_t least)
{
    int64_t pixels = ddpm_tensor_pixels(&call->in[1]);
    int64_t wanted = 2 * ddpm_cuda_device_of(call)->multiprocessors / tiles;
    int64_t most = ddpm_ceil_div(pixels, least);
    int64_t splits = wanted < most ? wanted : most;
    return splits < 1 ? 1 : (int)(splits < 65535 ? splits : 65535);
}

static inline size_t ddpm_conv_weight_bytes(const struct ddpm_call *call, int splits)
{
    const struct ddpm_tensor *dy = &call->in[1];
    size_t partial = (size_t)splits * (size_t)ddpm_tensor_count(&call->out[0]) * sizeof(float);
    size_t columns = ddpm_tensor_present(&call->out[1]) ? ddpm_cuda_column_sum_bytes(dy, 1) : 0;
    return partial > columns ? partial : columns;
}

/* dw += Σ of the splits in scratch (none: dw is complete); then, in the same scratch, dbias += Σ dy.
 * Or =, see attributes.overwrites. */
static inline ddpm_status ddpm_conv_weight_finish(const struct ddpm_call *call, int splits)
{
    const struct ddpm_tensor *dy = &call->in[1], *dw = &call->out[0], *dbias = &call->out[1];
    float *partial = (float *)call->scratch;
    if (splits > 0)
        DDPM_TRY(ddpm_cuda_sum_partials(call, partial, splits, ddpm_tensor_count(dw), 1,
                                        ddpm_plane<float>(dw), !ddpm_call_overwrites(call, 0)));
    if (!ddpm_tensor_present(dbias))
        return DDPM_OK;
    DDPM_TRY(ddpm_cuda_column_sum_partial(call, dy, 1, partial));
    return ddpm_cuda_sum_partials(call, partial, ddpm_cuda_column_chunks(dy, 1), dy->c, 1,
                                  ddpm_plane<float>(dbias), !ddpm_call_overwrites(call, 1));
}

#endif

/* Rows of coefficients, sums of pictures weighted by them, and blending by a mask. The formulas are
 * in kernels/ops.inc.
 *
 * Pictures have few channels, so these kernels use one thread per element. */
#include "kernels/cuda/map.cuh"
#include "kernels/cuda/rows.cuh"

/* ---- gather_rows ---- */

struct gather_map {
    struct plane<float> table;
    struct plane<int32_t> t;
    struct plane<float> rows;
    __device__ void operator()(struct place at) const
    {
        rows.data[at.p * rows.stride + at.c] =
            table.data[t.data[at.p * t.stride] * table.stride + at.c];
    }
};

static bool gather_supports(const struct ddpm_call *call)
{
    return ddpm_cuda_takes(&call->in[0], DDPM_F32) && ddpm_cuda_takes(&call->in[1], DDPM_I32) &&
           ddpm_cuda_takes(&call->out[0], DDPM_F32);
}

static ddpm_status gather_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *rows = &call->out[0];
    struct gather_map f = {ddpm_plane<float>(&call->in[0]), ddpm_plane<int32_t>(&call->in[1]),
                           ddpm_plane<float>(rows)};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(rows), rows->c, 1);
}

/* ---- combine ---- */

/* A picture of either type. */
struct combined {
    const void *data;
    int64_t stride;
    int column;
    bool half; /* bf16 */
};

/* The first product is rounded; each of the others is fused with its addition. */
template <class T> struct combine_map {
    struct combined x[DDPM_COMBINED];
    int count;
    struct plane<float> rows;
    struct plane<T> y;
    unsigned image_pixels;
    bool clip;
    __device__ void operator()(struct place at) const
    {
        const float *row = rows.data + (int64_t)((unsigned)at.p / image_pixels) * rows.stride;
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < DDPM_COMBINED; ++i) {
            if (i >= count)
                break;
            float k = row[x[i].column], value = 0.0f;
            int64_t from = at.p * x[i].stride + at.c;
            if (k != 0.0f) /* otherwise it is not read */
                value = x[i].half ? to_float(((const bf16 *)x[i].data)[from])
                                  : ((const float *)x[i].data)[from];
            sum = i == 0 ? __fmul_rn(k, value) : sum + k * value;
        }
        if (clip)
            sum = sum > 1.0f ? 1.0f : sum < -1.0f ? -1.0f : sum; /* NaN stays NaN */
        from_float(y.data + at.p * y.stride + at.c, sum);
    }
};

static bool combine_supports(const struct ddpm_call *call)
{
    for (int i = 1; i <= DDPM_COMBINED; ++i)
        if (ddpm_tensor_present(&call->in[i]) && !ddpm_cuda_is_activation(&call->in[i]))
            return false;
    return ddpm_cuda_takes(&call->in[0], DDPM_F32) && ddpm_cuda_is_activation(&call->out[0]) &&
           ddpm_cuda_takes(&call->out[0], call->out[0].dtype);
}

template <class T> static ddpm_status combine_typed(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    struct combine_map<T> f = {};
    for (int i = 0; i < DDPM_COMBINED; ++i) {
        const struct ddpm_tensor *x = &call->in[1 + i];
        if (ddpm_tensor_present(x))
            f.x[f.count++] = {x->data, x->pixel_stride, call->attributes.columns[i],
                              x->dtype == DDPM_BF16};
    }
    f.rows = ddpm_plane<float>(&call->in[0]);
    f.y = ddpm_plane<T>(y);
    f.image_pixels = (unsigned)(y->h * y->w);
    f.clip = call->attributes.clip;
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, 1);
}

static ddpm_status combine_run(const struct ddpm_call *call)
{
    return call->out[0].dtype == DDPM_F32 ? combine_typed<float>(call) : combine_typed<bf16>(call);
}

/* ---- blend ---- */

struct blend_map {
    struct plane<float> mask, a, b, y;
    __device__ void operator()(struct place at) const
    {
        const float m = mask.data[at.p * mask.stride];
        const float of_a = m != 0.0f ? a.data[at.p * a.stride + at.c] : 0.0f; /* else not read */
        const float of_b = m != 1.0f ? b.data[at.p * b.stride + at.c] : 0.0f;
        float value = __fmul_rn(m, of_a) + __fmul_rn(1.0f - m, of_b); /* not fused */
        if (m == 0.0f || m == 1.0f) /* copy one of them bit by bit */
            value = m == 0.0f ? of_b : of_a;
        y.data[at.p * y.stride + at.c] = value;
    }
};

static bool blend_supports(const struct ddpm_call *call)
{
    return ddpm_cuda_takes(&call->in[0], DDPM_F32) && ddpm_cuda_takes(&call->in[1], DDPM_F32) &&
           ddpm_cuda_takes(&call->in[2], DDPM_F32) && ddpm_cuda_takes(&call->out[0], DDPM_F32);
}

static ddpm_status blend_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    struct blend_map f = {ddpm_plane<float>(&call->in[0]), ddpm_plane<float>(&call->in[1]),
                          ddpm_plane<float>(&call->in[2]), ddpm_plane<float>(y)};
    return ddpm_cuda_map(call, f, ddpm_tensor_pixels(y), y->c, 1);
}

static const struct ddpm_kernel gather_rows_kernel = {"gather_rows_cuda", gather_supports, NULL, NULL,
                                                  gather_run,         NULL};
CUDA_KERNELS_OF(gather_rows, &gather_rows_kernel);
static const struct ddpm_kernel combine_kernel = {"combine_cuda", combine_supports, NULL,
                                              NULL,           combine_run,      NULL};
CUDA_KERNELS_OF(combine, &combine_kernel);
static const struct ddpm_kernel blend_kernel = {"blend_cuda", blend_supports, NULL,
                                            NULL,         blend_run,      NULL};
CUDA_KERNELS_OF(blend, &blend_kernel);

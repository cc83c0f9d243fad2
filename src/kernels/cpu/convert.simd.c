/* fp32 ↔ bf16, round to nearest even. Bound by memory. */
#include "kernels/cpu/element.h"

ALWAYS_INLINE void convert_as(const struct ddpm_call *call, int64_t begin, int64_t end,
                              enum ddpm_dtype from, enum ddpm_dtype to)
{
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    for (int64_t pixel = begin; pixel < end; ++pixel)
        for (int64_t c = 0; c < y->c; c += LANES)
            vf_store_upto(y->data, pixel * y->pixel_stride + c,
                          vf_load_upto(x->data, pixel * x->pixel_stride + c, y->c - c, from),
                          y->c - c, to);
}

static void convert_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    if (call->out[0].dtype == DDPM_F32)
        convert_as(call, begin, end, DDPM_BF16, DDPM_F32);
    else
        convert_as(call, begin, end, DDPM_F32, DDPM_BF16);
}

static bool convert_supports(const struct ddpm_call *call)
{
    return is_activation_dtype(call->in[0].dtype) && is_activation_dtype(call->out[0].dtype) &&
           call->in[0].dtype != call->out[0].dtype;
}

static ddpm_status convert_run(const struct ddpm_call *call)
{
    for_pixels(call, convert_range);
    return DDPM_OK;
}

static const struct ddpm_kernel convert_kernel = {
    .name = SIMD_NAME("convert"), .supports = convert_supports, .run = convert_run};
KERNELS_OF(convert, &convert_kernel);

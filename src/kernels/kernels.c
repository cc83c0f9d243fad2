/* The operations' names and arities, and what a call costs at least. */
#include "kernels/kernels.h"

const struct ddpm_op_info ddpm_op_info[DDPM_OP_COUNT] = {
#define OP(id, name, inputs, outputs, in_place, accumulates)                                       \
    [DDPM_OP_##id] = {name, inputs, outputs, in_place, accumulates},
#include "kernels/ops.inc"
#undef OP
};

/* How many pictures combine adds up. */
static int combined(const struct ddpm_call *call)
{
    int present = 0;
    for (int i = 1; i <= DDPM_COMBINED; ++i)
        present += ddpm_tensor_present(&call->in[i]);
    return present;
}

/* Operations per element of the largest tensor for all that is not a convolution; a transcendental
 * function counts as one. */
static double flops_per_element(const struct ddpm_call *call)
{
    switch (call->op) {
    case DDPM_OP_GROUP_NORM:
        return call->attributes.activation == DDPM_NO_ACTIVATION ? 7 : 10;
    case DDPM_OP_GROUP_NORM_BACKWARD:
        return call->attributes.activation == DDPM_NO_ACTIVATION ? 12 : 20;
    case DDPM_OP_ACTIVATION:
        return 3;
    case DDPM_OP_ACTIVATION_BACKWARD:
        return 8;
    case DDPM_OP_ADAMW:
        return 18;
    case DDPM_OP_DRAW_NORMAL:
        return 60;
    case DDPM_OP_REVERSE_STEP:
        return call->attributes.clip ? 8 : 5;
    case DDPM_OP_COMBINE:
        return 2 * combined(call);
    case DDPM_OP_GATHER_ROWS:
    case DDPM_OP_CONCAT:
    case DDPM_OP_CONVERT:
    case DDPM_OP_UPSAMPLE:
    case DDPM_OP_DRAW_TIMESTEPS:
        return 0;
    case DDPM_OP_ADD:
    case DDPM_OP_ADD_CHANNELS:
    case DDPM_OP_SUM_PIXELS:
    case DDPM_OP_UPSAMPLE_BACKWARD:
    case DDPM_OP_SCALE_PIXELS:
        return 1;
    case DDPM_OP_NORMALIZE_PICTURES:
    case DDPM_OP_GRADIENT_NORM:
        return 2;
    default:
        return 3;
    }
}

/* Multiply-adds: output pixels × weights, for all three directions of a convolution. */
static double convolution_flops(const struct ddpm_tensor *output, const struct ddpm_tensor *w)
{
    return 2.0 * (double)ddpm_tensor_pixels(output) * (double)ddpm_tensor_count(w);
}

double ddpm_call_flops(const struct ddpm_call *call)
{
    switch (call->op) {
    case DDPM_OP_CONV2D:
    case DDPM_OP_DEPTHWISE_CONV2D:
        return convolution_flops(&call->out[0], &call->in[1]);
    case DDPM_OP_CONV2D_BACKWARD_DATA:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA:
        return convolution_flops(&call->in[0], &call->in[1]);
    case DDPM_OP_CONV2D_BACKWARD_WEIGHT:
    case DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT:
        return convolution_flops(&call->in[1], &call->out[0]);
    default:
        break;
    }
    const struct ddpm_op_info *info = &ddpm_op_info[call->op];
    int64_t largest = 0;
    for (int i = 0; i < info->inputs; ++i)
        if (ddpm_tensor_count(&call->in[i]) > largest)
            largest = ddpm_tensor_count(&call->in[i]);
    for (int o = 0; o < info->outputs; ++o)
        if (ddpm_tensor_count(&call->out[o]) > largest)
            largest = ddpm_tensor_count(&call->out[o]);
    return (double)largest * flops_per_element(call);
}

const struct ddpm_tensor *ddpm_call_copy(const struct ddpm_call *call)
{
    const struct ddpm_tensor *copy = call->op == DDPM_OP_CONV2D                 ? &call->in[4]
                                     : call->op == DDPM_OP_CONV2D_BACKWARD_DATA ? &call->in[2]
                                                                                : NULL;
    return copy && ddpm_tensor_present(copy) ? copy : NULL;
}

static double tensor_bytes(const struct ddpm_tensor *t)
{
    return (double)ddpm_tensor_count(t) * (double)ddpm_dtype_size(t->dtype);
}

double ddpm_call_bytes(const struct ddpm_call *call)
{
    const struct ddpm_op_info *info = &ddpm_op_info[call->op];
    double bytes = 0;
    for (int i = 0; i < info->inputs; ++i)
        if (i != 1 || !ddpm_call_copy(call)) /* it is read in the place of the weights */
            bytes += tensor_bytes(&call->in[i]);
    for (int o = 0; o < info->outputs; ++o)
        bytes += tensor_bytes(&call->out[o]) * (info->accumulates >> o & 1 ? 2 : 1);
    return bytes;
}

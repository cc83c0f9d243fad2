/* The operations' names and arities, and the cost of a call. */
#include "kernels/kernels.h"

const struct ddpm_op_info ddpm_op_info[DDPM_OP_COUNT] = {
#define OP(id, name, inputs, outputs, in_place, accumulates, flops)                                \
    [DDPM_OP_##id] = {#name, inputs, outputs, in_place, accumulates, flops},
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

/* The rules in ops.inc, and those that depend on the attributes. */
static double flops_per_element(const struct ddpm_call *call)
{
    const int flops = ddpm_op_info[call->op].flops;
    const bool activated = call->attributes.activation != DDPM_NO_ACTIVATION;
    switch (call->op) {
    case DDPM_OP_GROUP_NORM:
        return flops + (activated ? 3 : 0);
    case DDPM_OP_GROUP_NORM_BACKWARD:
        return flops + (activated ? 8 : 0);
    case DDPM_OP_COMBINE:
        return flops * combined(call);
    default:
        return flops;
    }
}

/* Multiply-adds: output pixels × weights, for all three directions of a convolution. */
static double convolution_flops(const struct ddpm_tensor *output, const struct ddpm_tensor *w)
{
    return 2.0 * (double)ddpm_tensor_pixels(output) * (double)ddpm_tensor_count(w);
}

/* Three products in each iteration, whose smaller side is `least`. */
static double muon_flops(const struct ddpm_call *call)
{
    const double rows = (double)call->attributes.rows;
    const double columns = (double)ddpm_tensor_count(&call->out[0]) / rows;
    const double least = rows < columns ? rows : columns, most = rows * columns / least;
    return DDPM_MUON_ITERATIONS * (4 * least * least * most + 2 * least * least * least);
}

/* Products of every pixel with every other: two forward, five backward. */
static double attention_flops(const struct ddpm_tensor *y, int products)
{
    const double pixels = (double)(y->h * y->w);
    return 2.0 * products * (double)y->n * pixels * pixels * (double)y->c;
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
    case DDPM_OP_ATTENTION:
        return attention_flops(&call->out[0], 2);
    case DDPM_OP_ATTENTION_BACKWARD:
        return attention_flops(&call->in[1], 5);
    case DDPM_OP_MUON:
        return muon_flops(call);
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
        if (i != 1 || !ddpm_call_copy(call)) /* the copy is read instead of the weights */
            bytes += tensor_bytes(&call->in[i]);
    for (int o = 0; o < info->outputs; ++o)
        bytes += tensor_bytes(&call->out[o]) *
                 ((info->accumulates & ~call->attributes.overwrites) >> o & 1 ? 2 : 1);
    return bytes;
}

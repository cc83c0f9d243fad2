/* Depthwise convolution, one filter per channel, with an optional bias per picture (the time
 * embedding) added by fusion. */
#include <stdio.h>

#include "graph/ops/simple.h"

struct ddpm_value *ddpm_depthwise_conv2d(struct ddpm_graph *graph, struct ddpm_value *x,
                                         const char *name, int kernel)
{
    if (!x)
        return NULL;
    char weight_name[64], bias_name[64];
    snprintf(weight_name, sizeof weight_name, "%s.weight", name);
    snprintf(bias_name, sizeof bias_name, "%s.bias", name);
    int64_t c = x->tensor.c, fan_in = (int64_t)kernel * kernel;
    struct ddpm_value *w =
        ddpm_graph_parameter(graph, weight_name,
                             (struct ddpm_parameter){.rank = 4,
                                                     .shape = {c, 1, kernel, kernel},
                                                     .k = 1,
                                                     .r = kernel,
                                                     .s = kernel,
                                                     .c = c,
                                                     .fan_in = fan_in});
    struct ddpm_value *b = ddpm_graph_parameter(
        graph, bias_name,
        (struct ddpm_parameter){
            .rank = 1, .shape = {c}, .k = 1, .r = 1, .s = 1, .c = c, .fan_in = fan_in});
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_DEPTHWISE_CONV2D, name, x->tensor, DDPM_INPUTS(x, w, b));
    if (!node)
        return NULL;
    node->attributes = (struct ddpm_attributes){
        .kernel_h = kernel, .kernel_w = kernel, .stride = 1, .padding = kernel / 2};
    return node->out[0];
}

/* One operation computes dw, dbias and, if the bias per picture requires one, its gradient. */
static void weight_gradient(struct ddpm_graph *graph, const struct ddpm_node *node,
                            struct ddpm_value *dy)
{
    struct ddpm_value *x = node->in[0], *time = node->in[3];
    struct ddpm_node *weight =
        ddpm_graph_node(graph, DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_WEIGHT, node->label);
    if (!weight)
        return;
    weight->attributes = node->attributes;
    weight->in[0] = x;
    weight->in[1] = dy;
    weight->out[0] = ddpm_graph_parameter_gradient(graph, node->in[1]);
    weight->out[1] = ddpm_graph_parameter_gradient(graph, node->in[2]);
    if (!time || !time->requires_gradient)
        return;
    struct ddpm_tensor shape = time->tensor;
    shape.pixel_stride = shape.c;
    struct ddpm_value *dtime = ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY, shape);
    if (!dtime)
        return;
    weight->out[2] = dtime;
    dtime->producer = weight;
    ddpm_graph_add_gradient(graph, time, dtime);
}

void ddpm_depthwise_conv2d_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *x = node->in[0], *time = node->in[3];
    struct ddpm_value *dy = ddpm_graph_gradient(graph, node->out[0]);
    if (node->in[1]->requires_gradient || (time && time->requires_gradient))
        weight_gradient(graph, node, dy);
    if (!x->requires_gradient)
        return;
    struct ddpm_value *sum = graph->share ? ddpm_graph_gradient(graph, x) : NULL;
    struct ddpm_node *data = ddpm_simple_node(graph, DDPM_OP_DEPTHWISE_CONV2D_BACKWARD_DATA,
                                              node->label, x->tensor, DDPM_INPUTS(dy, node->in[1]));
    if (!data)
        return;
    data->attributes = node->attributes;
    data->in[2] = sum;
    if (sum)
        ddpm_graph_replace_gradient(graph, x, data->out[0]);
    else
        ddpm_graph_add_gradient(graph, x, data->out[0]);
}

/* Convolution, down-sampling and linear layers: one operation, conv2d. */
#include "graph/ops.h"

#include <stdio.h>

/* Append y = conv2d(x). The parameters are "<name>.weight" and "<name>.bias", with PyTorch's shape
 * `torch`. */
static struct ddpm_value *convolution(struct ddpm_graph *graph, struct ddpm_value *x,
                                      const char *name, struct ddpm_parameter torch,
                                      struct ddpm_attributes attributes)
{
    if (!x)
        return NULL;
    char weight_name[64], bias_name[64];
    snprintf(weight_name, sizeof weight_name, "%s.weight", name);
    snprintf(bias_name, sizeof bias_name, "%s.bias", name);
    torch.r = attributes.kernel_h;
    torch.s = attributes.kernel_w;
    torch.fan_in = torch.r * torch.s * torch.c;
    struct ddpm_parameter bias = {.rank = 1,
                                  .shape = {torch.k},
                                  .k = 1,
                                  .r = 1,
                                  .s = 1,
                                  .c = torch.k,
                                  .fan_in = torch.fan_in};
    struct ddpm_value *w = ddpm_graph_parameter(graph, weight_name, torch);
    struct ddpm_value *b = ddpm_graph_parameter(graph, bias_name, bias);

    const struct ddpm_tensor *in = &x->tensor;
    int64_t h = (in->h + 2 * attributes.padding - attributes.kernel_h) / attributes.stride + 1;
    int64_t wide = (in->w + 2 * attributes.padding - attributes.kernel_w) / attributes.stride + 1;
    struct ddpm_value *y = ddpm_graph_value(
        graph, DDPM_VALUE_TEMPORARY, ddpm_tensor_make(graph->dtype, in->n, h, wide, torch.k));
    struct ddpm_node *node = ddpm_graph_node(graph, DDPM_OP_CONV2D, name);
    if (!node)
        return NULL;
    node->attributes = attributes;
    node->in[0] = x;
    node->in[1] = w;
    node->in[2] = b;
    node->in[4] = ddpm_graph_parameter_copy(graph, w);
    node->out[0] = y;
    y->producer = node;
    y->requires_gradient = x->requires_gradient || w->requires_gradient;
    return y;
}

struct ddpm_value *ddpm_conv2d(struct ddpm_graph *graph, struct ddpm_value *x, const char *name,
                               int64_t channels, int kernel, int padding)
{
    if (!x)
        return NULL;
    struct ddpm_parameter torch = {.rank = 4,
                                   .shape = {channels, x->tensor.c, kernel, kernel},
                                   .k = channels,
                                   .c = x->tensor.c};
    return convolution(
        graph, x, name, torch,
        (struct ddpm_attributes){
            .kernel_h = kernel, .kernel_w = kernel, .stride = 1, .padding = padding});
}

struct ddpm_value *ddpm_downsample(struct ddpm_graph *graph, struct ddpm_value *x, const char *name,
                                   int64_t channels)
{
    if (!x)
        return NULL;
    struct ddpm_parameter torch = {
        .rank = 4, .shape = {channels, 4 * x->tensor.c, 1, 1}, .k = channels, .c = x->tensor.c};
    return convolution(graph, x, name, torch,
                       (struct ddpm_attributes){.kernel_h = 2, .kernel_w = 2, .stride = 2});
}

struct ddpm_value *ddpm_linear(struct ddpm_graph *graph, struct ddpm_value *x, const char *name,
                               int64_t features)
{
    if (!x)
        return NULL;
    struct ddpm_parameter torch = {
        .rank = 2, .shape = {features, x->tensor.c}, .k = features, .c = x->tensor.c};
    return convolution(graph, x, name, torch,
                       (struct ddpm_attributes){.kernel_h = 1, .kernel_w = 1, .stride = 1});
}

static void weight_gradient(struct ddpm_graph *graph, const struct ddpm_node *node,
                            struct ddpm_value *dy)
{
    struct ddpm_value *x_again = ddpm_graph_again(graph, node->in[0]);
    struct ddpm_node *weight = ddpm_graph_node(graph, DDPM_OP_CONV2D_BACKWARD_WEIGHT, node->label);
    if (!weight)
        return;
    weight->attributes = node->attributes;
    weight->in[0] = x_again;
    weight->in[1] = dy;
    weight->out[0] = ddpm_graph_parameter_gradient(graph, node->in[1]);
    weight->out[1] = ddpm_graph_parameter_gradient(graph, node->in[2]);
}

void ddpm_conv2d_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *x = node->in[0], *residual = node->in[3];
    struct ddpm_value *dy = ddpm_graph_gradient(graph, node->out[0]);
    if (node->in[1]->requires_gradient)
        weight_gradient(graph, node, dy);
    if (residual && residual->requires_gradient)
        ddpm_graph_add_gradient(graph, residual, dy);
    if (!x->requires_gradient)
        return;
    struct ddpm_tensor shape = x->tensor;
    shape.pixel_stride = shape.c;
    struct ddpm_value *dx = ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY, shape);
    struct ddpm_node *data = ddpm_graph_node(graph, DDPM_OP_CONV2D_BACKWARD_DATA, node->label);
    if (!data)
        return;
    data->attributes = node->attributes;
    data->in[0] = dy;
    data->in[1] = node->in[1];
    data->in[2] = node->in[4];
    data->out[0] = dx;
    dx->producer = data;
    ddpm_graph_add_gradient(graph, x, dx);
}

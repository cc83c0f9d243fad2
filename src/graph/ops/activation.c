/* GELU (exact), ReLU, sigmoid. */
#include "graph/ops/simple.h"

static struct ddpm_value *activation(struct ddpm_graph *graph, struct ddpm_value *x,
                                     enum ddpm_activation kind, const char *label)
{
    if (!x)
        return NULL;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_ACTIVATION, label, x->tensor, DDPM_INPUTS(x));
    if (!node)
        return NULL;
    node->attributes.activation = kind;
    return node->out[0];
}

struct ddpm_value *ddpm_gelu(struct ddpm_graph *graph, struct ddpm_value *x)
{
    return activation(graph, x, DDPM_GELU, "gelu");
}

struct ddpm_value *ddpm_relu(struct ddpm_graph *graph, struct ddpm_value *x)
{
    return activation(graph, x, DDPM_RELU, "relu");
}

struct ddpm_value *ddpm_sigmoid(struct ddpm_graph *graph, struct ddpm_value *x)
{
    return activation(graph, x, DDPM_SIGMOID, "sigmoid");
}

void ddpm_activation_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *x = node->in[0];
    struct ddpm_node *backward =
        ddpm_simple_node(graph, DDPM_OP_ACTIVATION_BACKWARD, node->label, x->tensor,
                         DDPM_INPUTS(x, ddpm_graph_gradient(graph, node->out[0])));
    if (!backward)
        return;
    backward->attributes = node->attributes;
    ddpm_graph_add_gradient(graph, x, backward->out[0]);
}

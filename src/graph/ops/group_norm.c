/* GroupNorm with one group, with an optional activation before it, added by fusion. */
#include <stdio.h>

#include "graph/ops/simple.h"

struct ddpm_value *ddpm_group_norm(struct ddpm_graph *graph, struct ddpm_value *x, const char *name)
{
    if (!x)
        return NULL;
    char weight_name[64], bias_name[64];
    snprintf(weight_name, sizeof weight_name, "%s.weight", name);
    snprintf(bias_name, sizeof bias_name, "%s.bias", name);
    int64_t c = x->tensor.c;
    struct ddpm_parameter vector = {
        .rank = 1, .shape = {c}, .k = 1, .r = 1, .s = 1, .c = c, .initial = DDPM_INITIAL_ONE};
    struct ddpm_value *w = ddpm_graph_parameter(graph, weight_name, vector);
    vector.initial = DDPM_INITIAL_ZERO;
    struct ddpm_value *b = ddpm_graph_parameter(graph, bias_name, vector);
    struct ddpm_value *stats =
        ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY,
                         ddpm_tensor_make(graph->parameter_dtype, x->tensor.n, 1, 1, 2));
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_GROUP_NORM, name, x->tensor, DDPM_INPUTS(x, w, b));
    if (!node)
        return NULL;
    node->attributes = (struct ddpm_attributes){.eps = 1e-5f};
    node->out[1] = stats;
    stats->producer = node;
    return node->out[0];
}

void ddpm_group_norm_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *x = node->in[0], *stats = node->in[3] ? node->in[3] : node->out[1];
    struct ddpm_value *dy = ddpm_graph_gradient(graph, node->out[0]);
    struct ddpm_node *backward =
        ddpm_simple_node(graph, DDPM_OP_GROUP_NORM_BACKWARD, node->label, x->tensor,
                         DDPM_INPUTS(ddpm_graph_again(graph, x), node->in[1], stats, dy));
    if (!backward)
        return;
    backward->attributes = node->attributes;
    backward->out[1] = ddpm_graph_parameter_gradient(graph, node->in[1]);
    backward->out[2] = ddpm_graph_parameter_gradient(graph, node->in[2]);
    if (x->requires_gradient)
        ddpm_graph_add_gradient(graph, x, backward->out[0]);
}

/* Self-attention over the pixels of a picture. */
#include "graph/ops/simple.h"

struct ddpm_value *ddpm_attention(struct ddpm_graph *graph, struct ddpm_value *qkv, int64_t heads)
{
    if (!qkv)
        return NULL;
    struct ddpm_tensor shape = qkv->tensor;
    shape.c /= 3;
    if (shape.c * 3 != qkv->tensor.c || shape.c % heads != 0)
        return ddpm_graph_fail(
            graph, ddpm_raise(DDPM_ERROR_MISMATCH,
                              "%sattention: got %lld channels, want three times a multiple of %lld",
                              graph->scope, (long long)qkv->tensor.c, (long long)heads));
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_ATTENTION, "attention", shape, DDPM_INPUTS(qkv));
    if (!node)
        return NULL;
    node->attributes.heads = heads;
    return node->out[0];
}

void ddpm_attention_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *qkv = node->in[0];
    struct ddpm_node *backward =
        ddpm_simple_node(graph, DDPM_OP_ATTENTION_BACKWARD, node->label, qkv->tensor,
                         DDPM_INPUTS(qkv, ddpm_graph_gradient(graph, node->out[0])));
    if (!backward)
        return;
    backward->attributes = node->attributes;
    ddpm_graph_add_gradient(graph, qkv, backward->out[0]);
}

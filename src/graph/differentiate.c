/* Reverse-mode differentiation: walk the nodes backwards, let each operation's rule append its
 * backward nodes. */
#include "graph/ops.h"

ddpm_gradient_rule *const ddpm_gradient_rules[DDPM_OP_COUNT] = {
    [DDPM_OP_CONV2D] = ddpm_conv2d_gradient,
    [DDPM_OP_DEPTHWISE_CONV2D] = ddpm_depthwise_conv2d_gradient,
    [DDPM_OP_GROUP_NORM] = ddpm_group_norm_gradient,
    [DDPM_OP_ACTIVATION] = ddpm_activation_gradient,
    [DDPM_OP_ADD] = ddpm_add_gradient,
    [DDPM_OP_ADD_CHANNELS] = ddpm_add_channels_gradient,
    [DDPM_OP_CONCAT] = ddpm_concat_gradient,
    [DDPM_OP_UPSAMPLE] = ddpm_upsample_gradient,
    [DDPM_OP_SCALE_PIXELS] = ddpm_scale_pixels_gradient,
};

void ddpm_graph_add_gradient(struct ddpm_graph *graph, struct ddpm_value *value,
                             struct ddpm_value *gradient)
{
    if (!gradient)
        return;
    value->gradient = value->gradient ? ddpm_add(graph, value->gradient, gradient) : gradient;
}

ddpm_status ddpm_graph_differentiate(struct ddpm_graph *graph, struct ddpm_value *seed_of,
                                     struct ddpm_value *seed)
{
    if (graph->status != DDPM_OK)
        return graph->status;
    size_t forward_count = graph->node_count;
    seed_of->gradient = seed;
    graph->phase = DDPM_PHASE_BACKWARD;
    for (size_t i = forward_count; i-- > 0 && graph->status == DDPM_OK;) {
        const struct ddpm_node *node = graph->nodes[i];
        if (!node->out[0]->requires_gradient || !node->out[0]->gradient)
            continue;
        ddpm_gradient_rule *rule = ddpm_gradient_rules[node->op];
        if (!rule)
            return graph->status = ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: %s has no gradient rule",
                                              node->label, ddpm_op_info[node->op].name);
        rule(graph, node);
    }
    return graph->status;
}

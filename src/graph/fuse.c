/* Fusion: rewrite rules over the forward nodes, applied before differentiation so that the
 * gradients are fused as well.
 *
 * A rule looks at one node. If its pattern ends there, it turns the node into the fused operation
 * and returns the producer that it absorbed. A producer is absorbed only if nothing else reads its
 * output. The fused operation takes the consumer's place, where all its inputs are ready. One rule
 * absorbs nothing: it lets the producer compute what the consumer would have to.
 *
 * With graph->share, activations of the same value are computed once. */
#include <stdlib.h>

#include "graph/graph.h"

static struct ddpm_node *only_reader_of(const struct ddpm_value *value, enum ddpm_op op)
{
    bool folds = value && value->kind == DDPM_VALUE_TEMPORARY && value->uses == 1 &&
                 value->producer && value->producer->op == op;
    return folds ? value->producer : NULL;
}

/* Make `node` do what `producer` does, writing node's output, with an extra input in slot 3. */
static void absorb(struct ddpm_node *node, struct ddpm_node *producer, struct ddpm_value *extra)
{
    char *label = node->label;
    node->label = producer->label;
    producer->label = label;
    node->op = producer->op;
    node->attributes = producer->attributes;
    memcpy(node->in, producer->in, sizeof node->in);
    node->in[3] = extra;
}

/* depthwise_conv2d, add_channels → depthwise_conv2d with a bias per picture */
static struct ddpm_node *fold_time_bias(struct ddpm_node *node)
{
    if (node->op != DDPM_OP_ADD_CHANNELS)
        return NULL;
    struct ddpm_node *producer = only_reader_of(node->in[0], DDPM_OP_DEPTHWISE_CONV2D);
    if (!producer || producer->in[3])
        return NULL;
    absorb(node, producer, node->in[1]);
    return producer;
}

/* gelu, group_norm → group_norm of the activation */
static struct ddpm_node *fold_activation(struct ddpm_node *node)
{
    if (node->op != DDPM_OP_GROUP_NORM || node->attributes.activation)
        return NULL;
    struct ddpm_node *producer = only_reader_of(node->in[0], DDPM_OP_ACTIVATION);
    if (!producer || producer->attributes.activation != DDPM_GELU)
        return NULL;
    node->attributes.activation = DDPM_GELU;
    node->in[0] = producer->in[0];
    return producer;
}

/* depthwise_conv2d, group_norm → the convolution computes the statistics while it has its sums */
static struct ddpm_node *move_statistics(struct ddpm_node *node)
{
    struct ddpm_node *producer = node->in[0] ? node->in[0]->producer : NULL;
    if (node->op != DDPM_OP_GROUP_NORM || node->attributes.activation || node->in[3] || !producer ||
        node->in[0]->view_of || producer->op != DDPM_OP_DEPTHWISE_CONV2D || producer->out[1])
        return NULL;
    producer->attributes.eps = node->attributes.eps;
    producer->out[1] = node->in[3] = node->out[1];
    producer->out[1]->producer = producer;
    node->out[1] = NULL;
    return NULL;
}

/* conv2d, add → conv2d with a residual */
static struct ddpm_node *fold_residual(struct ddpm_node *node)
{
    if (node->op != DDPM_OP_ADD || node->in[0] == node->in[1])
        return NULL;
    for (int i = 0; i < 2; ++i) {
        struct ddpm_node *producer = only_reader_of(node->in[i], DDPM_OP_CONV2D);
        if (!producer || producer->in[3])
            continue;
        absorb(node, producer, node->in[1 - i]);
        return producer;
    }
    return NULL;
}

const struct ddpm_fusion_rule ddpm_fusion_rules[] = {
    {"depthwise_conv2d + add_channels", fold_time_bias},
    {"gelu + group_norm", fold_activation},
    {"conv2d + add", fold_residual},
    {"depthwise_conv2d + statistics of group_norm", move_statistics},
};
const size_t ddpm_fusion_rule_count = sizeof ddpm_fusion_rules / sizeof *ddpm_fusion_rules;

static void count_uses(struct ddpm_graph *graph)
{
    for (size_t i = 0; i < graph->value_count; ++i)
        graph->values[i]->uses = 0;
    for (size_t i = 0; i < graph->node_count; ++i)
        for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
            for (struct ddpm_value *v = graph->nodes[i]->in[k]; v; v = v->view_of)
                ++v->uses; /* reading a view reads its base */
}

static void drop_node(struct ddpm_graph *graph, struct ddpm_node *node)
{
    size_t kept = 0;
    for (size_t i = 0; i < graph->node_count; ++i)
        if (graph->nodes[i] != node)
            graph->nodes[kept++] = graph->nodes[i];
    graph->node_count = kept;
    free(node->label);
    free(node);
}

/* Can the readers of `later` read the result of `first`? */
static bool repeats(const struct ddpm_graph *graph, const struct ddpm_node *first,
                    const struct ddpm_node *later)
{
    if (later->op != DDPM_OP_ACTIVATION || later->part != first->part ||
        later->in[0] != first->in[0] ||
        later->attributes.activation != first->attributes.activation ||
        later->out[0]->tensor.dtype != first->out[0]->tensor.dtype ||
        later->out[0]->kind != DDPM_VALUE_TEMPORARY)
        return false;
    for (size_t i = 0; i < graph->value_count; ++i)
        if (graph->values[i]->view_of == later->out[0])
            return false;
    return true;
}

static void read_instead(struct ddpm_graph *graph, const struct ddpm_value *old,
                         struct ddpm_value *value)
{
    for (size_t i = 0; i < graph->node_count; ++i)
        for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
            if (graph->nodes[i]->in[k] == old)
                graph->nodes[i]->in[k] = value;
}

/* Move node i to the place right after its producer. */
static void move_to_producer(struct ddpm_graph *graph, size_t i, const struct ddpm_node *producer)
{
    struct ddpm_node *node = graph->nodes[i];
    for (; i > 0 && graph->nodes[i - 1] != producer; --i)
        graph->nodes[i] = graph->nodes[i - 1];
    graph->nodes[i] = node;
}

/* Let node i, an activation, also serve the later nodes that would repeat it. It leaves its block,
 * because recomputing that block would otherwise split its gradient. */
static void share_activation(struct ddpm_graph *graph, size_t i)
{
    struct ddpm_node *node = graph->nodes[i];
    if (node->op != DDPM_OP_ACTIVATION || node->in[0]->view_of)
        return;
    const struct ddpm_node *producer = node->in[0]->producer;
    if (!producer || producer->block || producer->part != node->part)
        return;
    bool shared = false;
    for (size_t k = i + 1; k < graph->node_count; ++k) {
        struct ddpm_node *later = graph->nodes[k];
        if (!repeats(graph, node, later))
            continue;
        read_instead(graph, later->out[0], node->out[0]);
        later->out[0]->producer = NULL;
        drop_node(graph, later);
        shared = true;
        --k;
    }
    if (!shared)
        return;
    node->block = 0;
    move_to_producer(graph, i, producer);
}

void ddpm_graph_fuse(struct ddpm_graph *graph, unsigned enabled)
{
    if (graph->status != DDPM_OK)
        return;
    for (size_t rule = 0; rule < ddpm_fusion_rule_count; ++rule) {
        if (!(enabled >> rule & 1u))
            continue;
        count_uses(graph);
        for (size_t i = 0; i < graph->node_count; ++i) {
            struct ddpm_node *node = graph->nodes[i];
            struct ddpm_node *swallowed = ddpm_fusion_rules[rule].fold(node);
            if (!swallowed)
                continue;
            drop_node(graph, swallowed);
            node->out[0]->producer = node;
            count_uses(graph);
            --i; /* the list is now one shorter before this place */
        }
    }
    for (size_t i = 0; graph->share && i < graph->node_count; ++i)
        share_activation(graph, i);
}

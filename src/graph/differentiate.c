/* Reverse-mode differentiation: walk the nodes backwards; each operation's rule appends its
 * backward nodes.
 *
 * With recomputation, a block's nodes are first appended again, as copies that write new values,
 * and the rules get the copies. So the original results are freed during the forward pass, and only
 * the block's inputs and output are kept. Values that cost little more than a pass over memory are
 * always recomputed (ddpm_graph_again), unless the graph keeps everything. */
#include <stdlib.h>

#include "core/memory.h"
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
    [DDPM_OP_ATTENTION] = ddpm_attention_gradient,
};

/* Make room for all existing values. */
static ddpm_status grow(struct ddpm_gradients *gradients, size_t values)
{
    if (values <= gradients->capacity)
        return DDPM_OK;
    const size_t old = gradients->capacity, capacity = values + values / 2;
    struct ddpm_value ***tables[] = {&gradients->of, &gradients->again};
    for (size_t k = 0; k < 2; ++k) {
        struct ddpm_value **larger;
        DDPM_TRY(ddpm_new_array((void **)&larger, capacity, sizeof(struct ddpm_value *),
                                "a table of gradients"));
        if (old)
            memcpy(larger, *tables[k], old * sizeof(struct ddpm_value *));
        free(*tables[k]);
        *tables[k] = larger;
    }
    gradients->capacity = capacity;
    return DDPM_OK;
}

struct ddpm_value *ddpm_gradients_of(const struct ddpm_gradients *gradients,
                                     const struct ddpm_value *value)
{
    return value->index < gradients->capacity ? gradients->of[value->index] : NULL;
}

void ddpm_gradients_clear(struct ddpm_gradients *gradients)
{
    free(gradients->of);
    free(gradients->again);
    *gradients = (struct ddpm_gradients){0};
}

struct ddpm_value *ddpm_graph_gradient(const struct ddpm_graph *graph,
                                       const struct ddpm_value *value)
{
    return ddpm_gradients_of(graph->gradients, value);
}

void ddpm_graph_add_gradient(struct ddpm_graph *graph, struct ddpm_value *value,
                             struct ddpm_value *gradient)
{
    if (!gradient)
        return;
    struct ddpm_value *sum = ddpm_graph_gradient(graph, value);
    ddpm_graph_replace_gradient(graph, value, sum ? ddpm_add(graph, sum, gradient) : gradient);
}

void ddpm_graph_replace_gradient(struct ddpm_graph *graph, struct ddpm_value *value,
                                 struct ddpm_value *sum)
{
    const ddpm_status status = grow(graph->gradients, graph->value_count);
    if (status == DDPM_OK)
        graph->gradients->of[value->index] = sum;
    else
        ddpm_graph_fail(graph, status);
}

static void differentiate_node(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    if (!node->out[0]->requires_gradient || !ddpm_graph_gradient(graph, node->out[0]))
        return;
    ddpm_gradient_rule *rule = ddpm_gradient_rules[node->op];
    if (rule)
        rule(graph, node);
    else
        ddpm_graph_fail(graph, ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: %s has no gradient rule",
                                          node->label, ddpm_op_info[node->op].name));
}

/* Old and new values of a recomputed block. */
struct renaming {
    struct ddpm_value **old_values, **new_values;
    int count;
};

static struct ddpm_value *renamed(const struct renaming *names, struct ddpm_value *value)
{
    for (int i = 0; i < names->count; ++i)
        if (names->old_values[i] == value)
            return names->new_values[i];
    return value;
}

/* The statistics that a node outputs with its result, or NULL. */
static struct ddpm_value *statistics_of(const struct ddpm_node *node)
{
    const bool has = node->op == DDPM_OP_GROUP_NORM || node->op == DDPM_OP_DEPTHWISE_CONV2D;
    return has ? node->out[1] : NULL;
}

/* Append a copy of a node that reads and writes renamed values; outputs get new names. Statistics
 * are small, so they are kept and the copy does not compute them again. */
static void append_again(struct ddpm_graph *graph, const struct ddpm_node *node,
                         struct renaming *names)
{
    struct ddpm_node *copy = ddpm_graph_node(graph, node->op, node->label);
    if (!copy)
        return;
    copy->attributes = node->attributes;
    for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
        copy->in[k] = renamed(names, node->in[k]);
    if (node->op == DDPM_OP_GROUP_NORM && !node->in[3])
        copy->in[3] = node->out[1];
    for (int k = 0; k < DDPM_MAX_OUTPUTS; ++k) {
        if (!node->out[k] || node->out[k] == statistics_of(node))
            continue;
        struct ddpm_tensor shape = node->out[k]->tensor;
        struct ddpm_value *value = ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY, shape);
        if (!value)
            return;
        value->requires_gradient = node->out[k]->requires_gradient;
        value->producer = copy;
        copy->out[k] = value;
        names->old_values[names->count] = node->out[k];
        names->new_values[names->count++] = value;
    }
}

static bool cheap_to_repeat(enum ddpm_op op)
{
    switch (op) {
    case DDPM_OP_DEPTHWISE_CONV2D:
    case DDPM_OP_ADD_CHANNELS:
    case DDPM_OP_GROUP_NORM:
    case DDPM_OP_ACTIVATION:
    case DDPM_OP_UPSAMPLE:
        return true;
    default:
        return false;
    }
}

struct ddpm_value *ddpm_graph_again(struct ddpm_graph *graph, struct ddpm_value *value)
{
    struct ddpm_node *node = value->producer;
    struct ddpm_gradients *table = graph->gradients;
    if (value->index < table->capacity && table->again[value->index])
        return table->again[value->index];
    if (graph->keep || !node || node->backward || !cheap_to_repeat(node->op) ||
        value == statistics_of(node))
        return value;
    struct ddpm_value *old_values[DDPM_MAX_INPUTS + DDPM_MAX_OUTPUTS];
    struct ddpm_value *new_values[DDPM_MAX_INPUTS + DDPM_MAX_OUTPUTS];
    struct renaming names = {old_values, new_values, 0};
    for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
        if (node->in[k]) {
            old_values[names.count] = node->in[k];
            new_values[names.count++] = ddpm_graph_again(graph, node->in[k]);
        }
    append_again(graph, node, &names);
    const ddpm_status status = grow(table, graph->value_count);
    if (status != DDPM_OK)
        return ddpm_graph_fail(graph, status);
    table->again[value->index] = renamed(&names, value);
    return table->again[value->index];
}

/* Differentiate nodes [begin, end), which are one block, and recompute its results. */
static ddpm_status differentiate_block(struct ddpm_graph *graph, size_t begin, size_t end)
{
    struct renaming names = {0};
    const size_t most = (end - begin) * DDPM_MAX_OUTPUTS;
    DDPM_TRY(ddpm_new_array((void **)&names.old_values, 2 * most, sizeof *names.old_values,
                            "names of a block's values"));
    names.new_values = names.old_values + most;
    /* The last node's result is the block's output, which no rule reads. */
    size_t first_copy = graph->node_count;
    for (size_t i = begin; i + 1 < end; ++i)
        append_again(graph, graph->nodes[i], &names);
    if (graph->status == DDPM_OK) {
        struct ddpm_node last = *graph->nodes[end - 1];
        for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
            last.in[k] = renamed(&names, last.in[k]);
        differentiate_node(graph, &last);
    }
    for (size_t i = end - 1; i-- > begin && graph->status == DDPM_OK;)
        differentiate_node(graph, graph->nodes[first_copy + (i - begin)]);
    free(names.old_values);
    return graph->status;
}

/* Walk the nodes [0, end) backwards. */
static ddpm_status walk_back(struct ddpm_graph *graph, size_t end)
{
    while (end > 0 && graph->status == DDPM_OK) {
        size_t begin = end - 1;
        const int block = graph->recompute ? graph->nodes[begin]->block : 0;
        while (block && begin > 0 && graph->nodes[begin - 1]->block == block)
            --begin;
        if (block)
            DDPM_TRY(differentiate_block(graph, begin, end));
        else
            differentiate_node(graph, graph->nodes[begin]);
        end = begin;
    }
    return graph->status;
}

ddpm_status ddpm_graph_differentiate(struct ddpm_graph *graph, const struct ddpm_seed *seeds,
                                     size_t count, struct ddpm_gradients *out)
{
    struct ddpm_gradients gradients = {0};
    DDPM_TRY(graph->status);
    const size_t end = graph->node_count;
    graph->gradients = &gradients;
    ddpm_status status = grow(&gradients, graph->value_count);
    for (size_t i = 0; i < count && status == DDPM_OK; ++i) {
        ddpm_graph_add_gradient(graph, seeds[i].of, seeds[i].gradient);
        status = graph->status;
    }
    if (status == DDPM_OK)
        status = walk_back(graph, end);
    graph->gradients = NULL;
    if (out && status == DDPM_OK)
        *out = gradients;
    else
        ddpm_gradients_clear(&gradients);
    return status;
}

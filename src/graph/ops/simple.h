/* For builders: append a node with some inputs and one new output. */
#ifndef DDPM_GRAPH_OPS_SIMPLE_H
#define DDPM_GRAPH_OPS_SIMPLE_H

#include "graph/ops.h"

/* Output 0 has `shape` (with a dense stride) and requires a gradient if an input does. NULL if the
 * graph has failed or one of the `inputs` required inputs is NULL. */
static inline struct ddpm_node *ddpm_simple_node(struct ddpm_graph *graph, enum ddpm_op op,
                                                 const char *label, struct ddpm_tensor shape,
                                                 struct ddpm_value *const *in, int inputs)
{
    for (int i = 0; i < inputs; ++i)
        if (!in[i])
            return NULL;
    shape.pixel_stride = shape.c;
    shape.data = NULL;
    struct ddpm_value *y = ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY, shape);
    struct ddpm_node *node = ddpm_graph_node(graph, op, label);
    if (!node)
        return NULL;
    for (int i = 0; i < inputs; ++i) {
        node->in[i] = in[i];
        y->requires_gradient |= in[i]->requires_gradient;
    }
    node->out[0] = y;
    y->producer = node;
    return node;
}

#define DDPM_INPUTS(...)                                                                           \
    (struct ddpm_value *const[]){__VA_ARGS__},                                                     \
        (int)(sizeof((struct ddpm_value *const[]){__VA_ARGS__}) / sizeof(struct ddpm_value *))

#endif

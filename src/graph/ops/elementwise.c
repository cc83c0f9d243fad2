/* Sums, broadcasts, concatenation, upsampling. */
#include "graph/ops/simple.h"

static struct ddpm_value *output(struct ddpm_node *node)
{
    return node ? node->out[0] : NULL;
}

struct ddpm_value *ddpm_add(struct ddpm_graph *graph, struct ddpm_value *a, struct ddpm_value *b)
{
    if (!a || !b)
        return NULL;
    if (!ddpm_tensor_same_shape(&a->tensor, &b->tensor))
        return ddpm_graph_fail(
            graph, ddpm_raise(DDPM_ERROR_MISMATCH, "%sadd: the two shapes differ", graph->scope));
    return output(ddpm_simple_node(graph, DDPM_OP_ADD, "add", a->tensor, DDPM_INPUTS(a, b)));
}

void ddpm_add_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    for (int i = 0; i < 2; ++i)
        if (node->in[i]->requires_gradient)
            ddpm_graph_add_gradient(graph, node->in[i], ddpm_graph_gradient(graph, node->out[0]));
}

struct ddpm_value *ddpm_add_channels(struct ddpm_graph *graph, struct ddpm_value *x,
                                     struct ddpm_value *v)
{
    if (!x || !v)
        return NULL;
    return output(ddpm_simple_node(graph, DDPM_OP_ADD_CHANNELS, "add_channels", x->tensor,
                                   DDPM_INPUTS(x, v)));
}

void ddpm_add_channels_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *x = node->in[0], *v = node->in[1],
                      *dy = ddpm_graph_gradient(graph, node->out[0]);
    if (v->requires_gradient) {
        struct ddpm_node *sum =
            ddpm_simple_node(graph, DDPM_OP_SUM_PIXELS, node->label, v->tensor, DDPM_INPUTS(dy));
        if (!sum)
            return;
        ddpm_graph_add_gradient(graph, v, sum->out[0]);
    }
    if (x->requires_gradient)
        ddpm_graph_add_gradient(graph, x, dy);
}

struct ddpm_value *ddpm_concat(struct ddpm_graph *graph, struct ddpm_value *a, struct ddpm_value *b)
{
    if (!a || !b)
        return NULL;
    struct ddpm_tensor shape = a->tensor;
    const struct ddpm_tensor *other = &b->tensor;
    if (other->dtype != shape.dtype || other->n != shape.n || other->h != shape.h ||
        other->w != shape.w)
        return ddpm_graph_fail(graph, ddpm_raise(DDPM_ERROR_MISMATCH,
                                                 "%sconcat: the two differ in size or type",
                                                 graph->scope));
    shape.c += other->c;
    return output(ddpm_simple_node(graph, DDPM_OP_CONCAT, "concat", shape, DDPM_INPUTS(a, b)));
}

void ddpm_concat_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *dy = ddpm_graph_gradient(graph, node->out[0]);
    int64_t channel = 0;
    for (int i = 0; i < 2; ++i) {
        struct ddpm_value *part = node->in[i];
        if (part->requires_gradient)
            ddpm_graph_add_gradient(graph, part,
                                    ddpm_graph_view(graph, dy, channel, part->tensor.c));
        channel += part->tensor.c;
    }
}

struct ddpm_value *ddpm_upsample_nearest(struct ddpm_graph *graph, struct ddpm_value *x)
{
    if (!x)
        return NULL;
    struct ddpm_tensor shape = x->tensor;
    shape.h *= 2;
    shape.w *= 2;
    return output(ddpm_simple_node(graph, DDPM_OP_UPSAMPLE, "upsample", shape, DDPM_INPUTS(x)));
}

void ddpm_upsample_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *x = node->in[0];
    ddpm_graph_add_gradient(
        graph, x,
        output(ddpm_simple_node(graph, DDPM_OP_UPSAMPLE_BACKWARD, node->label, x->tensor,
                                DDPM_INPUTS(ddpm_graph_gradient(graph, node->out[0])))));
}

struct ddpm_value *ddpm_scale_pixels(struct ddpm_graph *graph, struct ddpm_value *factor,
                                     struct ddpm_value *x)
{
    if (!factor || !x)
        return NULL;
    return output(ddpm_simple_node(graph, DDPM_OP_SCALE_PIXELS, "scale_pixels", x->tensor,
                                   DDPM_INPUTS(factor, x)));
}

void ddpm_scale_pixels_gradient(struct ddpm_graph *graph, const struct ddpm_node *node)
{
    struct ddpm_value *factor = node->in[0], *x = node->in[1];
    struct ddpm_tensor shape = factor->tensor;
    shape.pixel_stride = shape.c;
    struct ddpm_value *dfactor = ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY, shape);
    struct ddpm_node *backward =
        ddpm_simple_node(graph, DDPM_OP_SCALE_PIXELS_BACKWARD, node->label, x->tensor,
                         DDPM_INPUTS(factor, x, ddpm_graph_gradient(graph, node->out[0])));
    if (!backward)
        return;
    backward->out[1] = dfactor;
    dfactor->producer = backward;
    ddpm_graph_add_gradient(graph, x, backward->out[0]);
    ddpm_graph_add_gradient(graph, factor, dfactor);
}

struct ddpm_value *ddpm_timestep_embedding(struct ddpm_graph *graph, struct ddpm_value *t,
                                           int64_t features, double theta)
{
    if (!t)
        return NULL;
    struct ddpm_node *node = ddpm_simple_node(
        graph, DDPM_OP_TIMESTEP_EMBEDDING, "timestep_embedding",
        ddpm_tensor_make(graph->dtype, t->tensor.n, 1, 1, features), DDPM_INPUTS(t));
    if (node)
        node->attributes.theta = theta;
    return output(node);
}

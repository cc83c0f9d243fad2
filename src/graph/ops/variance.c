/* A learned variance: the term of the loss that trains it, and noise with that variance. */
#include "graph/ops/simple.h"

struct ddpm_value *ddpm_variational_loss(struct ddpm_graph *graph, struct ddpm_value *loss,
                                         struct ddpm_value *answer, struct ddpm_value *noise,
                                         struct ddpm_value *x0, struct ddpm_value *rows)
{
    if (!loss)
        return NULL;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_VARIATIONAL_LOSS, "variational_loss", loss->tensor,
                         DDPM_INPUTS(loss, answer, noise, x0, rows));
    if (!node)
        return NULL;
    ddpm_graph_keep(node->out[0]);
    return node->out[0];
}

struct ddpm_value *ddpm_variational_gradient(struct ddpm_graph *graph, struct ddpm_value *answer,
                                             struct ddpm_value *noise, struct ddpm_value *x0,
                                             struct ddpm_value *rows, float scale)
{
    if (!answer)
        return NULL;
    struct ddpm_tensor shape = answer->tensor;
    shape.c /= 2;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_VARIATIONAL_LOSS_BACKWARD, "variational_loss", shape,
                         DDPM_INPUTS(answer, noise, x0, rows));
    if (!node)
        return NULL;
    node->attributes.scale = scale;
    return node->out[0];
}

struct ddpm_value *ddpm_scale_noise(struct ddpm_graph *graph, struct ddpm_value *variance,
                                    struct ddpm_value *noise, struct ddpm_value *rows)
{
    if (!noise)
        return NULL;
    struct ddpm_node *node = ddpm_simple_node(graph, DDPM_OP_SCALE_NOISE, "scale_noise",
                                              noise->tensor, DDPM_INPUTS(variance, noise, rows));
    return node ? node->out[0] : NULL;
}

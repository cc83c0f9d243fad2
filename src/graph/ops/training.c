/* Operations around the network: random draws, coefficients, loss, optimizer. Not
 * differentiated. */
#include "core/random.h"
#include "graph/ops/simple.h"

struct ddpm_value *ddpm_normalize_pictures(struct ddpm_graph *graph, struct ddpm_value *pictures,
                                           struct ddpm_value *flips)
{
    if (!pictures)
        return NULL;
    struct ddpm_tensor shape = pictures->tensor;
    shape.dtype = DDPM_F32;
    struct ddpm_node *node = ddpm_simple_node(graph, DDPM_OP_NORMALIZE_PICTURES, "pictures", shape,
                                              DDPM_INPUTS(pictures, flips));
    return node ? node->out[0] : NULL;
}

struct ddpm_value *ddpm_coordinates(struct ddpm_graph *graph, const struct ddpm_value *x,
                                    struct ddpm_value *corners, int64_t height, int64_t width)
{
    if (!x)
        return NULL;
    const struct ddpm_tensor *of = &x->tensor;
    struct ddpm_node *node = ddpm_simple_node(
        graph, DDPM_OP_COORDINATES, "coordinates",
        ddpm_tensor_make(graph->dtype, of->n, of->h, of->w, 2), &corners, corners ? 1 : 0);
    if (!node)
        return NULL;
    node->attributes.picture_h = (int)height;
    node->attributes.picture_w = (int)width;
    return node->out[0];
}

struct ddpm_value *ddpm_draw_timesteps(struct ddpm_graph *graph, struct ddpm_value *counters,
                                       uint64_t seed, int timesteps, bool per_batch)
{
    if (!counters)
        return NULL;
    struct ddpm_node *node = ddpm_simple_node(
        graph, DDPM_OP_DRAW_TIMESTEPS, "timesteps",
        ddpm_tensor_make(DDPM_I32, counters->tensor.n, 1, 1, 1), DDPM_INPUTS(counters));
    if (!node)
        return NULL;
    node->attributes = (struct ddpm_attributes){.seed = seed,
                                                .stream = DDPM_STREAM_TIMESTEP,
                                                .timesteps = timesteps,
                                                .per_batch = per_batch};
    return node->out[0];
}

struct ddpm_value *ddpm_draw_normal(struct ddpm_graph *graph, struct ddpm_value *counters,
                                    uint64_t seed, uint32_t stream,
                                    const struct ddpm_tensor *shape_of)
{
    struct ddpm_tensor shape = *shape_of;
    shape.dtype = DDPM_F32;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_DRAW_NORMAL, "noise", shape, DDPM_INPUTS(counters));
    if (!node)
        return NULL;
    node->attributes = (struct ddpm_attributes){.seed = seed, .stream = stream};
    return node->out[0];
}

struct ddpm_value *ddpm_nearest(struct ddpm_graph *graph, struct ddpm_value *x,
                                struct ddpm_value *a, struct ddpm_value *b)
{
    if (!x || !a || !b)
        return NULL;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_NEAREST, "nearest", x->tensor, DDPM_INPUTS(x, a, b));
    return node ? node->out[0] : NULL;
}

struct ddpm_value *ddpm_convert(struct ddpm_graph *graph, struct ddpm_value *x,
                                enum ddpm_dtype dtype)
{
    if (!x || x->tensor.dtype == dtype)
        return x;
    struct ddpm_tensor shape = x->tensor;
    shape.dtype = dtype;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_CONVERT, "convert", shape, DDPM_INPUTS(x));
    return node ? node->out[0] : NULL;
}

struct ddpm_value *ddpm_loss_per_picture(struct ddpm_graph *graph, struct ddpm_value *prediction,
                                         struct ddpm_value *target, struct ddpm_value *weight,
                                         enum ddpm_loss loss)
{
    if (!prediction)
        return NULL;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_LOSS, "loss",
                         ddpm_tensor_make(graph->parameter_dtype, prediction->tensor.n, 1, 1, 1),
                         DDPM_INPUTS(prediction, target));
    if (!node)
        return NULL;
    node->in[2] = weight;
    node->attributes.loss = loss;
    ddpm_graph_keep(node->out[0]);
    return node->out[0];
}

struct ddpm_value *ddpm_loss_gradient(struct ddpm_graph *graph, struct ddpm_value *prediction,
                                      struct ddpm_value *target, struct ddpm_value *weight,
                                      enum ddpm_loss loss, float scale)
{
    if (!prediction)
        return NULL;
    struct ddpm_node *node = ddpm_simple_node(graph, DDPM_OP_LOSS_BACKWARD, "loss",
                                              prediction->tensor, DDPM_INPUTS(prediction, target));
    if (!node)
        return NULL;
    node->in[2] = weight;
    node->attributes.loss = loss;
    node->attributes.scale = scale;
    return node->out[0];
}

struct ddpm_value *ddpm_pseudo_huber(struct ddpm_graph *graph, struct ddpm_value *squares,
                                     struct ddpm_value *rows, float eps, float scale,
                                     struct ddpm_value **slopes)
{
    *slopes = NULL;
    if (!squares)
        return NULL;
    struct ddpm_node *node = ddpm_simple_node(graph, DDPM_OP_PSEUDO_HUBER, "loss", squares->tensor,
                                              DDPM_INPUTS(squares, rows));
    if (!node)
        return NULL;
    node->attributes.eps = eps;
    node->attributes.scale = scale;
    *slopes = ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY,
                               ddpm_tensor_make(squares->tensor.dtype, squares->tensor.n, 1, 1, 2));
    if (!*slopes)
        return NULL;
    node->out[1] = *slopes;
    (*slopes)->producer = node;
    ddpm_graph_keep(node->out[0]);
    return node->out[0];
}

struct ddpm_value *ddpm_uncertainty(struct ddpm_graph *graph, struct ddpm_value *loss,
                                    struct ddpm_value *u, float scale, struct ddpm_value **slopes)
{
    *slopes = NULL;
    if (!loss)
        return NULL;
    struct ddpm_node *node = ddpm_simple_node(graph, DDPM_OP_UNCERTAINTY, "uncertainty",
                                              loss->tensor, DDPM_INPUTS(loss, u));
    if (!node)
        return NULL;
    node->attributes.scale = scale;
    *slopes = ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY, node->out[0]->tensor);
    if (!*slopes)
        return NULL;
    node->out[1] = *slopes;
    (*slopes)->producer = node;
    return node->out[0];
}

struct ddpm_value *ddpm_gather_rows(struct ddpm_graph *graph, struct ddpm_value *table,
                                    struct ddpm_value *t)
{
    if (!table || !t)
        return NULL;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_GATHER_ROWS, "rows",
                         ddpm_tensor_make(table->tensor.dtype, t->tensor.n, 1, 1, table->tensor.c),
                         DDPM_INPUTS(table, t));
    return node ? node->out[0] : NULL;
}

/* The output of combine: `into`, or a new value of the inputs' shape. NULL if they do not fit. */
static struct ddpm_value *combine_output(struct ddpm_graph *graph, const struct ddpm_value *rows,
                                         const int columns[DDPM_COMBINED],
                                         struct ddpm_value *const inputs[DDPM_COMBINED],
                                         enum ddpm_dtype dtype, struct ddpm_value *into)
{
    const struct ddpm_tensor *shape = into ? &into->tensor : NULL;
    for (int i = 0; i < DDPM_COMBINED; ++i) {
        if (!inputs[i])
            continue;
        shape = shape ? shape : &inputs[i]->tensor;
        if (!ddpm_tensor_same_shape(shape, &inputs[i]->tensor))
            return ddpm_graph_fail(graph, ddpm_raise(DDPM_ERROR_MISMATCH,
                                                     "%scombine: the shapes of two pictures differ",
                                                     graph->scope));
        if (columns[i] < 0 || columns[i] >= rows->tensor.c)
            return ddpm_graph_fail(
                graph, ddpm_raise(DDPM_ERROR_ARGUMENT, "%scombine: got column %d, want 0 to %lld",
                                  graph->scope, columns[i], (long long)rows->tensor.c - 1));
    }
    if (into || !shape)
        return into;
    return ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY,
                            ddpm_tensor_make(dtype, shape->n, shape->h, shape->w, shape->c));
}

struct ddpm_value *ddpm_combine(struct ddpm_graph *graph, struct ddpm_value *rows,
                                const int columns[DDPM_COMBINED],
                                struct ddpm_value *const inputs[DDPM_COMBINED], bool clip,
                                enum ddpm_dtype dtype, struct ddpm_value *into)
{
    if (!rows)
        return NULL;
    struct ddpm_value *y = combine_output(graph, rows, columns, inputs, dtype, into);
    struct ddpm_node *node = y ? ddpm_graph_node(graph, DDPM_OP_COMBINE, "combine") : NULL;
    if (!node)
        return NULL;
    node->attributes.clip = clip;
    node->in[0] = rows;
    for (int i = 0; i < DDPM_COMBINED; ++i) {
        node->in[1 + i] = inputs[i];
        if (inputs[i])
            node->attributes.columns[i] = (int8_t)columns[i];
    }
    node->out[0] = y;
    if (!into)
        y->producer = node;
    return y;
}

struct ddpm_value *ddpm_threshold(struct ddpm_graph *graph, struct ddpm_value *x, double quantile)
{
    if (!x)
        return NULL;
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_THRESHOLD, "threshold", x->tensor, DDPM_INPUTS(x));
    if (!node)
        return NULL;
    node->attributes.quantile = quantile;
    return node->out[0];
}

struct ddpm_value *ddpm_blend(struct ddpm_graph *graph, struct ddpm_value *mask,
                              struct ddpm_value *a, struct ddpm_value *b, struct ddpm_value *into)
{
    if (!mask || !a || !b)
        return NULL;
    struct ddpm_tensor shape = a->tensor;
    shape.c = 1;
    if (!ddpm_tensor_same_shape(&a->tensor, &b->tensor) ||
        !ddpm_tensor_same_shape(&mask->tensor, &shape) ||
        (into && !ddpm_tensor_same_shape(&into->tensor, &a->tensor)))
        return ddpm_graph_fail(
            graph, ddpm_raise(DDPM_ERROR_MISMATCH, "%sblend: the shapes do not fit", graph->scope));
    struct ddpm_node *node = ddpm_graph_node(graph, DDPM_OP_BLEND, "blend");
    if (!node)
        return NULL;
    struct ddpm_value *y = into ? into : ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY, a->tensor);
    node->in[0] = mask;
    node->in[1] = a;
    node->in[2] = b;
    node->out[0] = y;
    if (y && !into)
        y->producer = node;
    return y;
}

struct ddpm_value *ddpm_gradient_norm(struct ddpm_graph *graph, struct ddpm_value *gradients,
                                      struct ddpm_value *losses)
{
    struct ddpm_node *node =
        ddpm_simple_node(graph, DDPM_OP_GRADIENT_NORM, "gradient_norm",
                         ddpm_tensor_make(DDPM_F32, 1, 1, 1, 1), DDPM_INPUTS(gradients, losses));
    if (!node)
        return NULL;
    ddpm_graph_keep(node->out[0]);
    return node->out[0];
}

void ddpm_adamw(struct ddpm_graph *graph, struct ddpm_value *gradients, struct ddpm_value *norm,
                struct ddpm_value *hyper, struct ddpm_value *weights, struct ddpm_value *m,
                struct ddpm_value *v, struct ddpm_value *ema,
                const struct ddpm_adamw_options *options)
{
    struct ddpm_node *node = ddpm_graph_node(graph, DDPM_OP_ADAMW, "adamw");
    if (!node || !gradients || !norm || !hyper || !weights || !m || !v || !ema)
        return;
    node->in[0] = gradients;
    node->in[1] = norm;
    node->in[2] = hyper;
    node->out[0] = weights;
    node->out[1] = m;
    node->out[2] = v;
    node->out[3] = ema;
    node->out[4] = options->copies;
    node->in[3] = options->rules;
    node->out[5] = options->second_ema;
}

void ddpm_muon(struct ddpm_graph *graph, struct ddpm_value *gradient, struct ddpm_value *norm,
               struct ddpm_value *hyper, struct ddpm_value *weight, struct ddpm_value *m,
               int64_t rows)
{
    struct ddpm_node *node = ddpm_graph_node(graph, DDPM_OP_MUON, "muon");
    if (!node || !gradient || !norm || !hyper || !weight || !m)
        return;
    node->attributes.rows = rows;
    node->in[0] = gradient;
    node->in[1] = norm;
    node->in[2] = hyper;
    node->out[0] = weight;
    node->out[1] = m;
}

void ddpm_copy_weights(struct ddpm_graph *graph, struct ddpm_value *weights,
                       struct ddpm_value *copies)
{
    struct ddpm_node *node = ddpm_graph_node(graph, DDPM_OP_CONVERT, "weights");
    if (!node || !weights || !copies)
        return;
    node->in[0] = weights;
    node->out[0] = copies;
}

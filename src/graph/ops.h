/* Builders: each appends the nodes of one layer to a graph and returns its output. Shapes are those
 * of kernels/ops.inc. All return NULL once the graph has failed. */
#ifndef DDPM_GRAPH_OPS_H
#define DDPM_GRAPH_OPS_H

#include "graph/graph.h"

/* Layers with parameters "<name>.weight" and "<name>.bias" in the current scope. */

/* k×k convolution with zero padding, to `channels` channels. */
struct ddpm_value *ddpm_conv2d(struct ddpm_graph *graph, struct ddpm_value *x, const char *name,
                               int64_t channels, int kernel, int padding);

/* "b c (h p1) (w p2) -> b (c p1 p2) h w", then a 1×1 convolution: one 2×2 convolution of stride 2
 * whose [K,C,2,2] weights have exactly the elements of PyTorch's [K,4C,1,1]. */
struct ddpm_value *ddpm_downsample(struct ddpm_graph *graph, struct ddpm_value *x, const char *name,
                                   int64_t channels);

/* x [B,1,1,F] → [B,1,1,features]. */
struct ddpm_value *ddpm_linear(struct ddpm_graph *graph, struct ddpm_value *x, const char *name,
                               int64_t features);

struct ddpm_value *ddpm_depthwise_conv2d(struct ddpm_graph *graph, struct ddpm_value *x,
                                         const char *name, int kernel);

/* GroupNorm with one group, eps 1e-5. */
struct ddpm_value *ddpm_group_norm(struct ddpm_graph *graph, struct ddpm_value *x,
                                   const char *name);

/* Layers without. */
struct ddpm_value *ddpm_gelu(struct ddpm_graph *graph, struct ddpm_value *x);
struct ddpm_value *ddpm_relu(struct ddpm_graph *graph, struct ddpm_value *x);
struct ddpm_value *ddpm_sigmoid(struct ddpm_graph *graph, struct ddpm_value *x);
struct ddpm_value *ddpm_add(struct ddpm_graph *graph, struct ddpm_value *a, struct ddpm_value *b);
struct ddpm_value *ddpm_add_channels(struct ddpm_graph *graph, struct ddpm_value *x,
                                     struct ddpm_value *v);
struct ddpm_value *ddpm_concat(struct ddpm_graph *graph, struct ddpm_value *a,
                               struct ddpm_value *b);
struct ddpm_value *ddpm_upsample_nearest(struct ddpm_graph *graph, struct ddpm_value *x);
struct ddpm_value *ddpm_scale_pixels(struct ddpm_graph *graph, struct ddpm_value *factor,
                                     struct ddpm_value *x);
/* qkv [B,H,W,3C] → the attention [B,H,W,C] of every pixel to all pixels of its picture. */
struct ddpm_value *ddpm_attention(struct ddpm_graph *graph, struct ddpm_value *qkv, int64_t heads);
struct ddpm_value *ddpm_timestep_embedding(struct ddpm_graph *graph, struct ddpm_value *t,
                                           int64_t features, double theta);

/* Training and sampling around the network. */

/* x in a different dtype; x itself if it already has it. */
struct ddpm_value *ddpm_convert(struct ddpm_graph *graph, struct ddpm_value *x,
                                enum ddpm_dtype dtype);
struct ddpm_value *ddpm_normalize_pictures(struct ddpm_graph *graph, struct ddpm_value *pictures,
                                           struct ddpm_value *flips);
/* Where the pixels of x [B,H,W,C] are in a whole picture of this size, from -1 at its top and left
 * edges to 1 → [B,H,W,2]. corners: int32 [B,1,1,2], the row and column of the first pixel of x;
 * NULL: x is the whole picture. */
struct ddpm_value *ddpm_coordinates(struct ddpm_graph *graph, const struct ddpm_value *x,
                                    struct ddpm_value *corners, int64_t height, int64_t width);
struct ddpm_value *ddpm_draw_timesteps(struct ddpm_graph *graph, struct ddpm_value *counters,
                                       uint64_t seed, int timesteps, bool per_batch);
struct ddpm_value *ddpm_draw_normal(struct ddpm_graph *graph, struct ddpm_value *counters,
                                    uint64_t seed, uint32_t stream,
                                    const struct ddpm_tensor *shape_of);
/* weight: fp32 [B,1,1,1], one for each picture; NULL: 1. */
struct ddpm_value *ddpm_loss_per_picture(struct ddpm_graph *graph, struct ddpm_value *prediction,
                                         struct ddpm_value *target, struct ddpm_value *weight,
                                         enum ddpm_loss loss);
struct ddpm_value *ddpm_loss_gradient(struct ddpm_graph *graph, struct ddpm_value *prediction,
                                      struct ddpm_value *target, struct ddpm_value *weight,
                                      enum ddpm_loss loss, float scale);
/* weight·(√(m + eps²) - eps) of the mean squares [B,1,1,1] of ddpm_loss_per_picture(). rows
 * [B,1,1,2]: the factor of the differentiated value in the difference, then the weight. *slopes
 * [B,1,1,2] are ± the coefficient of that difference in the gradient of the batch's mean, times
 * scale = 1 / (number of a picture's elements). */
struct ddpm_value *ddpm_pseudo_huber(struct ddpm_graph *graph, struct ddpm_value *squares,
                                     struct ddpm_value *rows, float eps, float scale,
                                     struct ddpm_value **slopes);
/* The weights e^-u of losses, and the derivative with respect to u of scale times the mean of
 * loss·e^-u + u. */
struct ddpm_value *ddpm_uncertainty(struct ddpm_graph *graph, struct ddpm_value *loss,
                                    struct ddpm_value *u, float scale, struct ddpm_value **slopes);
/* loss plus the variational term of a learned variance, for each picture. answer [B,H,W,2C]: ε̂,
 * then v. rows: the columns of enum ddpm_variance_column. */
struct ddpm_value *ddpm_variational_loss(struct ddpm_graph *graph, struct ddpm_value *loss,
                                         struct ddpm_value *answer, struct ddpm_value *noise,
                                         struct ddpm_value *x0, struct ddpm_value *rows);
/* The gradient of that term, which only v gets: [B,H,W,C]. */
struct ddpm_value *ddpm_variational_gradient(struct ddpm_graph *graph, struct ddpm_value *answer,
                                             struct ddpm_value *noise, struct ddpm_value *x0,
                                             struct ddpm_value *rows, float scale);
/* noise times its learned standard deviation. rows: the first two of those columns. */
struct ddpm_value *ddpm_scale_noise(struct ddpm_graph *graph, struct ddpm_value *variance,
                                    struct ddpm_value *noise, struct ddpm_value *rows);
/* The row of table [T,1,1,K] for each t [B,1,1,1]: [B,1,1,K]. */
struct ddpm_value *ddpm_gather_rows(struct ddpm_graph *graph, struct ddpm_value *table,
                                    struct ddpm_value *t);
/* Σ_i rows[b][columns[i]]·inputs[i] over the inputs that are not NULL, clamped to [-1,1] if `clip`.
 * All have the same shape. Written to `into`, which may be one of the inputs, or, if that is NULL,
 * to a new value of `dtype`. */
struct ddpm_value *ddpm_combine(struct ddpm_graph *graph, struct ddpm_value *rows,
                                const int columns[DDPM_COMBINED],
                                struct ddpm_value *const inputs[DDPM_COMBINED], bool clip,
                                enum ddpm_dtype dtype, struct ddpm_value *into);
/* For each picture, whichever of a and b is nearer to x. */
struct ddpm_value *ddpm_nearest(struct ddpm_graph *graph, struct ddpm_value *x,
                                struct ddpm_value *a, struct ddpm_value *b);
/* Clip each picture at the quantile of its absolute values, and scale it to [-1,1]. */
struct ddpm_value *ddpm_threshold(struct ddpm_graph *graph, struct ddpm_value *x, double quantile);
/* mask·a + (1-mask)·b, one mask value per pixel. Written to `into`, which may be a or b, or, if
 * that is NULL, to a new value. */
struct ddpm_value *ddpm_blend(struct ddpm_graph *graph, struct ddpm_value *mask,
                              struct ddpm_value *a, struct ddpm_value *b, struct ddpm_value *into);
struct ddpm_value *ddpm_gradient_norm(struct ddpm_graph *graph, struct ddpm_value *gradients,
                                      struct ddpm_value *losses);
struct ddpm_adamw_options {    /* each may be NULL: none */
    struct ddpm_value *copies, /* the weights in bf16 */
        *second_ema, *rules;   /* enum ddpm_adamw_rule for every DDPM_RULE_ELEMENTS elements */
};
void ddpm_adamw(struct ddpm_graph *graph, struct ddpm_value *gradients, struct ddpm_value *norm,
                struct ddpm_value *hyper, struct ddpm_value *weights, struct ddpm_value *m,
                struct ddpm_value *v, struct ddpm_value *ema,
                const struct ddpm_adamw_options *options);
/* For the matrix [rows, …] in these ranges of slabs. */
void ddpm_muon(struct ddpm_graph *graph, struct ddpm_value *gradient, struct ddpm_value *norm,
               struct ddpm_value *hyper, struct ddpm_value *weight, struct ddpm_value *m,
               int64_t rows);
/* copies = weights, rounded to bf16 like adamw does. */
void ddpm_copy_weights(struct ddpm_graph *graph, struct ddpm_value *weights,
                       struct ddpm_value *copies);

/* Gradient rules, by operation; NULL for operations that are not differentiated. Called with a node
 * whose output 0 has a gradient (ddpm_graph_gradient()), a rule appends backward nodes and passes
 * gradients on (ddpm_graph_add_gradient()). */
typedef void ddpm_gradient_rule(struct ddpm_graph *graph, const struct ddpm_node *node);
ddpm_gradient_rule ddpm_conv2d_gradient, ddpm_depthwise_conv2d_gradient, ddpm_group_norm_gradient,
    ddpm_activation_gradient, ddpm_add_gradient, ddpm_add_channels_gradient, ddpm_concat_gradient,
    ddpm_upsample_gradient, ddpm_scale_pixels_gradient, ddpm_attention_gradient;
extern ddpm_gradient_rule *const ddpm_gradient_rules[DDPM_OP_COUNT];

#endif

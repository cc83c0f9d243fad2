/* The blocks that the U-Nets are made of. */
#include "nets/blocks.h"

struct ddpm_value *ddpm_time_mlp(struct ddpm_graph *g, struct ddpm_value *t, int64_t dim,
                                 double theta)
{
    ddpm_graph_enter(g, "time_mlp");
    struct ddpm_value *e = ddpm_timestep_embedding(g, t, dim, theta);
    e = ddpm_linear(g, e, "1", 4 * dim);
    e = ddpm_gelu(g, e);
    e = ddpm_linear(g, e, "3", 4 * dim);
    ddpm_graph_leave(g);
    return e;
}

struct ddpm_value *ddpm_convnext_block(const struct ddpm_net_build *build, struct ddpm_value *x,
                                       int64_t channels, const char *name)
{
    struct ddpm_graph *g = build->graph;
    if (!x)
        return NULL;
    const int64_t in = x->tensor.c;
    const bool norm = build->config->norm;

    ddpm_graph_enter(g, "%s", name);
    ddpm_graph_begin_block(g);
    struct ddpm_value *time = ddpm_linear(g, ddpm_gelu(g, build->time), "mlp.1", in);
    struct ddpm_value *h = ddpm_depthwise_conv2d(g, x, "in_conv", 7);
    h = ddpm_add_channels(g, h, time);
    h = norm ? ddpm_group_norm(g, h, "block.0") : h;
    h = ddpm_conv2d(g, h, "block.1", channels * build->config->mult, 3, 1);
    h = ddpm_gelu(g, h);
    /* With norm=False the article drops only the first norm; the second is always there. */
    h = ddpm_group_norm(g, h, "block.3");
    h = ddpm_conv2d(g, h, "block.4", channels, 3, 1);
    struct ddpm_value *residual =
        in == channels ? x : ddpm_conv2d(g, x, "residual_conv", channels, 1, 0);
    h = ddpm_add(g, h, residual);
    ddpm_graph_end_block(g);
    ddpm_graph_leave(g);
    return h;
}

struct ddpm_value *ddpm_level_down(const struct ddpm_net_build *build, struct ddpm_value *x,
                                   int64_t channels, bool last, const char *name)
{
    struct ddpm_graph *g = build->graph;
    if (last)
        return ddpm_conv2d(g, x, name, channels, 3, 1);
    ddpm_graph_enter(g, "%s", name);
    x = ddpm_downsample(g, x, "net.1", channels);
    ddpm_graph_leave(g);
    return x;
}

struct ddpm_value *ddpm_level_up(const struct ddpm_net_build *build, struct ddpm_value *x,
                                 int64_t channels, bool last, const char *name)
{
    struct ddpm_graph *g = build->graph;
    if (last)
        return ddpm_conv2d(g, x, name, channels, 3, 1);
    ddpm_graph_enter(g, "%s", name);
    x = ddpm_upsample_nearest(g, x);
    x = ddpm_conv2d(g, x, "net.1", channels, 3, 1);
    ddpm_graph_leave(g);
    return x;
}

struct ddpm_value *ddpm_block_attention(const struct ddpm_net_build *build, struct ddpm_value *skip,
                                        struct ddpm_value *gate, const char *name)
{
    struct ddpm_graph *g = build->graph;
    if (!skip || !gate)
        return NULL;
    const int64_t channels = gate->tensor.c;
    ddpm_graph_enter(g, "%s", name);
    struct ddpm_value *a = ddpm_add(g, ddpm_conv2d(g, gate, "gate_conv", channels, 1, 0),
                                    ddpm_conv2d(g, skip, "residual_conv", channels, 1, 0));
    a = ddpm_conv2d(g, ddpm_relu(g, a), "in_conv", 1, 1, 0);
    a = ddpm_scale_pixels(g, ddpm_sigmoid(g, a), skip);
    ddpm_graph_leave(g);
    return a;
}

struct ddpm_value *ddpm_self_attention(const struct ddpm_net_build *build, struct ddpm_value *x,
                                       const char *name)
{
    enum { HEAD = 64 };
    struct ddpm_graph *g = build->graph;
    if (!x)
        return NULL;
    const int64_t channels = x->tensor.c;
    ddpm_graph_enter(g, "%s", name);
    struct ddpm_value *h = ddpm_conv2d(g, ddpm_group_norm(g, x, "norm"), "qkv", 3 * channels, 1, 0);
    h = ddpm_attention(g, h, channels % HEAD == 0 ? channels / HEAD : 1);
    h = ddpm_add(g, ddpm_conv2d(g, h, "out", channels, 1, 0), x);
    ddpm_graph_leave(g);
    return h;
}

/* OneResUNet, TwoResUNet and AttentionUNet: one U-Net with three ways to treat its skip
 * connections.
 *
 * dims = [init_dim, dim·m for m in dim_mults]; level i leads from dims[i] to dims[i+1] channels;
 * the last level does not change the resolution. */
#include "nets/nets.h"

#include <stdio.h>

#include "nets/blocks.h"

/* What distinguishes the three. */
struct unet_kind {
    int skips;      /* per level: 1 (after the second block) or 2 (after each) */
    bool attention; /* skips go through a gate first */
};

struct unet {
    struct ddpm_net_build build;
    struct unet_kind kind;
    int64_t dims[DDPM_MAX_LEVELS + 1];
    struct ddpm_value *skips[2 * DDPM_MAX_LEVELS]; /* a stack */
    int skip_count;
};

static const char *member(char name[32], const char *list, int level, int index)
{
    snprintf(name, 32, "%s.%d.%d", list, level, index);
    return name;
}

static struct ddpm_value *level_down(struct unet *u, struct ddpm_value *x, int level)
{
    char name[32];
    const bool last = level == u->build.config->levels - 1;
    x = ddpm_convnext_block(&u->build, x, u->dims[level], member(name, "downs", level, 0));
    if (u->kind.skips == 2)
        u->skips[u->skip_count++] = x;
    x = ddpm_convnext_block(&u->build, x, u->dims[level], member(name, "downs", level, 1));
    u->skips[u->skip_count++] = x;
    return ddpm_level_down(&u->build, x, u->dims[level + 1], last, member(name, "downs", level, 2));
}

/* [current, skip], the newest skip first. */
static struct ddpm_value *join_skip(struct unet *u, struct ddpm_value *x, int up)
{
    char name[32];
    struct ddpm_value *skip = u->skips[--u->skip_count];
    if (u->kind.attention)
        skip = ddpm_block_attention(&u->build, skip, x, member(name, "ups", up, 0));
    return ddpm_concat(u->build.graph, x, skip);
}

static struct ddpm_value *level_up(struct unet *u, struct ddpm_value *x, int up)
{
    char name[32];
    const int level = u->build.config->levels - 1 - up;
    const int first = u->kind.attention ? 1 : 0; /* ups.i.0 is the gate */
    const int64_t channels = u->dims[level + 1];
    x = join_skip(u, x, up);
    x = ddpm_convnext_block(&u->build, x, channels, member(name, "ups", up, first));
    if (u->kind.skips == 2)
        x = join_skip(u, x, up);
    x = ddpm_convnext_block(&u->build, x, channels, member(name, "ups", up, first + 1));
    return ddpm_level_up(&u->build, x, u->dims[level], level == 0,
                         member(name, "ups", up, first + 2));
}

static struct ddpm_value *build_unet(struct ddpm_graph *g, const struct ddpm_network_config *config,
                                     struct ddpm_value *x, struct ddpm_value *t,
                                     struct unet_kind kind)
{
    struct unet u = {.build = {g, config, NULL}, .kind = kind};
    u.dims[0] = config->init_dim ? config->init_dim : config->dim;
    for (int i = 0; i < config->levels; ++i)
        u.dims[i + 1] = config->dim * config->dim_mults[i];

    x = ddpm_conv2d(g, x, "init_conv", u.dims[0], 7, 3);
    struct ddpm_value *r = x;
    u.build.time = ddpm_time_mlp(g, t, config->dim, config->theta);

    for (int level = 0; level < config->levels; ++level)
        x = level_down(&u, x, level);
    x = ddpm_convnext_block(&u.build, x, u.dims[config->levels], "mid_block1");
    x = ddpm_convnext_block(&u.build, x, u.dims[config->levels], "mid_block2");
    for (int up = 0; up < config->levels; ++up)
        x = level_up(&u, x, up);

    x = ddpm_concat(g, x, r);
    x = ddpm_convnext_block(&u.build, x, config->dim, "final_res_block");
    return ddpm_conv2d(g, x, "final_conv", config->out_dim ? config->out_dim : config->channels, 1,
                       0);
}

static struct ddpm_value *build_one_res(struct ddpm_graph *g,
                                        const struct ddpm_network_config *config,
                                        struct ddpm_value *x, struct ddpm_value *t)
{
    return build_unet(g, config, x, t, (struct unet_kind){.skips = 1});
}

static struct ddpm_value *build_two_res(struct ddpm_graph *g,
                                        const struct ddpm_network_config *config,
                                        struct ddpm_value *x, struct ddpm_value *t)
{
    return build_unet(g, config, x, t, (struct unet_kind){.skips = 2});
}

static struct ddpm_value *build_attention(struct ddpm_graph *g,
                                          const struct ddpm_network_config *config,
                                          struct ddpm_value *x, struct ddpm_value *t)
{
    return build_unet(g, config, x, t, (struct unet_kind){.skips = 2, .attention = true});
}

const struct ddpm_net ddpm_nets[] = {
    [DDPM_NETWORK_ONE_RES_UNET] = {"OneResUNet", "one skip connection per level", build_one_res},
    [DDPM_NETWORK_TWO_RES_UNET] = {"TwoResUNet", "two skip connections per level", build_two_res},
    [DDPM_NETWORK_ATTENTION_UNET] = {"AttentionUNet", "two per level, each through a gate",
                                     build_attention},
};
const size_t ddpm_net_count = sizeof ddpm_nets / sizeof *ddpm_nets;

struct ddpm_value *ddpm_net_build(struct ddpm_graph *graph,
                                  const struct ddpm_network_config *config, struct ddpm_value *x,
                                  struct ddpm_value *t)
{
    if (!x || !t)
        return NULL;
    const int64_t multiple = (int64_t)1 << (config->levels - 1);
    const int64_t h = x->tensor.h, w = x->tensor.w;
    if (h % multiple || w % multiple)
        return ddpm_graph_fail(
            graph, ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "picture size: got %lldx%lld, want multiples of %lld for %d levels "
                              "(nearest: %lldx%lld)",
                              (long long)h, (long long)w, (long long)multiple, config->levels,
                              (long long)((h + multiple - 1) / multiple * multiple),
                              (long long)((w + multiple - 1) / multiple * multiple)));
    return ddpm_nets[config->network].build(graph, config, x, t);
}

ddpm_status ddpm_net_declare(const struct ddpm_network_config *config,
                             struct ddpm_parameters *parameters)
{
    struct ddpm_graph *graph;
    DDPM_TRY(ddpm_graph_create(parameters, DDPM_F32, &graph));
    const int64_t size = (int64_t)1 << (config->levels - 1);
    struct ddpm_value *x = ddpm_graph_input(graph, DDPM_F32, 1, size, size, config->channels);
    struct ddpm_value *t = ddpm_graph_input(graph, DDPM_I32, 1, 1, 1, 1);
    ddpm_net_build(graph, config, x, t);
    ddpm_status status = graph->status;
    ddpm_graph_destroy(&graph);
    return status;
}

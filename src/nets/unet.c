/* OneResUNet, TwoResUNet and AttentionUNet: one U-Net with three ways to treat its skip
 * connections.
 *
 * dims = [init_dim, dim·m for m in dim_mults]; level i goes from dims[i] to dims[i+1] channels; the
 * last level keeps the resolution. */
#include "nets/nets.h"

#include <stdio.h>

#include "nets/blocks.h"
#include "nets/builders.h"

/* How the three differ. */
struct unet_kind {
    int skips;      /* per level: 1 (after the second block) or 2 (after each) */
    bool attention; /* skips pass through a gate first */
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

/* [x, coordinates] (Liu et al. 2018, arXiv 1807.03247). */
static struct ddpm_value *with_coordinates(struct ddpm_graph *g,
                                           const struct ddpm_net_inputs *inputs)
{
    struct ddpm_value *x = inputs->x;
    return ddpm_concat(g, x,
                       inputs->coordinates
                           ? inputs->coordinates
                           : ddpm_coordinates(g, x, NULL, x->tensor.h, x->tensor.w));
}

static struct ddpm_value *build_unet(struct ddpm_graph *g, const struct ddpm_network_config *config,
                                     const struct ddpm_net_inputs *inputs, struct unet_kind kind)
{
    struct unet u = {.build = {g, config, NULL}, .kind = kind};
    u.dims[0] = config->init_dim ? config->init_dim : config->dim;
    for (int i = 0; i < config->levels; ++i)
        u.dims[i + 1] = config->dim * config->dim_mults[i];

    struct ddpm_value *x = config->coordinates ? with_coordinates(g, inputs) : inputs->x;
    x = ddpm_conv2d(g, x, "init_conv", u.dims[0], 7, 3);
    struct ddpm_value *r = x;
    u.build.time = ddpm_time_mlp(g, inputs->time, config->dim, config->theta);

    for (int level = 0; level < config->levels; ++level)
        x = level_down(&u, x, level);
    x = ddpm_convnext_block(&u.build, x, u.dims[config->levels], "mid_block1");
    if (config->attention)
        x = ddpm_self_attention(&u.build, x, "mid_attention");
    x = ddpm_convnext_block(&u.build, x, u.dims[config->levels], "mid_block2");
    for (int up = 0; up < config->levels; ++up)
        x = level_up(&u, x, up);

    x = ddpm_concat(g, x, r);
    x = ddpm_convnext_block(&u.build, x, config->dim, "final_res_block");
    return ddpm_conv2d(g, x, "final_conv", ddpm_network_outputs(config), 1, 0);
}

struct ddpm_value *ddpm_build_one_res_unet(struct ddpm_graph *g,
                                           const struct ddpm_network_config *config,
                                           const struct ddpm_net_inputs *inputs)
{
    return build_unet(g, config, inputs, (struct unet_kind){.skips = 1});
}

struct ddpm_value *ddpm_build_two_res_unet(struct ddpm_graph *g,
                                           const struct ddpm_network_config *config,
                                           const struct ddpm_net_inputs *inputs)
{
    return build_unet(g, config, inputs, (struct unet_kind){.skips = 2});
}

struct ddpm_value *ddpm_build_attention_unet(struct ddpm_graph *g,
                                             const struct ddpm_network_config *config,
                                             const struct ddpm_net_inputs *inputs)
{
    return build_unet(g, config, inputs, (struct unet_kind){.skips = 2, .attention = true});
}

/* The blocks that the U-Nets are made of; see docs/model.md for their definitions. Parameter names
 * are PyTorch's. */
#ifndef DDPM_NETS_BLOCKS_H
#define DDPM_NETS_BLOCKS_H

#include "config/config.h"
#include "graph/ops.h"

/* State that all blocks of a network share. */
struct ddpm_net_build {
    struct ddpm_graph *graph;
    const struct ddpm_network_config *config;
    struct ddpm_value *time; /* output of the time MLP, [B,1,1,4·dim] */
};

/* Sinusoidal embedding of t, Linear, GELU, Linear ("time_mlp.1", "time_mlp.3"). */
struct ddpm_value *ddpm_time_mlp(struct ddpm_graph *graph, struct ddpm_value *t, int64_t dim,
                                 double theta);

/* ConvNeXt block (after Liu et al. 2022) of `channels` output channels, named by format. */
struct ddpm_value *ddpm_convnext_block(const struct ddpm_net_build *build, struct ddpm_value *x,
                                       int64_t channels, const char *name);

/* The end of a level: halve the resolution, or at the last level a 3×3 convolution. */
struct ddpm_value *ddpm_level_down(const struct ddpm_net_build *build, struct ddpm_value *x,
                                   int64_t channels, bool last, const char *name);

/* The end of an up level: double the resolution, or at the last level a 3×3 convolution. */
struct ddpm_value *ddpm_level_up(const struct ddpm_net_build *build, struct ddpm_value *x,
                                 int64_t channels, bool last, const char *name);

/* The attention gate. Its three convolutions are declared by the first use and shared by the
 * second: σ(in_conv(ReLU(gate_conv(gate) + residual_conv(skip)))) · skip (Ibtehaz & Kihara,
 * ACC-UNet, 2023; Oktay et al. 2018). */
struct ddpm_value *ddpm_block_attention(const struct ddpm_net_build *build, struct ddpm_value *skip,
                                        struct ddpm_value *gate, const char *name);

/* x + out(attention(qkv(norm(x)))): every pixel attends to all others, in heads of 64 channels if
 * 64 divides the channels, else in one head (Vaswani et al. 2017; Ho et al. 2020, appendix B). */
struct ddpm_value *ddpm_self_attention(const struct ddpm_net_build *build, struct ddpm_value *x,
                                       const char *name);

#endif

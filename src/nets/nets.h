/* The table of networks. Each is a function that builds a graph. */
#ifndef DDPM_NETS_NETS_H
#define DDPM_NETS_NETS_H

#include "config/config.h"
#include "graph/ops.h"

/* The inputs of a network. A network uses those it knows and fails on others. */
struct ddpm_net_inputs {
    struct ddpm_value *x;           /* [B,H,W,channels] in the graph's dtype */
    struct ddpm_value *time;        /* fp32 [B,1,1,1] */
    struct ddpm_value *label;       /* int32 [B,1,1,1], or NULL */
    struct ddpm_value *context;     /* [B,1,N,C], or NULL */
    struct ddpm_value *coordinates; /* of the pixels of x, [B,H,W,2]; NULL: x is a whole picture */
};

/* Append a whole network to a graph, and its parameters to the current set → [B,H,W,out_dim]. NULL
 * if the graph has failed. */
typedef struct ddpm_value *ddpm_net_builder(struct ddpm_graph *graph,
                                            const struct ddpm_network_config *config,
                                            const struct ddpm_net_inputs *inputs);

/* A network family: a row of config/networks.inc. */
struct ddpm_net {
    const char *name; /* as in the configuration: "TwoResUNet" */
    const char *help;
    ddpm_net_builder *build;
};

extern const struct ddpm_net ddpm_nets[DDPM_NETWORK_COUNT];

/* Build the configured network; height and width must be multiples of ddpm_network_multiple()
 * (config/config.h), else DDPM_ERROR_ARGUMENT. */
struct ddpm_value *ddpm_net_build(struct ddpm_graph *graph,
                                  const struct ddpm_network_config *config,
                                  const struct ddpm_net_inputs *inputs);

/* Declare the configured network's parameters without planning anything. */
ddpm_status ddpm_net_declare(const struct ddpm_network_config *config, struct ddpm_weight_set *set);

/* Learned weights of noise levels (--loss-weight uncertainty): u, the logarithm of the loss
 * expected at a level, from a linear layer "uncertainty" on the level's Fourier features. Trained
 * with the network; nothing else uses it. level fp32 [B,1,1,1] (diffusion/objective.h:
 * DDPM_TRAINING_LEVEL) → [B,1,1,1], fp32 whatever the graph's dtype. */
struct ddpm_value *ddpm_uncertainty_build(struct ddpm_graph *graph, struct ddpm_value *level);

/* Declare the parameters of that layer. */
ddpm_status ddpm_uncertainty_declare(struct ddpm_weight_set *set);

#endif

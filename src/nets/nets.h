/* The networks, as builders of graphs, in one table. */
#ifndef DDPM_NETS_NETS_H
#define DDPM_NETS_NETS_H

#include "config/config.h"
#include "graph/ops.h"

/* A network family. `build` appends the whole network to a graph: x [B,H,W,channels] in the graph's
 * dtype, t int32 [B,1,1,1] → prediction [B,H,W,out_dim]. NULL when the graph has failed. */
struct ddpm_net {
    const char *name; /* as in configurations: "TwoResUNet" */
    const char *help;
    struct ddpm_value *(*build)(struct ddpm_graph *graph, const struct ddpm_network_config *config,
                                struct ddpm_value *x, struct ddpm_value *t);
};

extern const struct ddpm_net ddpm_nets[]; /* by enum ddpm_network_kind */
extern const size_t ddpm_net_count;

/* Build the configured network; the picture size must divide by 2^(levels-1), else
 * DDPM_ERROR_ARGUMENT. */
struct ddpm_value *ddpm_net_build(struct ddpm_graph *graph,
                                  const struct ddpm_network_config *config, struct ddpm_value *x,
                                  struct ddpm_value *t);

/* Declare the configured network's parameters, without planning anything. */
ddpm_status ddpm_net_declare(const struct ddpm_network_config *config,
                             struct ddpm_parameters *parameters);

#endif

/* The table of networks, and code that all of them share. */
#include "nets/nets.h"

#include "nets/builders.h"

const struct ddpm_net ddpm_nets[DDPM_NETWORK_COUNT] = {
#define NETWORK(id, name_, help_, build_)                                                          \
    [DDPM_NETWORK_##id] = {.name = name_, .help = help_, .build = ddpm_build_##build_},
#include "config/networks.inc"
#undef NETWORK
};

struct ddpm_value *ddpm_net_build(struct ddpm_graph *graph,
                                  const struct ddpm_network_config *config,
                                  const struct ddpm_net_inputs *inputs)
{
    if (!inputs->x || !inputs->time)
        return NULL;
    ddpm_status status =
        ddpm_network_check_size(config, "picture size", inputs->x->tensor.h, inputs->x->tensor.w);
    if (status == DDPM_OK && (inputs->label || inputs->context))
        status = ddpm_raise(DDPM_ERROR_UNSUPPORTED, "network %s: got a %s, which it does not take",
                            ddpm_nets[config->network].name, inputs->label ? "label" : "context");
    if (status != DDPM_OK)
        return ddpm_graph_fail(graph, status);
    return ddpm_nets[config->network].build(graph, config, inputs);
}

ddpm_status ddpm_net_declare(const struct ddpm_network_config *config, struct ddpm_weight_set *set)
{
    struct ddpm_graph *graph;
    DDPM_TRY(ddpm_graph_create(DDPM_F32, &graph));
    const int64_t size = ddpm_network_multiple(config);
    const struct ddpm_net_inputs inputs = {
        .x = ddpm_graph_input(graph, DDPM_F32, 1, size, size, config->channels),
        .time = ddpm_graph_input(graph, DDPM_F32, 1, 1, 1, 1),
    };
    ddpm_graph_use(graph, set, 0);
    ddpm_net_build(graph, config, &inputs);
    ddpm_status status = graph->status;
    ddpm_graph_destroy(&graph);
    return status;
}

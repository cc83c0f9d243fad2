/* Learned weights of noise levels (Kendall, Gal & Cipolla 2018; Karras et al. 2024, "Analyzing and
 * improving the training dynamics of diffusion models", section 2.2). EDM2 draws the frequencies of
 * its features at random; ours are evenly spaced on a logarithmic scale over the same range. */
#include "nets/nets.h"

enum { FEATURES = 32 };
static const double lowest = 16; /* the lowest frequency is the highest divided by this */

struct ddpm_value *ddpm_uncertainty_build(struct ddpm_graph *graph, struct ddpm_value *level)
{
    const enum ddpm_dtype dtype = graph->dtype;
    const bool reads_copies = graph->reads_copies;
    graph->dtype = graph->parameter_dtype; /* bf16 would round e^-u to two digits */
    graph->reads_copies = false;
    struct ddpm_value *features = ddpm_timestep_embedding(graph, level, FEATURES, lowest);
    struct ddpm_value *u = ddpm_linear(graph, features, "uncertainty", 1);
    graph->dtype = dtype;
    graph->reads_copies = reads_copies;
    return u;
}

ddpm_status ddpm_uncertainty_declare(struct ddpm_weight_set *set)
{
    struct ddpm_graph *graph;
    DDPM_TRY(ddpm_graph_create(DDPM_F32, &graph));
    ddpm_graph_use(graph, set, 0);
    ddpm_uncertainty_build(graph, ddpm_graph_input(graph, DDPM_F32, 1, 1, 1, 1));
    ddpm_status status = graph->status;
    ddpm_graph_destroy(&graph);
    return status;
}

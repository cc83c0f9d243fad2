/* Gradients that are written instead of added to.
 *
 * Kernels add to the gradients of parameters, because a parameter may be used more than once and a
 * step may have several micro-batches. If a part runs once per step, the first call that computes a
 * parameter's gradient may write it: then nobody zeroes the gradients, and the call does not read
 * them. */
#include <stdlib.h>

#include "core/memory.h"
#include "graph/graph.h"

/* Is this output the gradient of a parameter of `set`? */
static bool is_gradient(const struct ddpm_graph *graph, const struct ddpm_value *out,
                        const struct ddpm_weight_set *set)
{
    return out && out->kind == DDPM_VALUE_GRADIENT && graph->uses[out->use].set == set;
}

/* Mark every parameter's first output, in the nodes' attributes and in `written`. */
static void mark_first(struct ddpm_graph *graph, const struct ddpm_weight_set *set, bool *written)
{
    for (size_t i = 0; i < graph->node_count; ++i)
        for (int k = 0; k < DDPM_MAX_OUTPUTS; ++k) {
            struct ddpm_node *node = graph->nodes[i];
            if (!is_gradient(graph, node->out[k], set) || written[node->out[k]->parameter])
                continue;
            node->attributes.overwrites |= 1u << k;
            written[node->out[k]->parameter] = true;
        }
}

static bool all(const bool *of, size_t count)
{
    while (count > 0 && of[count - 1])
        --count;
    return count == 0;
}

ddpm_status ddpm_graph_overwrite_gradients(struct ddpm_graph *graph)
{
    DDPM_TRY(graph->status);
    graph->overwrites = true;
    for (int use = 0; use < graph->use_count && graph->overwrites; ++use) {
        const struct ddpm_weight_set *set = graph->uses[use].set;
        bool *written;
        if (set->frozen || graph->uses[use].slab != 0)
            continue;
        DDPM_TRY(
            ddpm_new_array((void **)&written, set->parameters.count, sizeof *written, "gradients"));
        mark_first(graph, set, written);
        graph->overwrites = all(written, set->parameters.count);
        free(written);
    }
    for (size_t i = 0; i < graph->node_count && !graph->overwrites; ++i)
        graph->nodes[i]->attributes.overwrites = 0;
    return DDPM_OK;
}

/* Asides: calls that run concurrently with the others (kernels/backend.h: aside_begin). They are
 * the gradients of convolutions' weights, which nothing in the backward pass reads.
 *
 * Before an aside starts, all earlier ones except the last are done. So the memory that an aside
 * reads and writes must not be reused until the aside after the next one starts, or until the part
 * ends, which waits for all asides. (That node counts as a reader: no earlier node may write there
 * in place.) At most two asides run at once; more would keep more memory. */
#include "graph/aside.h"

void ddpm_graph_choose_asides(struct ddpm_graph *graph)
{
    const bool can = graph->aside && graph->device->backend->aside_begin;
    for (size_t i = 0; i < graph->node_count; ++i)
        graph->nodes[i]->aside = can && graph->nodes[i]->op == DDPM_OP_CONV2D_BACKWARD_WEIGHT;
}

int ddpm_graph_needed_until(const struct ddpm_graph *graph, size_t i)
{
    const struct ddpm_node *node = graph->nodes[i];
    int begun = 0;
    if (!node->aside)
        return (int)i;
    const size_t end = graph->parts[node->part].end;
    for (size_t next = i + 1; next < end; ++next)
        if (graph->nodes[next]->aside && ++begun == 2)
            return (int)next;
    return (int)end;
}

ddpm_status ddpm_graph_run_aside(const struct ddpm_graph *graph, size_t i)
{
    const struct ddpm_backend *backend = graph->device->backend;
    const struct ddpm_call *call = &graph->calls[i];
    DDPM_TRY(backend->aside_join(graph->device, 1));
    DDPM_TRY(backend->aside_begin(graph->device));
    const ddpm_status status = call->kernel->run(call);
    const ddpm_status ended = backend->aside_end(graph->device);
    return status != DDPM_OK ? status : ended;
}

ddpm_status ddpm_graph_join_asides(const struct ddpm_graph *graph, int part)
{
    for (size_t i = graph->parts[part].begin; i < graph->parts[part].end; ++i)
        if (graph->nodes[i]->aside)
            return graph->device->backend->aside_join(graph->device, 0);
    return DDPM_OK;
}

/* Packed weights in memory that several processes share: who packs what. */
#include "graph/graph.h"

void ddpm_graph_lend_packed(struct ddpm_graph *graph, void *memory)
{
    graph->packed = memory;
    graph->packed_is_lent = true;
}

/* The call with the most packed bytes that has no part yet; node_count if there is none. */
static size_t largest_left(const struct ddpm_graph *graph, const int *part_of)
{
    size_t largest = graph->node_count;
    for (size_t i = 0; i < graph->node_count; ++i) {
        if (part_of[i] >= 0 || graph->calls[i].packed_bytes == 0)
            continue;
        if (largest == graph->node_count ||
            graph->calls[i].packed_bytes > graph->calls[largest].packed_bytes)
            largest = i;
    }
    return largest;
}

static size_t bytes_of(const struct ddpm_graph *graph, const int *part_of, int part)
{
    size_t bytes = 0;
    for (size_t i = 0; i < graph->node_count; ++i)
        if (part_of[i] == part)
            bytes += graph->calls[i].packed_bytes;
    return bytes;
}

static int smallest_part(const struct ddpm_graph *graph, const int *part_of, int parts)
{
    size_t least = bytes_of(graph, part_of, 0);
    int smallest = 0;
    for (int part = 1; part < parts; ++part) {
        const size_t bytes = bytes_of(graph, part_of, part);
        if (bytes < least) {
            least = bytes;
            smallest = part;
        }
    }
    return smallest;
}

/* The largest call first, each to the part that is smallest so far. */
void ddpm_graph_divide_packing(const struct ddpm_graph *graph, int parts, int *part_of)
{
    for (size_t i = 0; i < graph->node_count; ++i)
        part_of[i] = -1;
    for (;;) {
        const size_t i = largest_left(graph, part_of);
        if (i == graph->node_count)
            return;
        part_of[i] = smallest_part(graph, part_of, parts);
    }
}

ddpm_status ddpm_graph_pack_some(struct ddpm_graph *graph, const int *part_of, int part)
{
    for (size_t i = 0; i < graph->node_count; ++i) {
        const int at = graph->nodes[i]->use;
        if (part_of[i] != part || at < 0)
            continue;
        const struct ddpm_graph_use *use = &graph->uses[at];
        if (use->packed_version != use->set->version)
            DDPM_TRY(graph->calls[i].kernel->pack(&graph->calls[i]));
    }
    ddpm_graph_packed(graph);
    return DDPM_OK;
}

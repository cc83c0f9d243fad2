/* Finding out when each gradient is final. */
#include "graph/buckets.h"

#include <stdlib.h>

#include "core/memory.h"
#include "graph/aside.h"

/* last[p]: the last node of the part that adds to the gradient of parameter p. */
static void find_last(const struct ddpm_graph *graph, int part, const struct ddpm_weight_set *set,
                      size_t *last)
{
    const struct ddpm_graph_part *nodes = &graph->parts[part];
    for (size_t p = 0; p < set->parameters.count; ++p)
        last[p] = nodes->begin;
    for (size_t i = nodes->begin; i < nodes->end; ++i)
        for (int k = 0; k < DDPM_MAX_OUTPUTS; ++k) {
            const struct ddpm_value *out = graph->nodes[i]->out[k];
            if (out && out->kind == DDPM_VALUE_GRADIENT && graph->uses[out->use].set == set)
                last[out->parameter] = i;
        }
}

static int by_last(const void *a, const void *b)
{
    const struct ddpm_bucket *x = a, *y = b;
    if (x->last != y->last)
        return x->last < y->last ? -1 : 1;
    return x->first > y->first ? -1 : x->first < y->first;
}

/* Does a bucket that ends before element `end` of the slab begin with parameter p? */
static bool begins_bucket(const struct ddpm_parameters *parameters, size_t p, size_t end,
                          size_t least, size_t *first)
{
    *first = p == 0 ? 0 : (size_t)parameters->items[p].offset;
    return p == 0 || end - *first >= least;
}

size_t ddpm_graph_largest_bucket(const struct ddpm_weight_set *set, size_t least)
{
    size_t end = (size_t)set->parameters.slab_count, first, largest = 0;
    for (size_t p = set->parameters.count; p-- > 0;) {
        if (!begins_bucket(&set->parameters, p, end, least, &first))
            continue;
        largest = end - first > largest ? end - first : largest;
        end = first;
    }
    return largest;
}

ddpm_status ddpm_graph_cut_gradients(const struct ddpm_graph *graph, int part,
                                     const struct ddpm_weight_set *set, size_t least,
                                     struct ddpm_bucket **out, size_t *count)
{
    const struct ddpm_parameters *parameters = &set->parameters;
    size_t *last, end = (size_t)parameters->slab_count, latest = 0;
    *count = 0;
    *out = NULL;
    DDPM_TRY(ddpm_new_array((void **)&last, parameters->count, sizeof *last, "gradients"));
    ddpm_status status =
        ddpm_new_array((void **)out, parameters->count, sizeof **out, "gradients' buckets");
    find_last(graph, part, set, last);
    /* Start at the end of the slab: the gradients of its last layers come first. */
    for (size_t p = parameters->count; p-- > 0 && status == DDPM_OK;) {
        size_t first;
        latest = last[p] > latest ? last[p] : latest;
        if (!begins_bucket(parameters, p, end, least, &first))
            continue;
        (*out)[(*count)++] = (struct ddpm_bucket){first, end - first, latest};
        end = first;
        latest = 0;
    }
    free(last);
    if (status == DDPM_OK)
        qsort(*out, *count, sizeof **out, by_last);
    return status;
}

ddpm_status ddpm_graph_run_watched(struct ddpm_graph *graph, int part, ddpm_after_node *after,
                                   void *user)
{
    DDPM_TRY(ddpm_graph_refresh(graph));
    for (size_t i = graph->parts[part].begin; i < graph->parts[part].end; ++i) {
        DDPM_TRY(ddpm_graph_pack_call(graph, i));
        DDPM_TRY(graph->calls[i].kernel->run(&graph->calls[i]));
        DDPM_TRY(after(user, i));
    }
    return DDPM_OK;
}

ddpm_status ddpm_graph_run_stretch(struct ddpm_graph *graph, size_t begin, size_t end)
{
    bool asides = false;
    DDPM_TRY(ddpm_graph_refresh(graph));
    for (size_t i = begin; i < end; ++i) {
        DDPM_TRY(ddpm_graph_pack_call(graph, i));
        if (graph->nodes[i]->aside)
            DDPM_TRY(ddpm_graph_run_aside(graph, i));
        else
            DDPM_TRY(graph->calls[i].kernel->run(&graph->calls[i]));
        asides = asides || graph->nodes[i]->aside;
    }
    return asides ? graph->device->backend->aside_join(graph->device, 0) : DDPM_OK;
}

/* Running a planned graph, and moving values between it and the host. */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "graph/aside.h"
#include "graph/graph.h"

bool ddpm_graph_repacks(const struct ddpm_graph *graph, const struct ddpm_node *node)
{
    return graph->repack && node->use >= 0 && !graph->uses[node->use].set->frozen;
}

/* Pack the calls that read the sets whose bit is in `uses`. */
static ddpm_status pack(struct ddpm_graph *graph, unsigned uses)
{
    for (size_t i = 0; i < graph->node_count; ++i) {
        const int use = graph->nodes[i]->use;
        if (graph->calls[i].packed_bytes && use >= 0 && uses >> use & 1u)
            DDPM_TRY(graph->calls[i].kernel->pack(&graph->calls[i]));
    }
    for (int use = 0; use < graph->use_count; ++use)
        if (uses >> use & 1u)
            graph->uses[use].packed_version = graph->uses[use].set->version;
    return DDPM_OK;
}

void ddpm_graph_packed(struct ddpm_graph *graph)
{
    for (int use = 0; use < graph->use_count; ++use)
        graph->uses[use].packed_version = graph->uses[use].set->version;
}

ddpm_status ddpm_graph_pack(struct ddpm_graph *graph)
{
    return pack(graph, ~0u);
}

ddpm_status ddpm_graph_refresh(struct ddpm_graph *graph)
{
    unsigned stale = 0;
    if (graph->packed_is_lent)
        return DDPM_OK;
    for (int use = 0; use < graph->use_count; ++use) {
        const struct ddpm_weight_set *set = graph->uses[use].set;
        if (graph->uses[use].packed_version != set->version && (!graph->repack || set->frozen))
            stale |= 1u << use;
    }
    return stale ? pack(graph, stale) : DDPM_OK;
}

ddpm_status ddpm_graph_pack_call(const struct ddpm_graph *graph, size_t i)
{
    const struct ddpm_call *call = &graph->calls[i];
    const bool now = call->packed_bytes && ddpm_graph_repacks(graph, graph->nodes[i]);
    return now ? call->kernel->pack(call) : DDPM_OK;
}

ddpm_status ddpm_graph_run(struct ddpm_graph *graph, int part)
{
    DDPM_TRY(ddpm_graph_refresh(graph));
    for (size_t i = graph->parts[part].begin; i < graph->parts[part].end; ++i) {
        DDPM_TRY(ddpm_graph_pack_call(graph, i));
        if (graph->nodes[i]->aside)
            DDPM_TRY(ddpm_graph_run_aside(graph, i));
        else
            DDPM_TRY(graph->calls[i].kernel->run(&graph->calls[i]));
    }
    return ddpm_graph_join_asides(graph, part);
}

/* The first picture in a tensor with a value that is not finite, or -1. Tensors of parameters (n =
 * output channels) and slabs have no pictures: 0 then means "somewhere". */
static ddpm_status find_bad_picture(struct ddpm_device *device, const struct ddpm_tensor *tensor,
                                    int64_t *picture)
{
    *picture = -1;
    if (!ddpm_tensor_present(tensor) || tensor->dtype == DDPM_U8 || tensor->dtype == DDPM_I32)
        return DDPM_OK;
    size_t bytes = ddpm_tensor_bytes(tensor);
    void *host;
    DDPM_TRY(ddpm_new_aligned(&host, bytes, "a tensor to look at"));
    ddpm_status status = device->backend->download(device, host, tensor->data, bytes);
    int64_t per_picture = tensor->h * tensor->w;
    for (int64_t pixel = 0; status == DDPM_OK && pixel < tensor->n * per_picture && *picture < 0;
         ++pixel)
        for (int64_t c = 0; c < tensor->c; ++c)
            if (!isfinite(ddpm_load(host, tensor->dtype, pixel * tensor->pixel_stride + c))) {
                *picture = pixel / per_picture;
                break;
            }
    ddpm_free_aligned(host);
    return status;
}

/* An accumulated gradient of a frozen parameter, which nothing reads and nothing has zeroed. */
static bool is_discarded(const struct ddpm_node *node, int k)
{
    return node->out[k] && node->out[k]->kind == DDPM_VALUE_TEMPORARY &&
           ddpm_op_info[node->op].accumulates >> k & 1u;
}

ddpm_status ddpm_graph_run_checked(struct ddpm_graph *graph, int part, int64_t *picture)
{
    *picture = -1;
    DDPM_TRY(ddpm_graph_refresh(graph));
    for (size_t i = graph->parts[part].begin; i < graph->parts[part].end; ++i) {
        const struct ddpm_call *call = &graph->calls[i];
        DDPM_TRY(ddpm_graph_pack_call(graph, i));
        DDPM_TRY(call->kernel->run(call));
        for (int k = 0; k < DDPM_MAX_OUTPUTS; ++k) {
            if (is_discarded(graph->nodes[i], k))
                continue;
            DDPM_TRY(find_bad_picture(graph->device, &call->out[k], picture));
            if (*picture < 0)
                continue;
            bool per_picture =
                call->out[k].n == call->in[0].n && ddpm_op_info[call->op].accumulates == 0;
            if (!per_picture)
                *picture = -1;
            return ddpm_raise(DDPM_ERROR_NOT_FINITE, "%s (%s)", call->label,
                              ddpm_op_info[call->op].name);
        }
    }
    return DDPM_OK;
}

ddpm_status ddpm_graph_write(struct ddpm_graph *graph, struct ddpm_value *value, const void *from)
{
    return graph->device->backend->upload(graph->device, value->tensor.data, from,
                                          ddpm_tensor_bytes(&value->tensor));
}

/* Some channels of a wider tensor: copy all of it, and take them out. */
static ddpm_status read_view(struct ddpm_device *device, const struct ddpm_tensor *t, char *to)
{
    const size_t size = ddpm_dtype_size(t->dtype), bytes = ddpm_tensor_bytes(t);
    char *wide;
    DDPM_TRY(ddpm_new_array((void **)&wide, bytes, 1, "some channels"));
    const ddpm_status status = device->backend->download(device, wide, t->data, bytes);
    for (int64_t p = 0; p < ddpm_tensor_pixels(t) && status == DDPM_OK; ++p)
        memcpy(to + (size_t)(p * t->c) * size, wide + (size_t)(p * t->pixel_stride) * size,
               (size_t)t->c * size);
    free(wide);
    return status;
}

ddpm_status ddpm_graph_read(struct ddpm_graph *graph, const struct ddpm_value *value, void *to)
{
    const struct ddpm_tensor *tensor = &value->tensor;
    if (tensor->pixel_stride != tensor->c)
        return read_view(graph->device, tensor, to);
    return graph->device->backend->download(graph->device, to, tensor->data,
                                            ddpm_tensor_bytes(tensor));
}

double ddpm_graph_flops(const struct ddpm_graph *graph, int part)
{
    double flops = 0;
    for (size_t i = graph->parts[part].begin; i < graph->parts[part].end; ++i)
        flops += ddpm_call_flops(&graph->calls[i]);
    return flops;
}

/* The plan: the memory of every value and the kernel of every node.
 *
 *   1. concatenations copy nothing if their input can be placed inside their output
 *   2. kernels are chosen and prepared, which shows how much scratch each needs
 *   3. a value needs its storage from its producer to its last reader; in-place operations share
 *   4. everything is placed in one arena (place.c), allocated, and given its address */
#include "graph/plan.h"

#include <stdlib.h>

#include "core/memory.h"
#include "graph/aside.h"
#include "graph/graph.h"

/* The value that owns a value's storage, through views and concatenations. */
static struct ddpm_value *base_of(struct ddpm_value *value)
{
    while (value->view_of)
        value = value->view_of;
    return value;
}

static bool in_arena(const struct ddpm_value *value)
{
    return value->kind == DDPM_VALUE_TEMPORARY || value->kind == DDPM_VALUE_KEPT;
}

/* Step 1. */
static void place_inside_concatenations(struct ddpm_graph *graph)
{
    for (size_t i = 0; i < graph->node_count; ++i) {
        struct ddpm_node *node = graph->nodes[i];
        if (node->op != DDPM_OP_CONCAT)
            continue;
        int64_t channel = 0;
        for (int k = 0; k < 2; ++k) {
            struct ddpm_value *part = node->in[k];
            bool free_to_move = part->kind == DDPM_VALUE_TEMPORARY && !part->view_of &&
                                part->producer && part->producer->op != DDPM_OP_CONCAT &&
                                part != node->in[1 - k];
            if (free_to_move) {
                part->view_of = node->out[0];
                part->view_channel = channel;
                part->tensor.pixel_stride = node->out[0]->tensor.pixel_stride;
            }
            channel += part->tensor.c;
        }
    }
}

/* Views made by differentiation inherit their base's current stride. */
static void settle_views(struct ddpm_graph *graph)
{
    for (size_t i = 0; i < graph->value_count; ++i)
        if (graph->values[i]->view_of)
            graph->values[i]->tensor.pixel_stride = base_of(graph->values[i])->tensor.pixel_stride;
}

/* Step 2. */
static void describe_call(const struct ddpm_graph *graph, const struct ddpm_node *node,
                          struct ddpm_call *call)
{
    call->op = node->op;
    call->label = node->label;
    call->device = graph->device;
    call->attributes = node->attributes;
    call->any_batch = graph->any_batch;
    for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
        if (node->in[k])
            call->in[k] = node->in[k]->tensor;
    for (int k = 0; k < DDPM_MAX_OUTPUTS; ++k)
        if (node->out[k])
            call->out[k] = node->out[k]->tensor;
}

static ddpm_status prepare_calls(struct ddpm_graph *graph)
{
    const struct ddpm_backend *backend = graph->device->backend;
    DDPM_TRY(ddpm_new_array((void **)&graph->calls, graph->node_count, sizeof *graph->calls,
                            "planned calls"));
    for (size_t i = 0; i < graph->node_count; ++i)
        describe_call(graph, graph->nodes[i], &graph->calls[i]);
    if (backend->expect_calls)
        backend->expect_calls(graph->device, graph->calls, graph->node_count);
    for (size_t i = 0; i < graph->node_count; ++i) {
        struct ddpm_call *call = &graph->calls[i];
        call->kernel = backend->find_kernel(graph->device, call);
        if (!call->kernel)
            return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                              "%s: the %s backend has no %s kernel for %s [%lld,%lld,%lld,%lld]",
                              call->label, backend->name, ddpm_op_info[call->op].name,
                              ddpm_dtype_name(call->in[0].dtype), (long long)call->in[0].n,
                              (long long)call->in[0].h, (long long)call->in[0].w,
                              (long long)call->in[0].c);
        graph->call_count = i + 1;
        if (call->kernel->prepare)
            DDPM_TRY(call->kernel->prepare(call));
    }
    return DDPM_OK;
}

/* Step 3. */
static void touch(struct ddpm_value *value, int node)
{
    if (!value)
        return;
    value = base_of(value);
    if (value->first < 0)
        value->first = node;
    if (node > value->last)
        value->last = node;
}

static void find_lifetimes(struct ddpm_graph *graph)
{
    for (size_t i = 0; i < graph->value_count; ++i)
        graph->values[i]->first = graph->values[i]->last = -1;
    for (size_t i = 0; i < graph->node_count; ++i) {
        const int until = ddpm_graph_needed_until(graph, i);
        for (int k = 0; k < DDPM_MAX_OUTPUTS; ++k) {
            touch(graph->nodes[i]->out[k], (int)i);
            touch(graph->nodes[i]->out[k], until);
        }
        for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
            touch(graph->nodes[i]->in[k], until);
    }
    for (size_t i = 0; i < graph->value_count; ++i)
        if (graph->values[i]->kind == DDPM_VALUE_KEPT) {
            graph->values[i]->first = 0;
            graph->values[i]->last = (int)graph->node_count;
        }
}

/* Does the node also read the storage of input `k` through another input, which its output must not
 * overwrite? */
static bool read_twice(const struct ddpm_node *node, int k)
{
    const unsigned in_place = ddpm_op_info[node->op].in_place;
    for (int j = 0; j < DDPM_MAX_INPUTS; ++j)
        if (j != k && node->in[j] && base_of(node->in[j]) == node->in[k] &&
            (node->in[j] != node->in[k] || !(in_place >> j & 1u)))
            return true;
    return false;
}

/* Can output 0 of the node at `place` take over the storage of this input? */
static bool dies_here(const struct ddpm_plan *plan, const struct ddpm_value *input,
                      const struct ddpm_value *output, int place)
{
    return input && input->kind == DDPM_VALUE_TEMPORARY && !input->view_of && input != output &&
           input->storage >= 0 && plan->storages[input->storage].last == place &&
           input->tensor.dtype == output->tensor.dtype &&
           ddpm_tensor_same_shape(&input->tensor, &output->tensor) &&
           input->tensor.pixel_stride == output->tensor.pixel_stride;
}

static void assign_storages(struct ddpm_graph *graph)
{
    struct ddpm_plan *plan = &graph->plan;
    for (size_t i = 0; i < graph->value_count; ++i) {
        struct ddpm_value *value = graph->values[i];
        if (value->kind == DDPM_VALUE_KEPT) {
            value->storage = plan->count++;
            plan->storages[value->storage] = (struct ddpm_storage){
                ddpm_tensor_bytes(&value->tensor), value->first, value->last, 0};
        }
    }
    for (size_t i = 0; i < graph->node_count; ++i) {
        struct ddpm_node *node = graph->nodes[i];
        for (int o = 0; o < DDPM_MAX_OUTPUTS; ++o) {
            struct ddpm_value *value = node->out[o] ? base_of(node->out[o]) : NULL;
            if (!value || value->storage >= 0 || value->kind != DDPM_VALUE_TEMPORARY)
                continue;
            unsigned candidates =
                o == 0 && value == node->out[0] ? ddpm_op_info[node->op].in_place : 0;
            for (int k = 0; k < DDPM_MAX_INPUTS && value->storage < 0; ++k)
                if (candidates >> k & 1u && dies_here(plan, node->in[k], value, (int)i) &&
                    !read_twice(node, k))
                    value->storage = node->in[k]->storage;
            if (value->storage < 0) {
                value->storage = plan->count++;
                plan->storages[value->storage] = (struct ddpm_storage){
                    ddpm_tensor_bytes(&value->tensor), value->first, value->last, 0};
            } else if (value->last > plan->storages[value->storage].last) {
                plan->storages[value->storage].last = value->last;
            }
        }
    }
}

/* Step 4. */
static bool in_slab(const struct ddpm_value *value)
{
    return value->kind == DDPM_VALUE_PARAMETER || value->kind == DDPM_VALUE_GRADIENT ||
           value->kind == DDPM_VALUE_COPY;
}

static void *address_in_slab(const struct ddpm_graph *graph, const struct ddpm_value *value)
{
    const struct ddpm_graph_use *use = &graph->uses[value->use];
    const struct ddpm_weight_set *set = use->set;
    char *slab = value->kind == DDPM_VALUE_PARAMETER  ? set->slabs[use->slab]
                 : value->kind == DDPM_VALUE_GRADIENT ? set->gradients
                                                      : set->copies;
    const size_t offset = (size_t)set->parameters.items[value->parameter].offset;
    return slab ? slab + offset * ddpm_dtype_size(value->tensor.dtype) : NULL;
}

static void set_addresses(struct ddpm_graph *graph)
{
    const struct ddpm_plan *plan = &graph->plan;
    for (size_t i = 0; i < graph->value_count; ++i) {
        struct ddpm_value *value = graph->values[i];
        if (in_slab(value)) {
            value->tensor.data = address_in_slab(graph, value);
        } else if (value->slab) {
            value->tensor.data = *value->slab;
        } else if (in_arena(value) && !value->view_of && value->storage >= 0) {
            value->tensor.data = (char *)graph->arena + plan->storages[value->storage].offset;
        }
    }
    for (size_t i = 0; i < graph->value_count; ++i) {
        struct ddpm_value *value = graph->values[i];
        int64_t channel = 0;
        struct ddpm_value *base = value;
        for (; base->view_of; base = base->view_of)
            channel += base->view_channel;
        if (base != value && base->tensor.data)
            value->tensor.data =
                (char *)base->tensor.data + (size_t)channel * ddpm_dtype_size(value->tensor.dtype);
    }
    size_t packed_offset = 0;
    for (size_t i = 0; i < graph->node_count; ++i) {
        struct ddpm_call *call = &graph->calls[i];
        const struct ddpm_node *node = graph->nodes[i];
        for (int k = 0; k < DDPM_MAX_INPUTS; ++k)
            if (node->in[k])
                call->in[k].data = node->in[k]->tensor.data;
        for (int k = 0; k < DDPM_MAX_OUTPUTS; ++k)
            if (node->out[k])
                call->out[k].data = node->out[k]->tensor.data;
        if (call->scratch_bytes)
            call->scratch = (char *)graph->arena + plan->storages[plan->scratch + (int)i].offset;
        if (!call->packed_bytes)
            continue;
        if (ddpm_graph_repacks(graph, node)) {
            call->packed = (char *)graph->arena + plan->storages[plan->packed + (int)i].offset;
        } else {
            call->packed = (char *)graph->packed + packed_offset;
            packed_offset += ddpm_align_up(call->packed_bytes);
        }
    }
}

static void find_parts(struct ddpm_graph *graph)
{
    size_t i = 0;
    for (int part = 0; part < graph->part_count; ++part) {
        graph->parts[part].begin = i;
        while (i < graph->node_count && graph->nodes[i]->part == part)
            ++i;
        graph->parts[part].end = i;
    }
}

/* Which weights each node reads: those of its first parameter. */
static void find_uses(struct ddpm_graph *graph)
{
    for (size_t i = 0; i < graph->node_count; ++i) {
        struct ddpm_node *node = graph->nodes[i];
        node->use = -1;
        for (int k = 0; k < DDPM_MAX_INPUTS && node->use < 0; ++k)
            if (node->in[k] && node->in[k]->kind == DDPM_VALUE_PARAMETER)
                node->use = node->in[k]->use;
    }
}

/* Steps 1 to 4 without allocating memory. */
static ddpm_status lay_out(struct ddpm_graph *graph)
{
    struct ddpm_plan *plan = &graph->plan;
    const int nodes = (int)graph->node_count;
    find_parts(graph);
    find_uses(graph);
    ddpm_graph_choose_asides(graph);
    place_inside_concatenations(graph);
    settle_views(graph);
    DDPM_TRY(prepare_calls(graph));
    find_lifetimes(graph);
    DDPM_TRY(ddpm_new_array((void **)&plan->storages, graph->value_count + 2 * graph->node_count,
                            sizeof *plan->storages, "the memory plan"));
    assign_storages(graph);
    plan->scratch = plan->count;
    plan->packed = plan->count + nodes;
    plan->count += 2 * nodes;
    graph->packed_bytes = 0;
    for (int i = 0; i < nodes; ++i) {
        const struct ddpm_call *call = &graph->calls[i];
        const bool repacks = ddpm_graph_repacks(graph, graph->nodes[i]);
        const size_t transient = repacks ? call->packed_bytes : 0;
        const int until = ddpm_graph_needed_until(graph, (size_t)i);
        plan->storages[plan->scratch + i] = (struct ddpm_storage){call->scratch_bytes, i, until, 0};
        plan->storages[plan->packed + i] = (struct ddpm_storage){transient, i, i, 0};
        graph->packed_bytes += ddpm_align_up(call->packed_bytes - transient);
    }
    return ddpm_place_storages(plan->storages, (size_t)plan->count, &graph->arena_bytes);
}

ddpm_status ddpm_graph_lay_out(struct ddpm_graph *graph, struct ddpm_device *device)
{
    DDPM_TRY(graph->status);
    graph->device = device;
    return lay_out(graph);
}

ddpm_status ddpm_graph_allocate(struct ddpm_graph *graph)
{
    struct ddpm_device *device = graph->device;
    const struct ddpm_backend *backend = device->backend;
    const size_t packed_bytes = graph->packed_is_lent ? 0 : graph->packed_bytes;
    const size_t need = graph->arena_bytes + packed_bytes;
    const size_t available = ddpm_device_available(device);
    if (available && need > available)
        return ddpm_raise(DDPM_ERROR_MEMORY,
                          "not enough memory to start: the plan needs %.2f GB, %.2f GB are free",
                          (double)need / 1e9, (double)available / 1e9);
    DDPM_TRY(
        backend->allocate(device, graph->arena_bytes, "activations and gradients", &graph->arena));
    if (!graph->packed_is_lent)
        DDPM_TRY(backend->allocate(device, packed_bytes, "packed weights", &graph->packed));
    set_addresses(graph);
    free(graph->plan.storages);
    graph->plan = (struct ddpm_plan){0};
    return DDPM_OK;
}

ddpm_status ddpm_graph_plan(struct ddpm_graph *graph, struct ddpm_device *device)
{
    DDPM_TRY(ddpm_graph_lay_out(graph, device));
    return ddpm_graph_allocate(graph);
}

/* Graphs: creation, weight sets, parts, values, nodes, scopes. */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"

ddpm_status ddpm_graph_create(enum ddpm_dtype dtype, struct ddpm_graph **out)
{
    DDPM_TRY(DDPM_NEW(out, "a graph"));
    (*out)->dtype = dtype;
    (*out)->parameter_dtype = dtype == DDPM_F64 ? DDPM_F64 : DDPM_F32;
    (*out)->use = -1;
    (*out)->parts[0].name = "forward";
    (*out)->part_count = 1;
    return DDPM_OK;
}

void ddpm_graph_use(struct ddpm_graph *graph, struct ddpm_weight_set *set, int slab)
{
    for (graph->use = 0; graph->use < graph->use_count; ++graph->use)
        if (graph->uses[graph->use].set == set && graph->uses[graph->use].slab == slab)
            return;
    if (graph->use_count == DDPM_MAX_WEIGHT_SETS) {
        graph->use = -1;
        ddpm_graph_fail(graph,
                        ddpm_raise(DDPM_ERROR_ARGUMENT, "a graph: got more than %d weight sets",
                                   DDPM_MAX_WEIGHT_SETS));
        return;
    }
    graph->uses[graph->use_count++] = (struct ddpm_graph_use){.set = set, .slab = slab};
}

int ddpm_graph_begin_part(struct ddpm_graph *graph, const char *name)
{
    const bool unused = graph->part_count == 1 && graph->node_count == 0 && !graph->part_begun;
    if (!unused && graph->part_count == DDPM_MAX_PARTS) {
        ddpm_graph_fail(graph, ddpm_raise(DDPM_ERROR_ARGUMENT, "a graph: got more than %d parts",
                                          DDPM_MAX_PARTS));
        return 0;
    }
    const int part = unused ? 0 : graph->part_count++;
    graph->part_begun = true;
    graph->parts[part].name = name;
    return part;
}

void ddpm_graph_destroy(struct ddpm_graph **graph)
{
    struct ddpm_graph *g = *graph;
    if (!g)
        return;
    for (size_t i = 0; i < g->call_count; ++i)
        if (g->calls[i].kernel->release)
            g->calls[i].kernel->release(&g->calls[i]);
    if (g->device) {
        g->device->backend->release(g->device, g->arena);
        if (!g->packed_is_lent)
            g->device->backend->release(g->device, g->packed);
    }
    for (size_t i = 0; i < g->node_count; ++i) {
        free(g->nodes[i]->label);
        free(g->nodes[i]);
    }
    for (size_t i = 0; i < g->value_count; ++i)
        free(g->values[i]);
    free(g->plan.storages);
    free(g->calls);
    free(g->nodes);
    free(g->values);
    free(g);
    *graph = NULL;
}

struct ddpm_value *ddpm_graph_fail(struct ddpm_graph *graph, ddpm_status status)
{
    if (graph->status == DDPM_OK)
        graph->status = status;
    return NULL;
}

void ddpm_graph_enter(struct ddpm_graph *graph, const char *format, ...)
{
    size_t used = strlen(graph->scope);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(graph->scope + used, sizeof graph->scope - used, format, arguments);
    va_end(arguments);
    used = strlen(graph->scope);
    snprintf(graph->scope + used, sizeof graph->scope - used, "/");
}

void ddpm_graph_leave(struct ddpm_graph *graph)
{
    size_t end = strlen(graph->scope);
    if (end > 0)
        graph->scope[--end] = '\0';
    while (end > 0 && graph->scope[end - 1] != '/')
        graph->scope[--end] = '\0';
}

void ddpm_graph_begin_block(struct ddpm_graph *graph)
{
    graph->block = ++graph->block_count;
}

void ddpm_graph_end_block(struct ddpm_graph *graph)
{
    graph->block = 0;
}

/* "scope.name", with the scope's separators replaced by dots. */
static ddpm_status qualified_name(const struct ddpm_graph *graph, const char *name, char **out)
{
    DDPM_TRY(ddpm_format(out, "%s%s", graph->scope, name));
    size_t scope_length = strlen(graph->scope);
    for (size_t i = 0; i < scope_length; ++i)
        if ((*out)[i] == '/')
            (*out)[i] = '.';
    return DDPM_OK;
}

/* The plan multiplies and adds sizes without checks; this limit is far below overflow. */
#define LARGEST_TENSOR ((int64_t)1 << 45)

static ddpm_status check_size(const struct ddpm_tensor *tensor)
{
    int64_t count = tensor->n;
    const bool fits = !__builtin_mul_overflow(count, tensor->h, &count) &&
                      !__builtin_mul_overflow(count, tensor->w, &count) &&
                      !__builtin_mul_overflow(count, tensor->c, &count) && count <= LARGEST_TENSOR;
    return fits ? DDPM_OK
                : ddpm_raise(DDPM_ERROR_MEMORY,
                             "a tensor of %lldx%lldx%lldx%lld does not fit into any memory; want a "
                             "smaller batch, picture or network",
                             (long long)tensor->n, (long long)tensor->h, (long long)tensor->w,
                             (long long)tensor->c);
}

struct ddpm_value *ddpm_graph_value(struct ddpm_graph *graph, enum ddpm_value_kind kind,
                                    struct ddpm_tensor tensor)
{
    if (graph->status != DDPM_OK)
        return NULL;
    struct ddpm_value *value;
    ddpm_status status = check_size(&tensor);
    if (status == DDPM_OK)
        status = ddpm_grow_array((void **)&graph->values, &graph->value_capacity,
                                 graph->value_count + 1, sizeof *graph->values, "graph values");
    if (status == DDPM_OK)
        status = DDPM_NEW(&value, "a graph value");
    if (status != DDPM_OK)
        return ddpm_graph_fail(graph, status);
    value->index = graph->value_count;
    graph->values[graph->value_count++] = value;
    value->tensor = tensor;
    value->kind = kind;
    value->storage = -1;
    return value;
}

struct ddpm_value *ddpm_graph_input(struct ddpm_graph *graph, enum ddpm_dtype dtype, int64_t n,
                                    int64_t h, int64_t w, int64_t c)
{
    return ddpm_graph_value(graph, DDPM_VALUE_KEPT, ddpm_tensor_make(dtype, n, h, w, c));
}

struct ddpm_value *ddpm_graph_external(struct ddpm_graph *graph, struct ddpm_tensor tensor)
{
    return ddpm_graph_value(graph, DDPM_VALUE_EXTERNAL, tensor);
}

struct ddpm_value *ddpm_graph_view(struct ddpm_graph *graph, struct ddpm_value *base,
                                   int64_t channel, int64_t channels)
{
    if (!base)
        return NULL;
    struct ddpm_tensor tensor = base->tensor;
    tensor.c = channels;
    struct ddpm_value *view = ddpm_graph_value(graph, DDPM_VALUE_VIEW, tensor);
    if (view) {
        view->view_of = base;
        view->view_channel = channel;
        view->producer = base->producer;
    }
    return view;
}

struct ddpm_value *ddpm_graph_slab(struct ddpm_graph *graph, enum ddpm_dtype dtype, int64_t count,
                                   void *const *slab)
{
    struct ddpm_value *value = ddpm_graph_external(graph, ddpm_tensor_make(dtype, 1, 1, 1, count));
    if (value)
        value->slab = slab;
    return value;
}

struct ddpm_value *ddpm_graph_parameter(struct ddpm_graph *graph, const char *name,
                                        struct ddpm_parameter parameter)
{
    if (graph->status != DDPM_OK)
        return NULL;
    if (graph->use < 0)
        return ddpm_graph_fail(
            graph, ddpm_raise(DDPM_ERROR_ARGUMENT, "a graph: got a layer before its weight set"));
    struct ddpm_weight_set *set = graph->uses[graph->use].set;
    size_t index = 0;
    ddpm_status status = qualified_name(graph, name, &parameter.name);
    if (status == DDPM_OK && set->device &&
        ddpm_parameters_find(&set->parameters, parameter.name) == set->parameters.count)
        status = ddpm_raise(DDPM_ERROR_MISMATCH,
                            "the weight set is allocated already and has no parameter %s",
                            parameter.name);
    if (status == DDPM_OK)
        status = ddpm_parameters_declare(&set->parameters, &parameter, &index);
    free(parameter.name);
    if (status != DDPM_OK)
        return ddpm_graph_fail(graph, status);
    struct ddpm_value *value =
        ddpm_graph_value(graph, DDPM_VALUE_PARAMETER,
                         ddpm_tensor_make(graph->parameter_dtype, parameter.k, parameter.r,
                                          parameter.s, parameter.c));
    if (value) {
        value->use = graph->use;
        value->parameter = index;
        value->requires_gradient = !set->frozen && graph->uses[graph->use].slab == 0;
    }
    return value;
}

/* A parameter's counterpart in another slab of its set. */
static struct ddpm_value *beside(struct ddpm_graph *graph, const struct ddpm_value *parameter,
                                 enum ddpm_value_kind kind, enum ddpm_dtype dtype)
{
    struct ddpm_tensor tensor = parameter->tensor;
    tensor.dtype = dtype;
    struct ddpm_value *value = ddpm_graph_value(graph, kind, tensor);
    if (value) {
        value->use = parameter->use;
        value->parameter = parameter->parameter;
    }
    return value;
}

struct ddpm_value *ddpm_graph_parameter_gradient(struct ddpm_graph *graph,
                                                 const struct ddpm_value *parameter)
{
    if (!parameter->requires_gradient)
        return ddpm_graph_value(graph, DDPM_VALUE_TEMPORARY, parameter->tensor);
    return beside(graph, parameter, DDPM_VALUE_GRADIENT, parameter->tensor.dtype);
}

struct ddpm_value *ddpm_graph_parameter_copy(struct ddpm_graph *graph,
                                             const struct ddpm_value *parameter)
{
    const struct ddpm_graph_use *use = &graph->uses[parameter->use];
    if (!graph->reads_copies || !use->set->keeps_copies || use->slab != 0 ||
        graph->dtype != DDPM_BF16)
        return NULL;
    return beside(graph, parameter, DDPM_VALUE_COPY, DDPM_BF16);
}

struct ddpm_node *ddpm_graph_node(struct ddpm_graph *graph, enum ddpm_op op, const char *label)
{
    if (graph->status != DDPM_OK)
        return NULL;
    struct ddpm_node *node = NULL;
    ddpm_status status =
        ddpm_grow_array((void **)&graph->nodes, &graph->node_capacity, graph->node_count + 1,
                        sizeof *graph->nodes, "graph nodes");
    if (status == DDPM_OK)
        status = DDPM_NEW(&node, "a graph node");
    if (status == DDPM_OK)
        status = qualified_name(graph, label, &node->label);
    if (status != DDPM_OK) {
        free(node);
        ddpm_graph_fail(graph, status);
        return NULL;
    }
    node->op = op;
    node->part = graph->part_count - 1;
    node->block = graph->block;
    node->backward = graph->gradients != NULL;
    graph->nodes[graph->node_count++] = node;
    return node;
}

void ddpm_graph_keep(struct ddpm_value *value)
{
    while (value && value->view_of)
        value = value->view_of;
    if (value && value->kind == DDPM_VALUE_TEMPORARY)
        value->kind = DDPM_VALUE_KEPT;
}

/* Networks: creation, parameters by name, the forward pass. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/memory.h"
#include "model/model.h"
#include "nets/nets.h"

size_t ddpm_network_slab_bytes(const struct ddpm_network *network)
{
    return (size_t)network->parameters.slab_count * sizeof(float);
}

static ddpm_status open_device(struct ddpm_network *network)
{
    const struct ddpm_run_config *run = &network->config.run;
    struct ddpm_device_options options = {.threads = (int)run->threads, .direct = run->direct};
    const char *name = run->device[0] ? run->device : "auto";
    DDPM_TRY(ddpm_device_open(name, &options, &network->device));
    network->dtype = run->precision == DDPM_PRECISION_AUTO   ? network->device->preferred
                     : run->precision == DDPM_PRECISION_BF16 ? DDPM_BF16
                                                             : DDPM_F32;
    snprintf(network->description, sizeof network->description, "%s, %s",
             network->device->description, ddpm_dtype_name(network->dtype));
    return DDPM_OK;
}

static ddpm_status describe_parameters(struct ddpm_network *network)
{
    const struct ddpm_parameters *parameters = &network->parameters;
    DDPM_TRY(ddpm_new_array((void **)&network->infos, parameters->count, sizeof *network->infos,
                            "parameter list"));
    for (size_t i = 0; i < parameters->count; ++i) {
        const struct ddpm_parameter *p = &parameters->items[i];
        network->infos[i] = (struct ddpm_parameter_info){
            .name = p->name, .rank = p->rank, .count = ddpm_parameter_count(p)};
        memcpy(network->infos[i].shape, p->shape, sizeof p->shape);
    }
    return DDPM_OK;
}

/* Both slabs hold the same first weights. */
static ddpm_status initialize_weights(struct ddpm_network *network)
{
    struct ddpm_device *device = network->device;
    const struct ddpm_backend *backend = device->backend;
    const size_t bytes = ddpm_network_slab_bytes(network);
    void *host = NULL;
    for (int i = 0; i < 2; ++i)
        DDPM_TRY(backend->allocate(device, bytes, "weights", &network->slabs[i]));
    if (!backend->host_memory)
        DDPM_TRY(ddpm_new_aligned(&host, bytes, "initial weights"));
    float *first = host ? host : network->slabs[0];
    ddpm_parameters_initialize(&network->parameters, network->config.training.seed, first);
    ddpm_status status = DDPM_OK;
    for (int i = host ? 0 : 1; i < 2 && status == DDPM_OK; ++i)
        status = backend->upload(device, network->slabs[i], first, bytes);
    ddpm_free_aligned(host);
    return status;
}

ddpm_status ddpm_network_create(const struct ddpm_config *config, struct ddpm_network **out)
{
    struct ddpm_network *network;
    *out = NULL;
    DDPM_TRY(ddpm_config_check(config));
    DDPM_TRY(DDPM_NEW(&network, "a network"));
    network->config = *config;
    ddpm_status status = ddpm_net_declare(&config->network, &network->parameters);
    if (status == DDPM_OK)
        status = describe_parameters(network);
    if (status == DDPM_OK)
        status = open_device(network);
    if (status == DDPM_OK)
        status = initialize_weights(network);
    if (status != DDPM_OK)
        ddpm_network_destroy(&network);
    *out = network;
    return status;
}

static void forget_forward_plan(struct ddpm_forward_plan *plan)
{
    ddpm_graph_destroy(&plan->graph);
    free(plan->staging);
    plan->staging = NULL;
}

void ddpm_network_destroy(struct ddpm_network **network)
{
    struct ddpm_network *n = *network;
    if (!n)
        return;
    forget_forward_plan(&n->forward);
    for (int i = 0; n->device && i < 2; ++i)
        n->device->backend->release(n->device, n->slabs[i]);
    ddpm_device_close(&n->device);
    ddpm_parameters_clear(&n->parameters);
    free(n->infos);
    free(n);
    *network = NULL;
}

const struct ddpm_config *ddpm_network_config(const struct ddpm_network *network)
{
    return &network->config;
}

const char *ddpm_network_device(const struct ddpm_network *network)
{
    return network->description;
}

size_t ddpm_network_parameter_count(const struct ddpm_network *network)
{
    return network->parameters.count;
}

struct ddpm_parameter_info ddpm_network_parameter(const struct ddpm_network *network, size_t index)
{
    return network->infos[index];
}

int64_t ddpm_network_weight_count(const struct ddpm_network *network)
{
    return ddpm_parameters_total(&network->parameters);
}

void ddpm_network_weights_changed(struct ddpm_network *network)
{
    ++network->changes;
    if (network->forward.graph)
        ddpm_graph_weights_changed(network->forward.graph);
}

static ddpm_status find_parameter(const struct ddpm_network *network, const char *name,
                                  size_t count, struct ddpm_parameter *out)
{
    size_t index = ddpm_parameters_find(&network->parameters, name);
    if (index == network->parameters.count)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "the network has no parameter %s", name);
    *out = network->parameters.items[index];
    if ((int64_t)count != ddpm_parameter_count(out))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "parameter %s: got %zu values, want %lld", name,
                          count, (long long)ddpm_parameter_count(out));
    return DDPM_OK;
}

ddpm_status ddpm_network_get(const struct ddpm_network *network, enum ddpm_weights which,
                             const char *name, float *values, size_t count)
{
    struct ddpm_parameter parameter;
    DDPM_TRY(find_parameter(network, name, count, &parameter));
    float *dense;
    DDPM_TRY(ddpm_new_array((void **)&dense, count, sizeof *dense, "a parameter"));
    const float *from = (const float *)network->slabs[which] + parameter.offset;
    ddpm_status status =
        network->device->backend->download(network->device, dense, from, count * sizeof *dense);
    parameter.offset = 0;
    if (status == DDPM_OK)
        ddpm_parameter_from_slab(&parameter, dense, values);
    free(dense);
    return status;
}

ddpm_status ddpm_network_set(struct ddpm_network *network, enum ddpm_weights which,
                             const char *name, const float *values, size_t count)
{
    struct ddpm_parameter parameter;
    DDPM_TRY(find_parameter(network, name, count, &parameter));
    float *dense;
    DDPM_TRY(ddpm_new_array((void **)&dense, count, sizeof *dense, "a parameter"));
    float *to = (float *)network->slabs[which] + parameter.offset;
    parameter.offset = 0;
    ddpm_parameter_to_slab(&parameter, values, dense);
    ddpm_status status =
        network->device->backend->upload(network->device, to, dense, count * sizeof *dense);
    free(dense);
    ddpm_network_weights_changed(network);
    return status;
}

static size_t t_offset(const struct ddpm_forward_plan *plan)
{
    return ddpm_align_up(ddpm_tensor_bytes(&plan->x->tensor));
}

static ddpm_status allocate_staging(struct ddpm_forward_plan *plan)
{
    size_t in = t_offset(plan) + ddpm_tensor_bytes(&plan->t->tensor);
    size_t out = ddpm_tensor_bytes(&plan->y->tensor);
    return ddpm_new_array(&plan->staging, in > out ? in : out, 1, "network input and output");
}

/* Plan the forward pass for a shape, unless the last plan is for that shape. */
static ddpm_status plan_forward(struct ddpm_network *network, enum ddpm_weights which,
                                int64_t batch, int64_t height, int64_t width)
{
    struct ddpm_forward_plan *plan = &network->forward;
    if (plan->graph && plan->which == which && plan->x->tensor.n == batch &&
        plan->x->tensor.h == height && plan->x->tensor.w == width)
        return DDPM_OK;
    forget_forward_plan(plan);
    struct ddpm_graph *graph;
    DDPM_TRY(ddpm_graph_create(&network->parameters, network->dtype, &graph));
    plan->x = ddpm_graph_input(graph, network->dtype, batch, height, width,
                               network->config.network.channels);
    plan->t = ddpm_graph_input(graph, DDPM_I32, batch, 1, 1, 1);
    plan->y = ddpm_net_build(graph, &network->config.network, plan->x, plan->t);
    plan->which = which;
    ddpm_graph_keep(plan->y);
    ddpm_graph_fuse(graph, ~0u);
    ddpm_status status = ddpm_graph_plan(graph, network->device, network->slabs[which], NULL, NULL);
    if (status == DDPM_OK)
        status = allocate_staging(plan);
    if (status != DDPM_OK)
        ddpm_graph_destroy(&graph);
    plan->graph = graph;
    return status;
}

/* NCHW fp32 on the host ↔ NHWC of the tensor's dtype. */
static void to_nhwc(const struct ddpm_tensor *tensor, const float *nchw, void *nhwc)
{
    const int64_t area = tensor->h * tensor->w;
    for (int64_t b = 0; b < tensor->n; ++b)
        for (int64_t p = 0; p < area; ++p)
            for (int64_t c = 0; c < tensor->c; ++c)
                ddpm_store(nhwc, tensor->dtype, (b * area + p) * tensor->c + c,
                           (double)nchw[(b * tensor->c + c) * area + p]);
}

static void to_nchw(const struct ddpm_tensor *tensor, const void *nhwc, float *nchw)
{
    const int64_t area = tensor->h * tensor->w;
    for (int64_t b = 0; b < tensor->n; ++b)
        for (int64_t p = 0; p < area; ++p)
            for (int64_t c = 0; c < tensor->c; ++c)
                nchw[(b * tensor->c + c) * area + p] =
                    (float)ddpm_load(nhwc, tensor->dtype, (b * area + p) * tensor->c + c);
}

static ddpm_status write_inputs(struct ddpm_network *network, const float *x, const int64_t *t)
{
    struct ddpm_forward_plan *plan = &network->forward;
    const struct ddpm_tensor *shape = &plan->x->tensor;
    char *t_staging = (char *)plan->staging + t_offset(plan);
    to_nhwc(shape, x, plan->staging);
    for (int64_t b = 0; b < shape->n; ++b)
        ddpm_store(t_staging, DDPM_I32, b, (double)t[b]);
    DDPM_TRY(ddpm_graph_write(plan->graph, plan->x, plan->staging));
    return ddpm_graph_write(plan->graph, plan->t, t_staging);
}

static ddpm_status read_output(struct ddpm_network *network, float *y)
{
    struct ddpm_forward_plan *plan = &network->forward;
    DDPM_TRY(ddpm_graph_read(plan->graph, plan->y, plan->staging));
    to_nchw(&plan->y->tensor, plan->staging, y);
    return DDPM_OK;
}

ddpm_status ddpm_network_forward(struct ddpm_network *network, enum ddpm_weights which,
                                 const float *x, const int64_t *t, int64_t batch, int64_t height,
                                 int64_t width, float *y)
{
    if (batch < 1 || height < 1 || width < 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a batch of %lld pictures of %lldx%lld",
                          (long long)batch, (long long)height, (long long)width);
    for (int64_t b = 0; b < batch; ++b)
        if (t[b] < 0 || t[b] >= network->config.diffusion.timesteps)
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "timestep %lld: got %lld, want 0 to %lld",
                              (long long)b, (long long)t[b],
                              (long long)network->config.diffusion.timesteps - 1);
    DDPM_TRY(plan_forward(network, which, batch, height, width));
    DDPM_TRY(write_inputs(network, x, t));
    DDPM_TRY(ddpm_graph_run(network->forward.graph, DDPM_PHASE_FORWARD));
    return read_output(network, y);
}

/* The forward pass on the caller's arrays: y = network(x, t). */
#include <math.h>
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "diffusion/objective.h"
#include "model/model.h"
#include "nets/nets.h"
#include "tensor/layout.h"

void ddpm_forward_plan_clear(struct ddpm_forward_plan *plan)
{
    ddpm_graph_destroy(&plan->graph);
    free(plan->staging);
    plan->staging = NULL;
}

static size_t time_offset(const struct ddpm_forward_plan *plan)
{
    return ddpm_align_up(ddpm_tensor_bytes(&plan->x->tensor));
}

static ddpm_status allocate_staging(struct ddpm_forward_plan *plan)
{
    const size_t in = time_offset(plan) + ddpm_tensor_bytes(&plan->time->tensor);
    const size_t out = ddpm_tensor_bytes(&plan->y->tensor);
    return ddpm_new_array(&plan->staging, in > out ? in : out, 1, "network input and output");
}

/* Build the graph of a forward pass. */
static ddpm_status build(struct ddpm_network *network, enum ddpm_weights which, int64_t batch,
                         int64_t height, int64_t width, struct ddpm_forward_plan *plan)
{
    DDPM_TRY(ddpm_graph_create(network->dtype, &plan->graph));
    struct ddpm_graph *graph = plan->graph;
    ddpm_graph_use(graph, &network->weights, (int)which);
    plan->x = ddpm_graph_input(graph, network->dtype, batch, height, width,
                               network->config.network.channels);
    plan->time = ddpm_graph_input(graph, DDPM_F32, batch, 1, 1, 1);
    const struct ddpm_net_inputs inputs = {.x = plan->x, .time = plan->time};
    plan->y = ddpm_net_build(graph, &network->config.network, &inputs);
    plan->which = which;
    ddpm_graph_keep(plan->y);
    graph->share = network->device->backend->record_begin != NULL; /* there every call has a fixed
                                                                    * cost */
    ddpm_graph_fuse(graph, ~0u);
    return graph->status;
}

/* Plan the forward pass for a shape, unless the last plan is for that shape. */
static ddpm_status plan_forward(struct ddpm_network *network, enum ddpm_weights which,
                                int64_t batch, int64_t height, int64_t width)
{
    struct ddpm_forward_plan *plan = &network->forward;
    if (plan->graph && plan->which == which && plan->x->tensor.n == batch &&
        plan->x->tensor.h == height && plan->x->tensor.w == width)
        return DDPM_OK;
    ddpm_forward_plan_clear(plan);
    ddpm_status status = build(network, which, batch, height, width, plan);
    if (status == DDPM_OK)
        status = ddpm_graph_plan(plan->graph, network->device);
    if (status == DDPM_OK)
        status = allocate_staging(plan);
    if (status != DDPM_OK)
        ddpm_forward_plan_clear(plan);
    return status;
}

ddpm_status ddpm_forward_measure(struct ddpm_network *network, int64_t batch, int64_t height,
                                 int64_t width, struct ddpm_memory_plan *out)
{
    struct ddpm_forward_plan plan = {0};
    ddpm_status status = build(network, DDPM_WEIGHTS_MODEL, batch, height, width, &plan);
    if (status == DDPM_OK)
        status = ddpm_graph_lay_out(plan.graph, network->device);
    if (status == DDPM_OK)
        *out = (struct ddpm_memory_plan){.activations = plan.graph->arena_bytes,
                                         .packed = plan.graph->packed_bytes,
                                         .host = ddpm_tensor_bytes(&plan.x->tensor) +
                                                 ddpm_tensor_bytes(&plan.y->tensor),
                                         .available = ddpm_device_available(network->device),
                                         .flops_per_step = ddpm_graph_flops(plan.graph, 0)};
    ddpm_forward_plan_clear(&plan);
    return status;
}

static ddpm_status write_inputs(struct ddpm_network *network,
                                const struct ddpm_forward_input *input)
{
    struct ddpm_forward_plan *plan = &network->forward;
    float *times = (float *)((char *)plan->staging + time_offset(plan));
    ddpm_nchw_to_nhwc(&plan->x->tensor, input->x, plan->staging);
    for (int64_t b = 0; b < input->batch; ++b)
        times[b] = input->times ? input->times[b] : (float)input->timesteps[b];
    DDPM_TRY(ddpm_graph_write(plan->graph, plan->x, plan->staging));
    return ddpm_graph_write(plan->graph, plan->time, times);
}

static ddpm_status check_times(const struct ddpm_network *network,
                               const struct ddpm_forward_input *input)
{
    double least, most;
    ddpm_objective_times(&network->config.diffusion, &least, &most);
    if (!input->timesteps == !input->times)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          input->times ? "forward: both timesteps and times given; give one"
                                       : "forward: neither timesteps nor times given; give one");
    DDPM_TRY(ddpm_check_length("forward: timesteps", input->time_count, (double)input->batch));
    for (int64_t b = 0; b < input->batch; ++b) {
        const double t = input->times ? (double)input->times[b] : (double)input->timesteps[b];
        if (!(t >= least && t <= most))
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "timestep %lld: got %.9g, want %.9g to %.9g",
                              (long long)b, t, least, most);
    }
    return DDPM_OK;
}

ddpm_status ddpm_forward_check_input(const struct ddpm_network *network,
                                     const struct ddpm_forward_input *input)
{
    if (input->batch < 1 || input->height < 1 || input->width < 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got a batch of %lld pictures of %lldx%lld",
                          (long long)input->batch, (long long)input->height,
                          (long long)input->width);
    if (!input->x)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "forward: got NULL as x");
    const double area = (double)input->batch * (double)input->height * (double)input->width;
    DDPM_TRY(ddpm_check_length("forward: x", input->x_count,
                               area * (double)network->config.network.channels));
    return check_times(network, input);
}

static ddpm_status check_output(const struct ddpm_network *network,
                                const struct ddpm_forward_input *input, const float *y,
                                size_t y_count)
{
    const double area = (double)input->batch * (double)input->height * (double)input->width;
    if (!y)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "forward: got NULL as y");
    return ddpm_check_length("forward: y", y_count,
                             area * (double)ddpm_network_out_channels(network));
}

ddpm_status ddpm_network_forward(struct ddpm_network *network, enum ddpm_weights which,
                                 const struct ddpm_forward_input *given, float *y, size_t y_count)
{
    struct ddpm_forward_input input;
    DDPM_TRY(ddpm_network_check_use(network, which));
    DDPM_TRY(ddpm_take_options(&input, sizeof input, sizeof input, given, "ddpm_forward_input"));
    DDPM_TRY(ddpm_forward_check_input(network, &input));
    DDPM_TRY(check_output(network, &input, y, y_count));
    DDPM_TRY(plan_forward(network, which, input.batch, input.height, input.width));
    struct ddpm_forward_plan *plan = &network->forward;
    DDPM_TRY(write_inputs(network, &input));
    DDPM_TRY(ddpm_graph_run(plan->graph, 0));
    DDPM_TRY(ddpm_graph_read(plan->graph, plan->y, plan->staging));
    ddpm_nhwc_to_nchw(&plan->y->tensor, plan->staging, y);
    return DDPM_OK;
}

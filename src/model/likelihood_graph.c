/* The network in a likelihood measurement: its answer, and the gradient of the answer along a
 * direction with respect to the input. Everything else is arithmetic on the host. */
#include <string.h>

#include "core/memory.h"
#include "model/batch.h"
#include "model/likelihood_state.h"
#include "nets/nets.h"

/* The weights are constants here: only the input gets a gradient. */
static void build_backward(struct ddpm_likelihood *l)
{
    struct ddpm_graph *g = l->graph;
    struct ddpm_gradients gradients = {0};
    if (!l->answer)
        return;
    const struct ddpm_tensor *answer = &l->answer->tensor;
    l->seed = ddpm_graph_input(g, answer->dtype, answer->n, answer->h, answer->w, answer->c);
    l->backward = ddpm_graph_begin_part(g, "backward");
    const struct ddpm_seed seed = {.of = l->answer, .gradient = l->seed};
    if (!l->seed || ddpm_graph_differentiate(g, &seed, 1, &gradients) != DDPM_OK)
        return;
    l->pulled = ddpm_gradients_of(&gradients, l->x);
    ddpm_gradients_clear(&gradients);
    ddpm_graph_keep(l->pulled);
}

static ddpm_status build(struct ddpm_likelihood *l)
{
    struct ddpm_network *network = l->network;
    const struct ddpm_likelihood_options *options = &l->options;
    struct ddpm_weight_set *weights = &network->weights;
    const bool frozen = weights->frozen, flow = options->method == DDPM_LIKELIHOOD_FLOW;
    DDPM_TRY(ddpm_graph_create(network->dtype, &l->graph));
    struct ddpm_graph *g = l->graph;
    g->any_batch = true;
    weights->frozen = true; /* while this graph is built */
    ddpm_graph_use(g, weights, (int)options->weights);
    l->x = ddpm_graph_input(g, network->dtype, options->batch, options->height, options->width,
                            network->config.network.channels);
    l->times = ddpm_graph_input(g, DDPM_F32, options->batch, 1, 1, 1);
    if (l->x)
        l->x->requires_gradient = flow;
    const struct ddpm_net_inputs inputs = {.x = l->x, .time = l->times};
    l->answer = ddpm_net_build(g, &network->config.network, &inputs);
    if (l->answer)
        ddpm_graph_keep(l->answer);
    g->share = network->device->backend->record_begin != NULL; /* there every call has a fixed
                                                                * cost */
    ddpm_graph_fuse(g, ~0u);
    l->backward = -1;
    if (flow)
        build_backward(l);
    weights->frozen = frozen;
    return g->status;
}

static ddpm_status build_for_batch(void *likelihood)
{
    return build(likelihood);
}

/* Host memory for one picture of the batch: what ddpm_likelihood_plan() allocates, and the flow's
 * doubles (diffusion/probability_flow.c). */
static uint64_t host_bytes(const struct ddpm_likelihood *l)
{
    const uint64_t values = (uint64_t)l->values, answers = (uint64_t)l->answers;
    uint64_t bytes = (values + 2 * answers) * sizeof(float);
    if (l->backward >= 0)
        bytes += ((uint64_t)l->options.probes + 1) * values * sizeof(float) +
                 5 * values * sizeof(double);
    return bytes;
}

ddpm_status ddpm_likelihood_lay_out(struct ddpm_likelihood *l, struct ddpm_memory_plan *out)
{
    DDPM_TRY(build(l));
    DDPM_TRY(ddpm_graph_lay_out(l->graph, l->network->device));
    double flops = ddpm_graph_flops(l->graph, 0);
    if (l->backward >= 0)
        flops += ddpm_graph_flops(l->graph, l->backward);
    *out = (struct ddpm_memory_plan){.activations = l->graph->arena_bytes,
                                     .packed = l->graph->packed_bytes,
                                     .host = (uint64_t)l->options.batch * host_bytes(l),
                                     .available = ddpm_device_available(l->network->device),
                                     .flops_per_step = flops};
    return DDPM_OK;
}

ddpm_status ddpm_likelihood_plan(struct ddpm_likelihood *l, bool may_shrink)
{
    DDPM_TRY(ddpm_plan_batch(l->network->device, &l->graph, &l->options.batch, may_shrink,
                             build_for_batch, l, "measuring"));
    const size_t batch = (size_t)l->options.batch;
    const size_t x = batch * (size_t)l->values, answer = batch * (size_t)l->answers;
    DDPM_TRY(ddpm_new_array(&l->staging, answer, sizeof(float), "network input and output"));
    DDPM_TRY(ddpm_new_array((void **)&l->host_times, batch, sizeof(float), "times"));
    DDPM_TRY(ddpm_new_array((void **)&l->host_x, x, sizeof(float), "pictures"));
    DDPM_TRY(ddpm_new_array((void **)&l->host_answer, answer, sizeof(float), "answers"));
    if (l->backward < 0)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&l->probes, (size_t)l->options.probes, x * sizeof(float),
                            "directions"));
    return ddpm_new_array((void **)&l->host_pulled, x, sizeof(float), "gradients");
}

/* Copy between floats and a kept value of the compute type. */
static ddpm_status write(struct ddpm_likelihood *l, struct ddpm_value *value, const float *from)
{
    const struct ddpm_tensor *tensor = &value->tensor;
    if (tensor->dtype == DDPM_F32)
        return ddpm_graph_write(l->graph, value, from);
    for (int64_t i = 0; i < ddpm_tensor_count(tensor); ++i)
        ddpm_store(l->staging, tensor->dtype, i, (double)from[i]);
    return ddpm_graph_write(l->graph, value, l->staging);
}

static ddpm_status read(struct ddpm_likelihood *l, const struct ddpm_value *value, float *to)
{
    const struct ddpm_tensor *tensor = &value->tensor;
    if (tensor->dtype == DDPM_F32)
        return ddpm_graph_read(l->graph, value, to);
    DDPM_TRY(ddpm_graph_read(l->graph, value, l->staging));
    for (int64_t i = 0; i < ddpm_tensor_count(tensor); ++i)
        to[i] = (float)ddpm_load(l->staging, tensor->dtype, i);
    return DDPM_OK;
}

ddpm_status ddpm_likelihood_answer(struct ddpm_likelihood *l)
{
    DDPM_TRY(write(l, l->x, l->host_x));
    DDPM_TRY(ddpm_graph_write(l->graph, l->times, l->host_times));
    DDPM_TRY(ddpm_graph_run(l->graph, 0));
    return read(l, l->answer, l->host_answer);
}

/* Set the direction for the answer; variance channels get 0. host_answer has been read already. */
ddpm_status ddpm_likelihood_pull(struct ddpm_likelihood *l, const float *probe)
{
    const int64_t channels = l->x->tensor.c, answered = l->answer->tensor.c;
    const int64_t pixels = l->options.batch * l->options.height * l->options.width;
    const float *seed = probe;
    if (answered > channels) {
        float *wide = l->host_answer;
        memset(wide, 0, (size_t)(pixels * answered) * sizeof *wide);
        for (int64_t p = 0; p < pixels; ++p)
            memcpy(wide + p * answered, probe + p * channels, (size_t)channels * sizeof *wide);
        seed = wide;
    }
    DDPM_TRY(write(l, l->seed, seed));
    DDPM_TRY(ddpm_graph_run(l->graph, l->backward));
    return read(l, l->pulled, l->host_pulled);
}

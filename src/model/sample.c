/* Drawing pictures: the reverse chain as one planned graph, run T times per batch.
 *
 *     x_T ~ N(0,I)                                     phase draw, once
 *     ε̂ = network(x_t, t);  x_{t-1} = step(x_t, ε̂, z)   phase forward, for t = T-1 … 0
 *
 * Picture k draws from (seed, stream, t, k), so it is the same in whatever batch it is drawn. */
#include <ddpm/sampler.h>

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/random.h"
#include "diffusion/schedule.h"
#include "graph/recording.h"
#include "model/model.h"
#include "nets/nets.h"

#define LARGEST_BATCH 16

struct chain {
    struct ddpm_network *network;
    const struct ddpm_sample_options *options;
    struct ddpm_sample_options sizes; /* with defaults filled in */
    struct ddpm_diffusion_tables tables;
    struct ddpm_graph *graph;
    struct ddpm_value *x, *t, *counters, *table;
    struct ddpm_recording step; /* one turn of the chain, the same for every timestep */
    int32_t *host_counters;     /* [batch][2], then t [batch] */
    float *host_x;              /* [batch,H,W,C] as it comes from the device */
    float *planar_x;            /* [batch,C,H,W] for the callback */
};

static ddpm_status build_graph(struct chain *chain, int64_t batch)
{
    struct ddpm_network *network = chain->network;
    const struct ddpm_sample_options *sizes = &chain->sizes;
    DDPM_TRY(ddpm_graph_create(&network->parameters, network->dtype, &chain->graph));
    struct ddpm_graph *g = chain->graph;
    chain->counters = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 2);
    chain->t = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 1);
    chain->table =
        ddpm_graph_input(g, DDPM_F32, chain->tables.timesteps, 1, 1, DDPM_REVERSE_COLUMNS);
    struct ddpm_tensor shape = ddpm_tensor_make(DDPM_F32, batch, sizes->height, sizes->width,
                                                network->config.network.channels);
    g->phase = DDPM_PHASE_DRAW;
    chain->x = ddpm_draw_normal(g, chain->counters, sizes->seed, DDPM_STREAM_SAMPLE_INIT, &shape);
    ddpm_graph_keep(chain->x);
    g->phase = DDPM_PHASE_FORWARD;
    struct ddpm_value *prediction = ddpm_net_build(
        g, &network->config.network, ddpm_convert(g, chain->x, network->dtype), chain->t);
    struct ddpm_value *z =
        ddpm_draw_normal(g, chain->counters, sizes->seed, DDPM_STREAM_SAMPLE_STEP, &shape);
    ddpm_reverse_step(g, chain->x, prediction, z, chain->t, chain->table, sizes->clip != 0);
    ddpm_graph_fuse(g, ~0u);
    return g->status;
}

static ddpm_status plan_batch(struct chain *chain)
{
    struct ddpm_network *network = chain->network;
    DDPM_TRY(build_graph(chain, chain->sizes.batch));
    return ddpm_graph_plan(chain->graph, network->device, network->slabs[chain->sizes.weights],
                           NULL, NULL);
}

/* The largest batch that fits in memory, at most what was asked for. */
static ddpm_status plan_chain(struct chain *chain)
{
    ddpm_status status = plan_batch(chain);
    while (status == DDPM_ERROR_MEMORY && chain->sizes.batch > 1 && chain->options->batch == 0) {
        ddpm_graph_destroy(&chain->graph);
        chain->sizes.batch = (chain->sizes.batch + 1) / 2;
        ddpm_log(DDPM_LOG_INFO, "not enough memory: drawing %lld pictures at once",
                 (long long)chain->sizes.batch);
        status = plan_batch(chain);
    }
    DDPM_TRY(status);
    return ddpm_graph_write(chain->graph, chain->table, chain->tables.reverse);
}

static ddpm_status allocate_host(struct chain *chain)
{
    size_t batch = (size_t)chain->sizes.batch;
    size_t count = (size_t)ddpm_tensor_count(&chain->x->tensor);
    DDPM_TRY(
        ddpm_new_array((void **)&chain->host_counters, 3 * batch, sizeof(int32_t), "counters"));
    DDPM_TRY(ddpm_new_array((void **)&chain->host_x, count, sizeof(float), "pictures"));
    return ddpm_new_array((void **)&chain->planar_x, count, sizeof(float), "pictures");
}

static ddpm_status set_step(struct chain *chain, int64_t first, int32_t step)
{
    const int64_t batch = chain->sizes.batch;
    int32_t *t = chain->host_counters + 2 * batch;
    for (int64_t b = 0; b < batch; ++b) {
        chain->host_counters[2 * b] = (int32_t)(first + b);
        chain->host_counters[2 * b + 1] = step;
        t[b] = step;
    }
    DDPM_TRY(ddpm_graph_write(chain->graph, chain->counters, chain->host_counters));
    return ddpm_graph_write(chain->graph, chain->t, t);
}

static ddpm_status submit_step(void *user)
{
    struct chain *chain = user;
    return ddpm_graph_run(chain->graph, DDPM_PHASE_FORWARD);
}

static void make_planar(struct chain *chain)
{
    const struct ddpm_tensor *x = &chain->x->tensor;
    const int64_t area = x->h * x->w;
    for (int64_t b = 0; b < x->n; ++b)
        for (int64_t p = 0; p < area; ++p)
            for (int64_t c = 0; c < x->c; ++c)
                chain->planar_x[(b * x->c + c) * area + p] =
                    chain->host_x[(b * area + p) * x->c + c];
}

static ddpm_status report(struct chain *chain, int64_t t, int64_t first, int64_t count,
                          int64_t done)
{
    const struct ddpm_sample_options *options = chain->options;
    if (!options->callback)
        return DDPM_OK;
    const struct ddpm_tensor *x = &chain->x->tensor;
    struct ddpm_sample_progress progress = {.timestep = t,
                                            .done = done,
                                            .first = first,
                                            .count = count,
                                            .channels = x->c,
                                            .height = x->h,
                                            .width = x->w};
    int64_t batches = (options->count + chain->sizes.batch - 1) / chain->sizes.batch;
    progress.total = batches * chain->tables.timesteps;
    if (options->every > 0 && (t % options->every == 0)) {
        DDPM_TRY(ddpm_graph_read(chain->graph, chain->x, chain->host_x));
        make_planar(chain);
        progress.x = chain->planar_x;
    }
    if (options->callback(options->user, &progress) != 0)
        return ddpm_raise(DDPM_STOPPED, "stopped by the caller at timestep %lld", (long long)t);
    return DDPM_OK;
}

static ddpm_status to_bytes(const struct chain *chain, int64_t first, int64_t count, uint8_t *out)
{
    const struct ddpm_tensor *x = &chain->x->tensor;
    const int64_t per_picture = x->h * x->w * x->c;
    for (int64_t i = 0; i < count * per_picture; ++i) {
        float value = chain->host_x[i];
        if (!isfinite(value))
            return ddpm_raise(DDPM_ERROR_NOT_FINITE,
                              "picture %lld: the chain diverged to a value that is not finite; "
                              "clip predicted x_0, or look at the weights",
                              (long long)(first + i / per_picture));
        float scaled = roundf((value + 1.0f) * 127.5f);
        out[i] = (uint8_t)(scaled < 0 ? 0 : scaled > 255 ? 255 : scaled);
    }
    return DDPM_OK;
}

static ddpm_status run_batch(struct chain *chain, int64_t offset, uint8_t *pictures)
{
    const struct ddpm_sample_options *options = chain->options;
    const int64_t steps = chain->tables.timesteps, batch = chain->sizes.batch;
    const int64_t left = options->count - offset, count = left < batch ? left : batch;
    const int64_t first = options->first + offset;
    DDPM_TRY(set_step(chain, first, 0));
    DDPM_TRY(ddpm_graph_run(chain->graph, DDPM_PHASE_DRAW));
    for (int64_t t = steps - 1; t >= 0; --t) {
        DDPM_TRY(set_step(chain, first, (int32_t)t));
        DDPM_TRY(ddpm_recording_run(&chain->step, chain->network->device, submit_step, chain));
        DDPM_TRY(report(chain, t, offset, count, offset / batch * steps + steps - t));
    }
    DDPM_TRY(ddpm_graph_read(chain->graph, chain->x, chain->host_x));
    int64_t per_picture = ddpm_tensor_count(&chain->x->tensor) / batch;
    return to_bytes(chain, first, count, pictures + offset * per_picture);
}

static ddpm_status fill_in_defaults(struct chain *chain)
{
    const struct ddpm_sample_options *options = chain->options;
    const struct ddpm_diffusion_config *diffusion = &chain->network->config.diffusion;
    const struct ddpm_network_config *net = &chain->network->config.network;
    chain->sizes = *options;
    if (options->count < 1 || options->batch < 0 || options->height < 0 || options->width < 0 ||
        options->first < 0 || options->count > INT32_MAX ||
        options->first > INT32_MAX - options->count)
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "sampling: got %lld pictures from number %lld, want 1 or more from 0 or more",
            (long long)options->count, (long long)options->first);
    if (net->out_dim && net->out_dim != net->channels)
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "a network with %lld output channels for pictures of %lld cannot be sampled",
            (long long)net->out_dim, (long long)net->channels);
    if (!chain->sizes.height || !chain->sizes.width) {
        chain->sizes.height = diffusion->image_height;
        chain->sizes.width = diffusion->image_width;
    }
    if (chain->sizes.clip < 0)
        chain->sizes.clip = diffusion->clip;
    if (!chain->sizes.batch) {
        /* Equal batches: 20 pictures are two of 10, not 16 and 4. */
        int64_t batches = (options->count + LARGEST_BATCH - 1) / LARGEST_BATCH;
        chain->sizes.batch = (options->count + batches - 1) / batches;
    }
    if (chain->sizes.batch > options->count)
        chain->sizes.batch = options->count;
    return DDPM_OK;
}

ddpm_status ddpm_sample(struct ddpm_network *network, const struct ddpm_sample_options *options,
                        uint8_t *pictures)
{
    struct chain chain = {.network = network, .options = options};
    DDPM_TRY(fill_in_defaults(&chain));
    ddpm_status status = ddpm_diffusion_tables_create(&network->config.diffusion, &chain.tables);
    if (status == DDPM_OK)
        status = plan_chain(&chain);
    if (status == DDPM_OK)
        status = allocate_host(&chain);
    for (int64_t offset = 0; status == DDPM_OK && offset < options->count;
         offset += chain.sizes.batch)
        status = run_batch(&chain, offset, pictures);
    ddpm_recording_release(&chain.step, network->device);
    ddpm_graph_destroy(&chain.graph);
    ddpm_diffusion_tables_clear(&chain.tables);
    free(chain.host_counters);
    free(chain.host_x);
    free(chain.planar_x);
    return status;
}

ddpm_status ddpm_sample_measure(struct ddpm_network *network,
                                const struct ddpm_sample_options *options,
                                struct ddpm_memory_plan *out)
{
    struct chain chain = {.network = network, .options = options};
    size_t arena, packed;
    DDPM_TRY(fill_in_defaults(&chain));
    ddpm_status status = ddpm_diffusion_tables_create(&network->config.diffusion, &chain.tables);
    if (status == DDPM_OK)
        status = build_graph(&chain, chain.sizes.batch);
    if (status == DDPM_OK)
        status = ddpm_graph_measure(chain.graph, network->device, &arena, &packed);
    if (status == DDPM_OK)
        *out = (struct ddpm_memory_plan){.activations = arena,
                                         .packed = packed,
                                         .available = ddpm_device_available(network->device),
                                         .flops_per_step =
                                             ddpm_graph_flops(chain.graph, DDPM_PHASE_FORWARD)};
    ddpm_graph_destroy(&chain.graph);
    ddpm_diffusion_tables_clear(&chain.tables);
    return status;
}

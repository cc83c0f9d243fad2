/* A sampler's turns as parts of one graph:
 *
 *     start         x ~ N(0, I); on a continuous path times the first level's sigma
 *     start picture x = KNOWN·picture + KNOWN_NOISE·z, with the same z
 *     evaluate      out = network(INPUT·x, TIME),  x̂_0 = X0_X·x + X0_OUT·out, clipped
 *     step          x = X0·x̂_0 + X·x + OUT·out + Σ KEPT_j·k_j
 *     noisy step    the same + NOISE·z; a learned variance multiplies z by its deviation
 *     keep j        k_j = x̂_0
 *     blend         x = KNOWN·picture + KNOWN_NOISE·z' outside the mask
 *
 * A turn runs one to four of these parts. Parts that no turn needs are not built. */
#include "core/random.h"
#include "model/sampler_state.h"
#include "nets/nets.h"

/* What the turns need apart from x. */
struct needs {
    bool x0, out, variance, noise, quiet, keep[DDPM_SAMPLER_SLOTS], blend;
};

static struct needs find_needs(const struct ddpm_turns *turns)
{
    struct needs needs = {0};
    for (size_t i = 0; i < turns->count; ++i) {
        const struct ddpm_turn *turn = &turns->items[i];
        needs.x0 |= turn->x0 != 0 || turn->keep_x0 >= 0;
        needs.out |= turn->out != 0;
        needs.variance |= turn->variance.lowest != 0 || turn->variance.highest != 0;
        needs.noise |= turn->noise != 0;
        needs.quiet |= turn->noise == 0;
        needs.blend |= turn->blend;
        if (turn->keep_x0 >= 0)
            needs.keep[turn->keep_x0] = true;
    }
    return needs;
}

/* What a turn combines with x. */
struct turn_values {
    struct ddpm_value *x0, *out, *variance, *kept[DDPM_SAMPLER_SLOTS];
};

static void build_start(struct ddpm_sampler *sampler, const struct ddpm_tensor *shape)
{
    struct ddpm_graph *g = sampler->graph;
    const int64_t batch = shape->n;
    sampler->counters = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 4);
    sampler->rows = ddpm_graph_input(g, DDPM_F32, batch, 1, 1, DDPM_TURN_COLUMNS);
    sampler->parts.start = ddpm_graph_begin_part(g, "start");
    struct ddpm_value *noise =
        ddpm_draw_normal(g, sampler->counters, 0, DDPM_STREAM_SAMPLE_INIT, shape);
    const int columns[DDPM_COMBINED] = {DDPM_TURN_START};
    sampler->x =
        sampler->objective->path == DDPM_PATH_SCHEDULE
            ? noise
            : ddpm_combine(g, sampler->rows, columns, (struct ddpm_value *[DDPM_COMBINED]){noise},
                           false, DDPM_F32, NULL);
    ddpm_graph_keep(sampler->x);
}

/* KNOWN·picture + KNOWN_NOISE·z, with z from this stream. */
static struct ddpm_value *build_noised_picture(struct ddpm_sampler *sampler, uint32_t stream,
                                               struct ddpm_value *into)
{
    struct ddpm_graph *g = sampler->graph;
    const int columns[DDPM_COMBINED] = {DDPM_TURN_KNOWN, DDPM_TURN_KNOWN_NOISE};
    struct ddpm_value *inputs[DDPM_COMBINED] = {sampler->picture};
    if (sampler->picture)
        inputs[1] = ddpm_draw_normal(g, sampler->counters, 0, stream, &sampler->picture->tensor);
    return ddpm_combine(g, sampler->rows, columns, inputs, false, DDPM_F32, into);
}

/* The inputs of a draw, and its start if that is a picture. */
static void build_given(struct ddpm_sampler *sampler, const struct needs *needs,
                        const struct ddpm_tensor *shape)
{
    struct ddpm_graph *g = sampler->graph;
    const bool begins = sampler->turns.picture != 0;
    if (begins || needs->blend)
        sampler->picture = ddpm_graph_input(g, DDPM_F32, shape->n, shape->h, shape->w, shape->c);
    if (needs->blend)
        sampler->mask = ddpm_graph_input(g, DDPM_F32, shape->n, shape->h, shape->w, 1);
    if (!begins)
        return;
    sampler->parts.start_picture = ddpm_graph_begin_part(g, "start picture");
    build_noised_picture(sampler, DDPM_STREAM_SAMPLE_INIT, sampler->x);
}

static void build_blend(struct ddpm_sampler *sampler)
{
    struct ddpm_graph *g = sampler->graph;
    sampler->parts.blend = ddpm_graph_begin_part(g, "blend");
    struct ddpm_value *known = build_noised_picture(sampler, DDPM_STREAM_KNOWN, NULL);
    ddpm_blend(g, sampler->mask, sampler->x, known, sampler->x);
}

static void build_evaluation(struct ddpm_sampler *sampler, const struct needs *needs,
                             struct turn_values *made)
{
    struct ddpm_graph *g = sampler->graph;
    struct ddpm_network *network = sampler->network;
    struct ddpm_value *x = sampler->x, *rows = sampler->rows;
    const int input_columns[DDPM_COMBINED] = {DDPM_TURN_INPUT};
    /* the network's output first, so that its product is rounded separately on a GPU too, as in
     * 0.1 */
    const int x0_columns[DDPM_COMBINED] = {DDPM_TURN_X0_OUT, DDPM_TURN_X0_X};
    sampler->parts.evaluate = ddpm_graph_begin_part(g, "evaluate");
    struct ddpm_value *const only_x[DDPM_COMBINED] = {x};
    const struct ddpm_net_inputs inputs = {
        .x = sampler->objective->scales_input
                 ? ddpm_combine(g, rows, input_columns, only_x, false, network->dtype, NULL)
                 : ddpm_convert(g, x, network->dtype),
        .time = ddpm_graph_view(g, rows, DDPM_TURN_TIME, 1),
    };
    made->out = ddpm_net_build(g, &network->config.network, &inputs);
    if (made->out && made->out->tensor.c > x->tensor.c) { /* the other channels are a variance */
        struct ddpm_value *answer = made->out;
        made->out = ddpm_graph_view(g, answer, 0, x->tensor.c);
        made->variance =
            needs->variance ? ddpm_graph_view(g, answer, x->tensor.c, x->tensor.c) : NULL;
    }
    if (!needs->x0)
        return;
    const double threshold = sampler->chain.threshold;
    const bool clip = sampler->options.clip != 0 && threshold == 0;
    made->x0 = ddpm_combine(g, rows, x0_columns, (struct ddpm_value *[DDPM_COMBINED]){made->out, x},
                            clip, DDPM_F32, NULL);
    if (threshold > 0)
        made->x0 = ddpm_threshold(g, made->x0, threshold);
}

/* z of this turn. */
static struct ddpm_value *build_noise(struct ddpm_sampler *sampler, struct ddpm_value *variance)
{
    struct ddpm_graph *g = sampler->graph;
    struct ddpm_value *z =
        ddpm_draw_normal(g, sampler->counters, 0, DDPM_STREAM_SAMPLE_STEP, &sampler->x->tensor);
    return variance ? ddpm_scale_noise(g, variance, z,
                                       ddpm_graph_view(g, sampler->rows, DDPM_TURN_LOWEST, 2))
                    : z;
}

static int build_step(struct ddpm_sampler *sampler, const struct needs *needs,
                      const struct turn_values *made, bool noisy)
{
    struct ddpm_graph *g = sampler->graph;
    struct ddpm_value *x = sampler->x;
    int columns[DDPM_COMBINED] = {DDPM_TURN_X0, DDPM_TURN_X, DDPM_TURN_OUT};
    struct ddpm_value *inputs[DDPM_COMBINED] = {needs->x0 ? made->x0 : NULL, x,
                                                needs->out ? made->out : NULL};
    const int part = ddpm_graph_begin_part(g, noisy ? "noisy step" : "step");
    for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j) {
        columns[3 + j] = DDPM_TURN_KEPT + j;
        inputs[3 + j] = made->kept[j];
    }
    columns[3 + DDPM_SAMPLER_SLOTS] = DDPM_TURN_NOISE;
    if (noisy && x)
        inputs[3 + DDPM_SAMPLER_SLOTS] = build_noise(sampler, made->variance);
    ddpm_combine(g, sampler->rows, columns, inputs, false, DDPM_F32, x);
    return part;
}

static void build_keeping(struct ddpm_sampler *sampler, const struct needs *needs,
                          const struct turn_values *made)
{
    struct ddpm_graph *g = sampler->graph;
    const int columns[DDPM_COMBINED] = {DDPM_TURN_ONE};
    for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
        if (needs->keep[j]) {
            sampler->parts.keep[j] = ddpm_graph_begin_part(g, "keep");
            ddpm_combine(g, sampler->rows, columns, (struct ddpm_value *[DDPM_COMBINED]){made->x0},
                         false, DDPM_F32, made->kept[j]);
        }
}

ddpm_status ddpm_sampler_build(struct ddpm_sampler *sampler)
{
    struct ddpm_network *network = sampler->network;
    const struct ddpm_sampler_options *options = &sampler->options;
    const struct needs needs = find_needs(&sampler->turns);
    struct turn_values made = {0};
    DDPM_TRY(ddpm_graph_create(network->dtype, &sampler->graph));
    struct ddpm_graph *g = sampler->graph;
    g->any_batch = true;
    const int64_t channels = network->config.network.channels;
    const struct ddpm_tensor shape =
        ddpm_tensor_make(DDPM_F32, options->batch, options->height, options->width, channels);
    ddpm_graph_use(g, &network->weights, (int)options->weights);
    build_start(sampler, &shape);
    build_given(sampler, &needs, &shape);
    for (int j = 0; j < DDPM_SAMPLER_SLOTS; ++j)
        if (needs.keep[j])
            made.kept[j] = ddpm_graph_value(g, DDPM_VALUE_KEPT, shape);
    build_evaluation(sampler, &needs, &made);
    if (needs.quiet)
        sampler->parts.step = build_step(sampler, &needs, &made, false);
    if (needs.noise)
        sampler->parts.noisy_step = build_step(sampler, &needs, &made, true);
    build_keeping(sampler, &needs, &made);
    if (needs.blend)
        build_blend(sampler);
    g->share = network->device->backend->record_begin != NULL; /* there every call has a fixed
                                                                * cost */
    ddpm_graph_fuse(g, ~0u);
    return g->status;
}

struct turn_of {
    struct ddpm_sampler *sampler;
    const struct ddpm_turn *turn;
};

static ddpm_status submit(void *user)
{
    const struct turn_of *of = user;
    const struct ddpm_sampler_parts *parts = &of->sampler->parts;
    struct ddpm_graph *g = of->sampler->graph;
    if (of->turn->evaluate)
        DDPM_TRY(ddpm_graph_run(g, parts->evaluate));
    DDPM_TRY(ddpm_graph_run(g, of->turn->noise != 0 ? parts->noisy_step : parts->step));
    if (of->turn->keep_x0 >= 0)
        DDPM_TRY(ddpm_graph_run(g, parts->keep[of->turn->keep_x0]));
    return of->turn->blend ? ddpm_graph_run(g, parts->blend) : DDPM_OK;
}

ddpm_status ddpm_sampler_run_turn(struct ddpm_sampler *sampler, const struct ddpm_turn *turn)
{
    struct turn_of of = {sampler, turn};
    DDPM_TRY(ddpm_graph_refresh(sampler->graph)); /* a replay would skip it */
    struct ddpm_recording *recording =
        &sampler->recordings[turn->evaluate][turn->noise != 0][1 + turn->keep_x0][turn->blend];
    return ddpm_recording_run(recording, sampler->network->device, submit, &of);
}

void ddpm_sampler_release_recordings(struct ddpm_sampler *sampler)
{
    struct ddpm_recording *all = &sampler->recordings[0][0][0][0];
    for (size_t i = 0; i < sizeof sampler->recordings / sizeof *all; ++i)
        ddpm_recording_release(&all[i], sampler->network->device);
}

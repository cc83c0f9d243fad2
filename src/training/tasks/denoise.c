/* Denoising (Ho et al. 2020, algorithm 1) in four lines:
 *
 *     draw      x_0 = pictures, t ~ U{0…T-1}, ε ~ N(0,I)
 *     forward   x_t = α_t·x_0 + σ_t·ε,  loss = ‖target - network(x_t, t)‖²
 *     backward  gradients += ∂loss
 *     update    clip, AdamW, EMA
 *
 * What the network is given and what its target is are the objective's. Their coefficients are
 * gathered from a table, one row per timestep; where levels are continuous the host writes them.
 * A learned variance adds a term to the loss (kernels/ops.inc: VARIATIONAL_LOSS). */
#include "core/random.h"
#include "nets/nets.h"
#include "training/tasks/task.h"
#include "training/trainer_state.h"

/* ε plus one number per channel, so that the network learns to move whole channels. */
static struct ddpm_value *add_offset(struct ddpm_trainer *trainer, uint64_t seed)
{
    struct ddpm_graph *g = trainer->graph;
    const struct ddpm_tensor *noise = &trainer->noise->tensor;
    const struct ddpm_tensor shape = ddpm_tensor_make(DDPM_F32, noise->n, 1, 1, noise->c);
    const int columns[DDPM_COMBINED] = {0};
    struct ddpm_value *numbers =
        ddpm_draw_normal(g, trainer->counters, seed, DDPM_STREAM_OFFSET, &shape);
    trainer->offset = ddpm_graph_input(g, DDPM_F32, noise->n, 1, 1, 1);
    numbers = ddpm_combine(g, trainer->offset, columns,
                           (struct ddpm_value *[DDPM_COMBINED]){numbers}, false, DDPM_F32, NULL);
    return ddpm_add_channels(g, trainer->noise, numbers);
}

/* ε of each picture: the nearest to it of several draws. The first is the one that there is always;
 * the others have streams of their own. */
static struct ddpm_value *draw_noise(struct ddpm_trainer *trainer, uint64_t seed)
{
    struct ddpm_graph *g = trainer->graph;
    const struct ddpm_tensor *shape = &trainer->x0->tensor;
    struct ddpm_value *noise =
        ddpm_draw_normal(g, trainer->counters, seed, DDPM_STREAM_NOISE, shape);
    for (int64_t i = 1; i < trainer->config.training.noise_candidates; ++i)
        noise = ddpm_nearest(g, trainer->x0, noise,
                             ddpm_draw_normal(g, trainer->counters, seed,
                                              DDPM_STREAM_NOISE + ((uint32_t)i << 16), shape));
    return noise;
}

static void build_draw(struct ddpm_trainer *trainer, int64_t batch)
{
    const struct ddpm_network *network = trainer->players[0].network;
    const struct ddpm_diffusion_config *diffusion = &network->config.diffusion;
    struct ddpm_graph *g = trainer->graph;
    const uint64_t seed = trainer->config.training.seed;
    trainer->parts.draw = ddpm_graph_begin_part(g, "draw");
    trainer->pictures = ddpm_graph_input(g, DDPM_U8, batch, diffusion->image_height,
                                         diffusion->image_width, network->config.network.channels);
    trainer->flips = ddpm_graph_input(g, DDPM_U8, batch, 1, 1, 1);
    trainer->counters = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 2);
    trainer->x0 = ddpm_normalize_pictures(g, trainer->pictures, trainer->flips);
    if (ddpm_trainer_writes_rows(trainer)) {
        trainer->rows = ddpm_graph_input(g, DDPM_F32, batch, 1, 1, DDPM_TRAINING_COLUMNS);
    } else {
        trainer->table =
            ddpm_graph_input(g, DDPM_F32, trainer->path.timesteps, 1, 1, DDPM_TRAINING_COLUMNS);
        if (diffusion->timestep_per_batch && trainer->team.cuts > 1)
            trainer->first_counters = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 2);
        trainer->t = ddpm_draw_timesteps(
            g, trainer->first_counters ? trainer->first_counters : trainer->counters, seed,
            (int)diffusion->timesteps, diffusion->timestep_per_batch);
        ddpm_graph_keep(trainer->t);
    }
    if (trainer->x0)
        trainer->noise = draw_noise(trainer, seed);
    if (trainer->noise && diffusion->offset_noise > 0)
        trainer->noise = add_offset(trainer, seed);
    ddpm_graph_keep(trainer->x0);
    ddpm_graph_keep(trainer->noise);
}

/* One way through the network: what it is made of, what it answers and what it should. */
struct pass {
    struct ddpm_graph *graph;
    const struct ddpm_network_config *network;
    const struct ddpm_objective *objective;
    struct ddpm_value *x0, *noise, *rows;
    struct ddpm_value *answer, *predicted, *target; /* predicted: of the answer what has a target */
};

/* One picture-shaped mixture of x_0 and ε. The noise comes first: on a GPU the first product is
 * rounded by itself and the second is fused into the sum, which are the roundings that 0.1 had. */
static struct ddpm_value *mix(const struct pass *pass, int of_x0, int of_noise,
                              enum ddpm_dtype dtype)
{
    const int columns[DDPM_COMBINED] = {of_noise, of_x0};
    struct ddpm_value *const inputs[DDPM_COMBINED] = {pass->noise, pass->x0};
    return ddpm_combine(pass->graph, pass->rows, columns, inputs, false, dtype, NULL);
}

/* What the network is given at this level. */
static struct ddpm_value *build_input(const struct pass *pass)
{
    struct ddpm_graph *g = pass->graph;
    if (!pass->objective->scales_input)
        return mix(pass, DDPM_TRAINING_X0, DDPM_TRAINING_NOISE, g->dtype);
    const int columns[DDPM_COMBINED] = {DDPM_TRAINING_INPUT};
    struct ddpm_value *const inputs[DDPM_COMBINED] = {
        mix(pass, DDPM_TRAINING_X0, DDPM_TRAINING_NOISE, DDPM_F32)};
    return ddpm_combine(g, pass->rows, columns, inputs, false, g->dtype, NULL);
}

static void build_answer(struct pass *pass)
{
    const struct ddpm_net_inputs inputs = {
        .x = build_input(pass),
        .time = ddpm_graph_view(pass->graph, pass->rows, DDPM_TRAINING_TIME, 1),
    };
    pass->answer = ddpm_net_build(pass->graph, pass->network, &inputs);
    pass->predicted = pass->network->learned_variance
                          ? ddpm_graph_view(pass->graph, pass->answer, 0, pass->network->channels)
                          : pass->answer;
    pass->target = pass->objective->learns_noise
                       ? pass->noise
                       : mix(pass, DDPM_TRAINING_TARGET_X0, DDPM_TRAINING_TARGET_NOISE, DDPM_F32);
}

/* The loss of every picture, and its gradient. */
static struct ddpm_seed build_loss(struct ddpm_trainer *trainer)
{
    struct ddpm_graph *g = trainer->graph;
    const struct ddpm_network *network = trainer->players[0].network;
    const enum ddpm_loss loss = (enum ddpm_loss)network->config.diffusion.loss;
    trainer->parts.forward = ddpm_graph_begin_part(g, "forward");
    struct pass pass = {
        .graph = g,
        .network = &network->config.network,
        .objective = trainer->objective,
        .x0 = trainer->x0,
        .noise = trainer->noise,
        .rows = trainer->rows ? trainer->rows : ddpm_gather_rows(g, trainer->table, trainer->t),
    };
    build_answer(&pass);
    struct ddpm_value *variance =
        network->config.network.learned_variance
            ? ddpm_graph_view(g, pass.rows, DDPM_TRAINING_VARIANCE, DDPM_VARIANCE_COLUMNS)
            : NULL;
    struct ddpm_value *weight = network->config.diffusion.loss_weight != DDPM_WEIGHT_NONE
                                    ? ddpm_graph_view(g, pass.rows, DDPM_TRAINING_WEIGHT, 1)
                                    : NULL;
    trainer->loss = ddpm_loss_per_picture(g, pass.predicted, pass.target, weight, loss);
    if (variance)
        trainer->loss = ddpm_variational_loss(g, trainer->loss, pass.answer, trainer->noise,
                                              trainer->x0, variance);
    ddpm_graph_fuse(g, ~0u);
    trainer->parts.backward = ddpm_graph_begin_part(g, "backward");
    const float share = 1.0f / (float)trainer->team.total;
    struct ddpm_value *gradient =
        ddpm_loss_gradient(g, pass.predicted, pass.target, weight, loss, share);
    if (variance) /* ε̂ has the gradient of its own loss, the rest of the answer the term's */
        gradient = ddpm_concat(g, gradient,
                               ddpm_variational_gradient(g, pass.answer, trainer->noise,
                                                         trainer->x0, variance, share));
    return (struct ddpm_seed){pass.answer, gradient};
}

static ddpm_status build(struct ddpm_trainer *trainer, int64_t batch, bool low_memory)
{
    struct ddpm_player *player = &trainer->players[0];
    const struct ddpm_team *team = &trainer->team;
    DDPM_TRY(ddpm_graph_create(player->network->dtype, &trainer->graph));
    struct ddpm_graph *g = trainer->graph;
    ddpm_graph_use(g, &player->network->weights, 0);
    g->reads_copies = true;
    g->recompute = low_memory;
    g->repack = team->count == 1 || low_memory;
    ddpm_optimizer_build_copy(&player->optimizer, g);
    build_draw(trainer, batch);
    const struct ddpm_seed seed = build_loss(trainer);
    if (seed.gradient)
        DDPM_TRY(ddpm_graph_differentiate(g, &seed, 1, NULL));
    /* One micro-batch's losses lie where they were computed, several are gathered by step.c. */
    trainer->losses = trainer->loss;
    if (team->total > 1)
        trainer->losses = ddpm_graph_input(g, DDPM_F32, batch * team->total, 1, 1, 1);
    ddpm_optimizer_build_update(&player->optimizer, g, trainer->losses);
    return g->status;
}

static ddpm_status build_validation(struct ddpm_trainer *trainer, int64_t batch)
{
    struct ddpm_validator *validator = &trainer->validator;
    struct ddpm_network *network = trainer->players[0].network;
    const struct ddpm_diffusion_config *diffusion = &network->config.diffusion;
    DDPM_TRY(ddpm_graph_create(network->dtype, &validator->graph));
    struct ddpm_graph *g = validator->graph;
    ddpm_graph_use(g, &network->weights, DDPM_WEIGHTS_EMA);
    validator->pictures =
        ddpm_graph_input(g, DDPM_U8, batch, diffusion->image_height, diffusion->image_width,
                         network->config.network.channels);
    validator->flips = ddpm_graph_input(g, DDPM_U8, batch, 1, 1, 1);
    validator->counters = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 2);
    validator->rows = ddpm_graph_input(g, DDPM_F32, batch, 1, 1, DDPM_TRAINING_COLUMNS);
    struct pass pass = {
        .graph = g,
        .network = &network->config.network,
        .objective = trainer->objective,
        .x0 = ddpm_normalize_pictures(g, validator->pictures, validator->flips),
        .rows = validator->rows,
    };
    if (pass.x0)
        pass.noise =
            ddpm_draw_normal(g, validator->counters, 0, DDPM_STREAM_VALIDATION, &pass.x0->tensor);
    build_answer(&pass);
    validator->loss = ddpm_loss_per_picture(g, pass.predicted, pass.target, NULL,
                                            (enum ddpm_loss)diffusion->loss);
    ddpm_graph_fuse(g, ~0u);
    return g->status;
}

const struct ddpm_task ddpm_task_denoise = {
    .name = "denoise", .build = build, .build_validation = build_validation};

/* Denoising (Ho et al. 2020, algorithm 1) in four lines:
 *
 *     draw      x_0 = pictures, t ~ U{0…T-1}, ε ~ N(0,I)
 *     forward   x_t = α_t·x_0 + σ_t·ε,  loss = ‖target - network(x_t, t)‖²
 *     backward  gradients += ∂loss
 *     update    clip, AdamW, EMA
 *
 * The objective defines the network's input and its target. Their coefficients are gathered from a
 * table, one row per timestep; on continuous levels the host writes them. A learned variance adds a
 * term to the loss (kernels/ops.inc: VARIATIONAL_LOSS). With learned weights of the levels, the
 * loss stays the plain one, but its gradient is that of loss·e^-u + u (UNCERTAINTY). */
#include "core/random.h"
#include "diffusion/quantile.h"
#include "nets/nets.h"
#include "training/tasks/task.h"
#include "training/trainer_state.h"

static void build_draw(struct ddpm_trainer *trainer, int64_t batch)
{
    const struct ddpm_diffusion_config *diffusion = &trainer->players[0].network->config.diffusion;
    struct ddpm_graph *g = trainer->graph;
    ddpm_task_begin_draw(trainer, batch);
    if (ddpm_trainer_writes_rows(trainer)) {
        trainer->rows = ddpm_graph_input(g, DDPM_F32, batch, 1, 1, DDPM_TRAINING_COLUMNS);
    } else {
        trainer->table =
            ddpm_graph_input(g, DDPM_F32, trainer->path.timesteps, 1, 1, DDPM_TRAINING_COLUMNS);
        if (diffusion->timestep_per_batch && trainer->team.cuts > 1)
            trainer->first_counters = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 2);
        if (trainer->config.training.level_sampling == DDPM_LEVELS_STRATIFIED)
            trainer->t = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 1);
        else
            trainer->t = ddpm_draw_timesteps(
                g, trainer->first_counters ? trainer->first_counters : trainer->counters,
                trainer->config.training.seed, (int)diffusion->timesteps,
                diffusion->timestep_per_batch);
        ddpm_graph_keep(trainer->t);
    }
    ddpm_task_draw_noise(trainer);
}

/* One pass through the network: its input, its output and its target. */
struct pass {
    struct ddpm_graph *graph;
    const struct ddpm_network_config *network;
    const struct ddpm_objective *objective;
    struct ddpm_value *x0, *noise, *rows, *coordinates;
    struct ddpm_value *answer, *predicted,
        *target; /* predicted: the part of the output that has a target */
};

/* One picture-shaped mixture of x_0 and ε. The noise comes first: on a GPU the first product is
 * rounded on its own and the second is fused into the sum, which keeps the rounding of version
 * 0.1. */
static struct ddpm_value *mix(const struct pass *pass, int of_x0, int of_noise,
                              enum ddpm_dtype dtype)
{
    const int columns[DDPM_COMBINED] = {of_noise, of_x0};
    struct ddpm_value *const inputs[DDPM_COMBINED] = {pass->noise, pass->x0};
    return ddpm_combine(pass->graph, pass->rows, columns, inputs, false, dtype, NULL);
}

/* The network's input at this level. */
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
        .coordinates = pass->coordinates,
    };
    pass->answer = ddpm_net_build(pass->graph, pass->network, &inputs);
    pass->predicted = pass->network->learned_variance
                          ? ddpm_graph_view(pass->graph, pass->answer, 0, pass->network->channels)
                          : pass->answer;
    pass->target = pass->objective->learns_noise
                       ? pass->noise
                       : mix(pass, DDPM_TRAINING_TARGET_X0, DDPM_TRAINING_TARGET_NOISE, DDPM_F32);
}

/* Weights of the levels: columns of the rows, or learned. */
struct weights {
    struct ddpm_value *of_loss;         /* NULL: 1 */
    struct ddpm_value *u, *of_gradient; /* u: NULL if no weights are learned */
    struct ddpm_value *slopes;          /* the gradient of u */
};

static void build_weights(struct weights *weights, const struct pass *pass, int kind)
{
    if (kind == DDPM_WEIGHT_UNCERTAINTY)
        weights->u = ddpm_uncertainty_build(
            pass->graph, ddpm_graph_view(pass->graph, pass->rows, DDPM_TRAINING_LEVEL, 1));
    else if (kind != DDPM_WEIGHT_NONE)
        weights->of_loss = ddpm_graph_view(pass->graph, pass->rows, DDPM_TRAINING_WEIGHT, 1);
    weights->of_gradient = weights->of_loss;
}

/* The loss of every picture, and the gradients for the network's output and for u. */
static void build_loss(struct ddpm_trainer *trainer, struct ddpm_seed seeds[2], size_t *count)
{
    struct ddpm_graph *g = trainer->graph;
    const struct ddpm_network *network = trainer->players[0].network;
    const enum ddpm_loss loss = (enum ddpm_loss)network->config.diffusion.loss;
    struct weights weights = {0};
    trainer->parts.forward = ddpm_graph_begin_part(g, "forward");
    struct pass pass = {
        .graph = g,
        .network = &network->config.network,
        .objective = trainer->objective,
        .x0 = trainer->x0,
        .noise = trainer->noise,
        .coordinates = trainer->coordinates,
        .rows = trainer->rows ? trainer->rows : ddpm_gather_rows(g, trainer->table, trainer->t),
    };
    build_answer(&pass);
    struct ddpm_value *variance =
        network->config.network.learned_variance
            ? ddpm_graph_view(g, pass.rows, DDPM_TRAINING_VARIANCE, DDPM_VARIANCE_COLUMNS)
            : NULL;
    build_weights(&weights, &pass, network->config.diffusion.loss_weight);
    struct ddpm_value *simple =
        ddpm_loss_per_picture(g, pass.predicted, pass.target, weights.of_loss, loss);
    trainer->loss = simple;
    if (variance)
        trainer->loss =
            ddpm_variational_loss(g, simple, pass.answer, trainer->noise, trainer->x0, variance);
    ddpm_graph_fuse(g, ~0u);
    trainer->parts.backward = ddpm_graph_begin_part(g, "backward");
    const float share = 1.0f / (float)trainer->team.total;
    if (weights.u)
        weights.of_gradient = ddpm_uncertainty(g, simple, weights.u, share, &weights.slopes);
    struct ddpm_value *gradient =
        ddpm_loss_gradient(g, pass.predicted, pass.target, weights.of_gradient, loss, share);
    if (variance) /* ε̂ gets the gradient of its own loss, the rest of the output that of the
                     variational term */
        gradient = ddpm_concat(g, gradient,
                               ddpm_variational_gradient(g, pass.answer, trainer->noise,
                                                         trainer->x0, variance, share));
    seeds[0] = (struct ddpm_seed){pass.answer, gradient};
    seeds[1] = (struct ddpm_seed){weights.u, weights.slopes};
    *count = weights.u ? 2 : 1;
}

static ddpm_status build(struct ddpm_trainer *trainer, int64_t batch, bool low_memory)
{
    DDPM_TRY(ddpm_task_begin(trainer, low_memory));
    build_draw(trainer, batch);
    struct ddpm_seed seeds[2];
    size_t count;
    build_loss(trainer, seeds, &count);
    return ddpm_task_end(trainer, batch, seeds, count);
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

static void draw_row(const struct ddpm_trainer *trainer, uint32_t step, uint32_t place, float *row)
{
    const struct ddpm_diffusion_config *diffusion = &trainer->config.diffusion;
    const struct ddpm_training_config *training = &trainer->config.training;
    const struct ddpm_level level =
        training->level_sampling == DDPM_LEVELS_STRATIFIED
            ? ddpm_training_quantile(diffusion, &trainer->path,
                                     ddpm_trainer_quantile(trainer, step, place))
            : ddpm_training_level(diffusion, &trainer->path, training->seed, step, place);
    ddpm_training_row(diffusion, &level, row);
}

static void given_row(const struct ddpm_trainer *trainer, uint32_t step, double sigma, float *row)
{
    const struct ddpm_level level = ddpm_path_level_of_sigma(&trainer->path, sigma);
    (void)step;
    ddpm_training_row(&trainer->config.diffusion, &level, row);
}

const struct ddpm_task ddpm_task_denoise = {
    .build = build,
    .build_validation = build_validation,
    .columns = DDPM_TRAINING_COLUMNS,
    .draw_row = draw_row,
    .given_row = given_row,
};

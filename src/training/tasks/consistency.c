/* Easy Consistency Tuning (Geng et al. 2024): the network learns to predict the same x̂_0 from all
 * levels of a picture's noise.
 *
 *     draw      x_0 = pictures, ε ~ N(0,I), levels t > r by the host
 *     forward   f_r = x̂_0 from x_0 and ε at r,  f_t = x̂_0 from the same at t
 *               loss = weight·‖f_t - f_r‖ (pseudo-Huber), f_r is x_0 where r is the picture itself
 *     backward  gradients += ∂loss through f_t alone
 *     update    clip, AdamW, EMA
 *
 * x̂_0 follows from the objective, so before the first step this is the network's denoiser. The
 * x̂_0 at r is clipped as in drawing. Coefficients: diffusion/consistency.h. */
#include "diffusion/consistency.h"
#include "nets/nets.h"
#include "training/tasks/task.h"
#include "training/trainer_state.h"

/* x at one of the two levels, whose columns start at `first`. */
static struct ddpm_value *build_x(const struct ddpm_trainer *trainer, int first)
{
    const int columns[DDPM_COMBINED] = {first + DDPM_CONSISTENCY_NOISY_NOISE,
                                        first + DDPM_CONSISTENCY_NOISY_X0};
    struct ddpm_value *const inputs[DDPM_COMBINED] = {trainer->noise, trainer->x0};
    return ddpm_combine(trainer->graph, trainer->rows, columns, inputs, false, DDPM_F32, NULL);
}

static struct ddpm_value *build_answer(const struct ddpm_trainer *trainer, struct ddpm_value *x,
                                       int first)
{
    struct ddpm_graph *g = trainer->graph;
    const int columns[DDPM_COMBINED] = {first + DDPM_CONSISTENCY_NOISY_INPUT};
    struct ddpm_value *const scaled[DDPM_COMBINED] = {x};
    const struct ddpm_net_inputs inputs = {
        .x = ddpm_combine(g, trainer->rows, columns, scaled, false, g->dtype, NULL),
        .time = ddpm_graph_view(g, trainer->rows, first + DDPM_CONSISTENCY_NOISY_TIME, 1),
        .coordinates = trainer->coordinates,
    };
    return ddpm_net_build(g, &trainer->players[0].network->config.network, &inputs);
}

/* f_r, or x_0. */
static struct ddpm_value *build_target(const struct ddpm_trainer *trainer)
{
    struct ddpm_value *x = build_x(trainer, DDPM_CONSISTENCY_NEAR_X0);
    struct ddpm_value *answer = build_answer(trainer, x, DDPM_CONSISTENCY_NEAR_X0);
    const int columns[DDPM_COMBINED] = {DDPM_CONSISTENCY_NEAR_X, DDPM_CONSISTENCY_NEAR_OUT,
                                        DDPM_CONSISTENCY_CLEAN};
    struct ddpm_value *const inputs[DDPM_COMBINED] = {x, answer, trainer->x0};
    return ddpm_combine(trainer->graph, trainer->rows, columns, inputs,
                        trainer->config.diffusion.clip, DDPM_F32, NULL);
}

/* The loss of every picture, and its gradient. */
static struct ddpm_seed build_loss(struct ddpm_trainer *trainer)
{
    struct ddpm_graph *g = trainer->graph;
    trainer->parts.forward = ddpm_graph_begin_part(g, "forward");
    struct ddpm_value *target = build_target(trainer);
    struct ddpm_value *x = build_x(trainer, DDPM_CONSISTENCY_NOISY_X0);
    struct ddpm_value *answer = build_answer(trainer, x, DDPM_CONSISTENCY_NOISY_X0);
    const int columns[DDPM_COMBINED] = {DDPM_CONSISTENCY_NOISY_X, DDPM_CONSISTENCY_NOISY_OUT};
    struct ddpm_value *const inputs[DDPM_COMBINED] = {x, answer};
    struct ddpm_value *f = ddpm_combine(g, trainer->rows, columns, inputs, false, DDPM_F32, NULL),
                      *slopes;
    if (!f)
        return (struct ddpm_seed){0};
    const int64_t values = f->tensor.h * f->tensor.w * f->tensor.c;
    const float share = (float)(1 / (double)(trainer->team.total * values));
    struct ddpm_value *squares = ddpm_loss_per_picture(g, f, target, NULL, DDPM_LOSS_L2);
    trainer->loss = ddpm_pseudo_huber(
        g, squares, ddpm_graph_view(g, trainer->rows, DDPM_CONSISTENCY_NOISY_OUT, 2),
        DDPM_CONSISTENCY_HUBER, share, &slopes);
    ddpm_graph_fuse(g, ~0u);
    trainer->parts.backward = ddpm_graph_begin_part(g, "backward");
    const int both[DDPM_COMBINED] = {0, 1};
    struct ddpm_value *const apart[DDPM_COMBINED] = {f, target};
    return (struct ddpm_seed){answer, ddpm_combine(g, slopes, both, apart, false, g->dtype, NULL)};
}

static ddpm_status build(struct ddpm_trainer *trainer, int64_t batch, bool low_memory)
{
    DDPM_TRY(ddpm_task_begin(trainer, low_memory));
    ddpm_task_begin_draw(trainer, batch);
    trainer->rows =
        ddpm_graph_input(trainer->graph, DDPM_F32, batch, 1, 1, DDPM_CONSISTENCY_COLUMNS);
    ddpm_task_draw_noise(trainer);
    const struct ddpm_seed seed = build_loss(trainer);
    return ddpm_task_end(trainer, batch, &seed, 1);
}

static void fill_row(const struct ddpm_trainer *trainer, uint32_t step, double noisy, float *row)
{
    const int stage = ddpm_consistency_stage(step, trainer->config.training.steps);
    const struct ddpm_consistency_pair pair =
        ddpm_consistency_pair_at(&trainer->path, noisy, stage);
    ddpm_consistency_row(&trainer->config.diffusion, &trainer->path, &pair, row);
}

static void draw_row(const struct ddpm_trainer *trainer, uint32_t step, uint32_t place, float *row)
{
    const double noisy = ddpm_consistency_draw(&trainer->config.diffusion,
                                               trainer->config.training.seed, step, place);
    fill_row(trainer, step, noisy, row);
}

const struct ddpm_task ddpm_task_consistency = {
    .build = build,
    .pairs = true,
    .columns = DDPM_CONSISTENCY_COLUMNS,
    .draw_row = draw_row,
    .given_row = fill_row,
};

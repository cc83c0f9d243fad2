/* What the tasks share: the start of the graph, x_0 from the pictures and ε, its end. */
#include "training/tasks/task.h"
#include "core/random.h"
#include "training/trainer_state.h"

const struct ddpm_task *ddpm_task_of(const struct ddpm_diffusion_config *diffusion)
{
    return diffusion->drawing_steps ? &ddpm_task_consistency : &ddpm_task_denoise;
}

ddpm_status ddpm_task_begin(struct ddpm_trainer *trainer, bool low_memory)
{
    struct ddpm_player *player = &trainer->players[0];
    DDPM_TRY(ddpm_graph_create(player->network->dtype, &trainer->graph));
    struct ddpm_graph *g = trainer->graph;
    ddpm_graph_use(g, &player->network->weights, 0);
    g->reads_copies = true;
    g->recompute = low_memory;
    g->keep = trainer->keeps_results && !low_memory;
    g->aside = g->keep;
    g->share = trainer->device->backend->record_begin != NULL; /* there every call has a fixed
                                                                * cost */
    g->repack = (trainer->team.count == 1 && !trainer->packing.shared) || low_memory;
    ddpm_optimizer_build_copy(&player->optimizer, g);
    return DDPM_OK;
}

ddpm_status ddpm_task_end(struct ddpm_trainer *trainer, int64_t batch,
                          const struct ddpm_seed *seeds, size_t count)
{
    struct ddpm_graph *g = trainer->graph;
    const int64_t total = trainer->team.total;
    DDPM_TRY(ddpm_graph_differentiate(g, seeds, count, NULL));
    if (trainer->team.count == 1)
        DDPM_TRY(ddpm_graph_overwrite_gradients(g));
    /* One micro-batch's losses stay where they were computed; those of several are gathered by
     * step.c. */
    trainer->losses = trainer->loss;
    if (total > 1)
        trainer->losses = ddpm_graph_input(g, DDPM_F32, batch * total, 1, 1, 1);
    ddpm_optimizer_build_update(&trainer->players[0].optimizer, g, trainer->losses);
    return g->status;
}

/* ε plus one number per channel, so that the network learns to shift whole channels. */
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

/* ε of each picture: the nearest to it of several draws. The first is the usual one; the others
 * have streams of their own. */
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

void ddpm_task_begin_draw(struct ddpm_trainer *trainer, int64_t batch)
{
    const struct ddpm_network *network = trainer->players[0].network;
    struct ddpm_graph *g = trainer->graph;
    trainer->parts.draw = ddpm_graph_begin_part(g, "draw");
    trainer->pictures = ddpm_graph_input(g, DDPM_U8, batch, trainer->size.height,
                                         trainer->size.width, network->config.network.channels);
    trainer->flips = ddpm_graph_input(g, DDPM_U8, batch, 1, 1, 1);
    trainer->counters = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 2);
    trainer->x0 = ddpm_normalize_pictures(g, trainer->pictures, trainer->flips);
    const struct ddpm_size whole = ddpm_whole_size(&trainer->config);
    if (network->config.network.coordinates && !ddpm_trainer_fits(trainer, whole)) {
        trainer->corners = ddpm_graph_input(g, DDPM_I32, batch, 1, 1, 2);
        trainer->coordinates =
            ddpm_coordinates(g, trainer->x0, trainer->corners, whole.height, whole.width);
        ddpm_graph_keep(trainer->coordinates);
    }
}

void ddpm_task_draw_noise(struct ddpm_trainer *trainer)
{
    const uint64_t seed = trainer->config.training.seed;
    trainer->noise = trainer->x0 ? draw_noise(trainer, seed) : NULL;
    if (trainer->noise && trainer->config.diffusion.offset_noise > 0)
        trainer->noise = add_offset(trainer, seed);
    ddpm_graph_keep(trainer->x0);
    ddpm_graph_keep(trainer->noise);
}

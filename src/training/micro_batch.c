/* The inputs of a micro-batch, put where its graph reads them. */
#include "core/random.h"
#include "training/trainer_state.h"

/* Position, within the step, of the first picture of the batch that micro-batch `index` is part
 * of. */
static int64_t first_of_batch(const struct ddpm_trainer *trainer, int64_t index)
{
    const int64_t batch = trainer->config.training.batch_size;
    return ddpm_team_place(&trainer->team, index) / batch * batch;
}

double ddpm_trainer_quantile(const struct ddpm_trainer *trainer, uint32_t step, int64_t place)
{
    const struct ddpm_training_config *training = &trainer->config.training;
    const struct ddpm_random4 random =
        ddpm_philox(training->seed, 0, 0, step, DDPM_STREAM_TIMESTEP);
    const double u = (double)ddpm_uniform(random.v[0]);
    return ((double)place + u) / (double)ddpm_pictures_per_step(training);
}

/* The stratified timesteps of micro-batch `index`. */
static ddpm_status write_timesteps(struct ddpm_trainer *trainer, uint32_t step, int64_t index)
{
    const int64_t first = ddpm_team_place(&trainer->team, index);
    const double count = (double)trainer->path.timesteps;
    for (int64_t b = 0; b < trainer->team.size; ++b)
        trainer->host_counters[b] =
            (int32_t)(ddpm_trainer_quantile(trainer, step, first + b) * count);
    return ddpm_graph_write(trainer->graph, trainer->t, trainer->host_counters);
}

/* The levels of micro-batch `index`, if the graph does not draw them. */
static ddpm_status write_levels(struct ddpm_trainer *trainer, uint32_t step, int64_t index)
{
    const struct ddpm_diffusion_config *diffusion = &trainer->config.diffusion;
    const int64_t first = ddpm_team_place(&trainer->team, index);
    if (!ddpm_trainer_writes_rows(trainer))
        return trainer->config.training.level_sampling == DDPM_LEVELS_STRATIFIED
                   ? write_timesteps(trainer, step, index)
                   : DDPM_OK;
    for (int64_t b = 0; b < trainer->team.size; ++b) {
        const int64_t place =
            diffusion->timestep_per_batch ? first_of_batch(trainer, index) : first + b;
        trainer->task->draw_row(trainer, step, (uint32_t)place,
                                trainer->host_rows + b * trainer->task->columns);
    }
    return ddpm_graph_write(trainer->graph, trainer->rows, trainer->host_rows);
}

/* Random counters of the pictures from position `first` on. */
static ddpm_status write_counters(struct ddpm_trainer *trainer, struct ddpm_value *counters,
                                  int64_t first, uint64_t step)
{
    for (int64_t b = 0; b < trainer->team.size; ++b) {
        trainer->host_counters[2 * b] = (int32_t)(first + b);
        trainer->host_counters[2 * b + 1] = (int32_t)step;
    }
    return ddpm_graph_write(trainer->graph, counters, trainer->host_counters);
}

/* Put micro-batch `index` of a batch in place, for the graph part draw. */
static ddpm_status write_drawn(struct ddpm_trainer *trainer, const struct ddpm_batch *batch,
                               int64_t index)
{
    const int64_t size = trainer->team.size;
    const size_t bytes = ddpm_tensor_bytes(&trainer->pictures->tensor);
    DDPM_TRY(
        ddpm_graph_write(trainer->graph, trainer->pictures, batch->pixels + (size_t)index * bytes));
    DDPM_TRY(ddpm_graph_write(trainer->graph, trainer->flips, batch->flips + index * size));
    if (trainer->corners)
        DDPM_TRY(
            ddpm_graph_write(trainer->graph, trainer->corners, batch->corners + 2 * index * size));
    DDPM_TRY(write_levels(trainer, (uint32_t)batch->step, index));
    if (trainer->first_counters)
        DDPM_TRY(write_counters(trainer, trainer->first_counters, first_of_batch(trainer, index),
                                batch->step));
    return write_counters(trainer, trainer->counters, ddpm_team_place(&trainer->team, index),
                          batch->step);
}

ddpm_status ddpm_trainer_write_micro_batch(struct ddpm_trainer *trainer,
                                           const struct ddpm_step_values *values, int64_t index)
{
    return values->batch ? write_drawn(trainer, values->batch, index)
                         : ddpm_trainer_write_given(trainer, values, index);
}

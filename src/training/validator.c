/* The validation loss: always the same pictures, noise levels and noise, so that only the weights
 * differ between measurements.
 *
 * An evaluation is one picture at one level. For the same number of evaluations, few pictures are
 * measured at all eight levels, many at fewer. The noise depends on the picture's content and the
 * level. */
#include "training/validator.h"

#include <stdlib.h>
#include <string.h>

#include "config/validation.h"
#include "core/arguments.h"
#include "core/memory.h"
#include "diffusion/quantile.h"
#include "training/trainer_state.h"

/* At most this many evaluations per side. */
enum { MOST_EVALUATIONS = 256 };

bool ddpm_validator_is_configured(const struct ddpm_config *config)
{
    struct ddpm_validation_choice choice;
    return ddpm_validation_parse(config->data.validation, &choice) == DDPM_OK &&
           (choice.kind == DDPM_VALIDATION_PART || choice.kind == DDPM_VALIDATION_PICTURES);
}

ddpm_status ddpm_validator_lay_out(struct ddpm_trainer *trainer, int64_t batch)
{
    struct ddpm_validator *validator = &trainer->validator;
    ddpm_graph_destroy(&validator->graph);
    if (!validator->wanted)
        return DDPM_OK;
    DDPM_TRY(trainer->task->build_validation(trainer,
                                             batch < MOST_EVALUATIONS ? batch : MOST_EVALUATIONS));
    return ddpm_graph_lay_out(validator->graph, trainer->device);
}

size_t ddpm_validator_bytes(const struct ddpm_validator *validator)
{
    return validator->graph ? validator->graph->arena_bytes + validator->graph->packed_bytes : 0;
}

static int64_t pictures_of(const struct ddpm_trainer *trainer)
{
    return trainer->data->aside->measured[DDPM_SIDE_VALIDATION].count;
}

static int64_t choose_levels(int64_t pictures)
{
    int64_t levels = DDPM_VALIDATION_BANDS;
    while (levels > 1 && levels * pictures > MOST_EVALUATIONS)
        levels /= 2;
    return levels;
}

ddpm_status ddpm_validator_allocate(struct ddpm_trainer *trainer)
{
    struct ddpm_validator *validator = &trainer->validator;
    if (!validator->wanted)
        return DDPM_OK;
    const size_t batch = (size_t)validator->pictures->tensor.n;
    validator->levels = choose_levels(pictures_of(trainer));
    const size_t evaluations = (size_t)(DDPM_SIDES * pictures_of(trainer) * validator->levels);
    DDPM_TRY(ddpm_graph_allocate(validator->graph));
    DDPM_TRY(ddpm_new_array((void **)&validator->host_pictures, 1,
                            ddpm_tensor_bytes(&validator->pictures->tensor), "a batch"));
    DDPM_TRY(
        ddpm_new_array((void **)&validator->host_counters, 2 * batch, sizeof(int32_t), "counters"));
    DDPM_TRY(ddpm_new_array((void **)&validator->host_rows, batch * DDPM_TRAINING_COLUMNS,
                            sizeof(float), "coefficients"));
    /* The last batch may be longer than the rest of the list. */
    DDPM_TRY(
        ddpm_new_array((void **)&validator->losses, evaluations + batch, sizeof(float), "losses"));
    return ddpm_graph_write(validator->graph, validator->flips, validator->host_pictures); /* 0 */
}

void ddpm_validator_release(struct ddpm_validator *validator)
{
    ddpm_graph_destroy(&validator->graph);
    free(validator->host_pictures);
    free(validator->host_counters);
    free(validator->host_rows);
    free(validator->losses);
}

/* Evaluation e of a measurement: first those of one side, then those of the other. */
struct evaluation {
    enum ddpm_side side;
    int64_t picture;
    int band;
};

static struct evaluation evaluation_at(const struct ddpm_trainer *trainer, int64_t e)
{
    const int64_t levels = trainer->validator.levels, each = pictures_of(trainer) * levels;
    return (struct evaluation){
        .side = (enum ddpm_side)(e / each),
        .picture = e % each / levels,
        .band = (int)(e % each % DDPM_VALIDATION_BANDS),
    };
}

/* Put evaluation e at position b of the batch. */
static void place(struct ddpm_trainer *trainer, int64_t e, int64_t b)
{
    struct ddpm_validator *validator = &trainer->validator;
    const struct evaluation at = evaluation_at(trainer, e);
    const struct ddpm_measured *measured = &trainer->data->aside->measured[at.side];
    const struct ddpm_diffusion_config *diffusion = &trainer->config.diffusion;
    const uint64_t hash = measured->hashes[at.picture];
    const size_t bytes =
        ddpm_tensor_bytes(&validator->pictures->tensor) / (size_t)validator->pictures->tensor.n;
    const struct ddpm_level level =
        ddpm_training_quantile(diffusion, &trainer->path, (at.band + 0.5) / DDPM_VALIDATION_BANDS);
    memcpy(validator->host_pictures + (size_t)b * bytes,
           measured->pixels + (size_t)at.picture * bytes, bytes);
    const uint32_t counters[2] = {(uint32_t)hash,
                                  ((uint32_t)(hash >> 32) & ~(uint32_t)7) | (uint32_t)at.band};
    memcpy(validator->host_counters + 2 * b, counters, sizeof counters);
    ddpm_training_row(diffusion, &level, validator->host_rows + b * DDPM_TRAINING_COLUMNS);
}

/* Losses of one batch of evaluations, starting at `first`. */
static ddpm_status run_batch(struct ddpm_trainer *trainer, int64_t first, int64_t evaluations)
{
    struct ddpm_validator *validator = &trainer->validator;
    struct ddpm_graph *g = validator->graph;
    const int64_t batch = validator->pictures->tensor.n;
    for (int64_t b = 0; b < batch; ++b)
        place(trainer, first + b < evaluations ? first + b : evaluations - 1, b);
    DDPM_TRY(ddpm_graph_write(g, validator->pictures, validator->host_pictures));
    DDPM_TRY(ddpm_graph_write(g, validator->counters, validator->host_counters));
    DDPM_TRY(ddpm_graph_write(g, validator->rows, validator->host_rows));
    DDPM_TRY(ddpm_graph_run(g, 0));
    return ddpm_graph_read(g, validator->loss, validator->losses + first);
}

/* Means, summed in the order of the evaluations. */
static void add_up(const struct ddpm_trainer *trainer, int64_t evaluations,
                   struct ddpm_validation_result *result)
{
    double sums[DDPM_SIDES][DDPM_VALIDATION_BANDS] = {{0}}, all[DDPM_SIDES] = {0};
    int64_t counts[DDPM_SIDES][DDPM_VALIDATION_BANDS] = {{0}};
    for (int64_t e = 0; e < evaluations; ++e) {
        const struct evaluation at = evaluation_at(trainer, e);
        const double loss = (double)trainer->validator.losses[e];
        sums[at.side][at.band] += loss;
        all[at.side] += loss;
        ++counts[at.side][at.band];
    }
    const double each = (double)(evaluations / DDPM_SIDES);
    result->loss = all[DDPM_SIDE_VALIDATION] / each;
    result->training_loss = all[DDPM_SIDE_TRAINING] / each;
    for (int band = 0; band < DDPM_VALIDATION_BANDS; ++band) {
        result->bands[band] =
            sums[DDPM_SIDE_VALIDATION][band] / (double)counts[DDPM_SIDE_VALIDATION][band];
        result->training_bands[band] =
            sums[DDPM_SIDE_TRAINING][band] / (double)counts[DDPM_SIDE_TRAINING][band];
    }
}

ddpm_status ddpm_trainer_validate(struct ddpm_trainer *trainer,
                                  struct ddpm_validation_result *result)
{
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(result);
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "validation"));
    if (!trainer->validator.wanted)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "validation: no pictures are set aside; call ddpm_data_split() first");
    const int64_t evaluations = DDPM_SIDES * pictures_of(trainer) * trainer->validator.levels;
    *result = (struct ddpm_validation_result){.step = trainer->step};
    for (int64_t e = 0; e < evaluations; e += trainer->validator.pictures->tensor.n) {
        DDPM_TRY(run_batch(trainer, e, evaluations));
        ddpm_ranks_still_here(trainer->team.ranks);
    }
    add_up(trainer, evaluations, result);
    return DDPM_OK;
}

ddpm_status ddpm_trainer_validation_plan(const struct ddpm_trainer *trainer,
                                         struct ddpm_validation_plan *out)
{
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(out);
    *out = (struct ddpm_validation_plan){0};
    if (!trainer->validator.wanted)
        return DDPM_OK;
    const struct ddpm_validator *validator = &trainer->validator;
    const int64_t batch = validator->pictures->tensor.n;
    const int64_t evaluations = DDPM_SIDES * pictures_of(trainer) * validator->levels;
    const double batches = (double)((evaluations + batch - 1) / batch);
    *out = (struct ddpm_validation_plan){
        .set_aside = trainer->data->aside->count,
        .trained_on = trainer->data->aside->left,
        .pictures = pictures_of(trainer),
        .levels = validator->levels,
        .cost_in_steps = batches * ddpm_graph_flops(validator->graph, 0) /
                         (trainer->plan.flops_per_step * ddpm_trainer_mean_cost(trainer)),
    };
    return DDPM_OK;
}

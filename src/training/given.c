/* Steps on the caller's values: for tests, and for programs with pictures of their own. */
#include <float.h>
#include <stddef.h>

#include "core/arguments.h"
#include "tensor/layout.h"
#include "training/trainer_state.h"

/* Convert one picture-shaped input of a micro-batch from NCHW. */
static ddpm_status write_planar(struct ddpm_trainer *trainer, struct ddpm_value *value,
                                const float *nchw)
{
    ddpm_nchw_to_nhwc(&value->tensor, nchw, trainer->host_values);
    return ddpm_graph_write(trainer->graph, value, trainer->host_values);
}

/* The levels of a micro-batch whose first picture is `first`. */
static ddpm_status write_levels(struct ddpm_trainer *trainer, const struct ddpm_step_values *values,
                                int64_t first)
{
    const int64_t size = trainer->team.size;
    for (int64_t b = 0; b < size && !ddpm_trainer_writes_rows(trainer); ++b)
        trainer->host_counters[b] = (int32_t)values->timesteps[first + b];
    if (!ddpm_trainer_writes_rows(trainer))
        return ddpm_graph_write(trainer->graph, trainer->t, trainer->host_counters);
    for (int64_t b = 0; b < size; ++b)
        trainer->task->given_row(trainer, (uint32_t)trainer->step, values->sigmas[first + b],
                                 trainer->host_rows + b * trainer->task->columns);
    return ddpm_graph_write(trainer->graph, trainer->rows, trainer->host_rows);
}

ddpm_status ddpm_trainer_write_given(struct ddpm_trainer *trainer,
                                     const struct ddpm_step_values *values, int64_t index)
{
    const int64_t size = trainer->team.size;
    const int64_t count = ddpm_tensor_count(&trainer->x0->tensor);
    DDPM_TRY(write_levels(trainer, values, index * size));
    DDPM_TRY(write_planar(trainer, trainer->x0, values->pictures + index * count));
    return write_planar(trainer, trainer->noise, values->noise + index * count);
}

static ddpm_status check_timesteps(const struct ddpm_trainer *trainer,
                                   const struct ddpm_step_input *input)
{
    const int64_t pictures = ddpm_pictures_per_step(&trainer->config.training);
    const int64_t last = trainer->path.timesteps - 1;
    if (!input->timesteps)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "a step: got NULL as timesteps");
    DDPM_TRY(ddpm_check_length("a step: timesteps", input->timestep_count, (double)pictures));
    for (int64_t b = 0; b < pictures; ++b)
        if (input->timesteps[b] < 0 || input->timesteps[b] > last)
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "timestep %lld: got %lld, want 0 to %lld",
                              (long long)b, (long long)input->timesteps[b], (long long)last);
    return DDPM_OK;
}

static ddpm_status check_sigmas(const struct ddpm_trainer *trainer,
                                const struct ddpm_step_input *input)
{
    const int64_t pictures = ddpm_pictures_per_step(&trainer->config.training);
    const bool pairs = trainer->task->pairs;
    const double most = trainer->path.kind == DDPM_PATH_FLOW && !pairs ? 1 : DBL_MAX;
    if (!input->sigmas)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "a step: got NULL as sigmas, which %s%s needs",
                          pairs ? "a distilled model" : "objective ",
                          pairs ? "" : trainer->objective->name);
    DDPM_TRY(ddpm_check_length("a step: sigmas", input->sigma_count, (double)pictures));
    for (int64_t b = 0; b < pictures; ++b)
        if (!(input->sigmas[b] > 0 && input->sigmas[b] <= most))
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "sigma %lld: got %g, want more than 0%s",
                              (long long)b, input->sigmas[b],
                              most == 1 ? " and at most 1" : ", and finite");
    return DDPM_OK;
}

static ddpm_status check_input(const struct ddpm_trainer *trainer,
                               const struct ddpm_step_input *input)
{
    const struct ddpm_size size = ddpm_whole_size(&trainer->config);
    const double pictures = (double)ddpm_pictures_per_step(&trainer->config.training);
    const double values = pictures * (double)trainer->config.network.channels *
                          (double)size.height * (double)size.width;
    if (!input->pictures || !input->noise)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "a step: got NULL as %s",
                          !input->pictures ? "pictures" : "noise");
    DDPM_TRY(ddpm_check_length("a step: pictures", input->picture_count, values));
    DDPM_TRY(ddpm_check_length("a step: noise", input->noise_count, values));
    return ddpm_trainer_writes_rows(trainer) ? check_sigmas(trainer, input)
                                             : check_timesteps(trainer, input);
}

ddpm_status ddpm_trainer_step_given(struct ddpm_trainer *trainer,
                                    const struct ddpm_step_input *given,
                                    struct ddpm_step_result *result)
{
    struct ddpm_step_input input;
    DDPM_REQUIRE(trainer);
    DDPM_REQUIRE(result);
    if (trainer->team.ranks)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "a step on given values: got several ranks, "
                                                  "want one");
    DDPM_TRY(ddpm_trainer_refuse_broken(trainer));
    DDPM_TRY(ddpm_trainer_refuse_pending(trainer, "a step on given values"));
    DDPM_TRY(ddpm_take_options(&input, sizeof input, offsetof(struct ddpm_step_input, sigmas),
                               given, "ddpm_step_input"));
    DDPM_TRY(check_input(trainer, &input));
    DDPM_TRY(ddpm_trainer_fit(trainer, ddpm_whole_size(&trainer->config)));
    const struct ddpm_step_values values = {
        .pictures = input.pictures,
        .noise = input.noise,
        .timesteps = input.timesteps,
        .sigmas = input.sigmas,
    };
    return ddpm_trainer_run_values(trainer, &values, result);
}

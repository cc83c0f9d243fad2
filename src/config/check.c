/* Do the options fit together? Each value was checked against its own range when it was set. */
#include <string.h>

#include "config/config.h"
#include "config/validation.h"
#include "core/arguments.h"

static ddpm_status check_network(const struct ddpm_network_config *network)
{
    if (network->levels < 1 || network->levels > DDPM_MAX_LEVELS)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option dim-mults: got %d levels, want 1 to %d",
                          network->levels, DDPM_MAX_LEVELS);
    if (network->dim < 4 || network->dim % 2 != 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option dim: got %lld, want an even number of at least 4 (half of the "
                          "time embedding is sines, half cosines): the nearest is %lld",
                          (long long)network->dim,
                          network->dim < 4 ? 4LL : (long long)network->dim + 1);
    return DDPM_OK;
}

static long long nearest_below(int64_t side, int64_t unit)
{
    return side < unit ? unit : side / unit * unit;
}

static long long nearest_above(int64_t side, int64_t unit)
{
    return (side + unit - 1) / unit * unit;
}

int64_t ddpm_network_outputs(const struct ddpm_network_config *network)
{
    if (network->out_dim)
        return network->out_dim;
    return network->learned_variance ? 2 * network->channels : network->channels;
}

int64_t ddpm_network_multiple(const struct ddpm_network_config *network)
{
    return (int64_t)1 << (network->levels - 1);
}

ddpm_status ddpm_network_check_size(const struct ddpm_network_config *network, const char *what,
                                    int64_t height, int64_t width)
{
    const int64_t unit = ddpm_network_multiple(network);
    if (height % unit == 0 && width % unit == 0)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "%s: got %lldx%lld, want sides divisible by %lld for %d "
                      "levels: the nearest sizes are %lldx%lld and %lldx%lld",
                      what, (long long)height, (long long)width, (long long)unit, network->levels,
                      nearest_below(height, unit), nearest_below(width, unit),
                      nearest_above(height, unit), nearest_above(width, unit));
}

/* The linear schedule ends at beta = 20 / T, which must stay below 1. */
enum { SMALLEST_LINEAR_TIMESTEPS = 21 };

static ddpm_status check_diffusion(const struct ddpm_diffusion_config *diffusion)
{
    if (diffusion->schedule == DDPM_SCHEDULE_LINEAR &&
        diffusion->timesteps < SMALLEST_LINEAR_TIMESTEPS)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option timesteps: got %lld with the linear schedule, whose last beta "
                          "would be %g; want at least %d timesteps, or the cosine schedule",
                          (long long)diffusion->timesteps, 20.0 / (double)diffusion->timesteps,
                          SMALLEST_LINEAR_TIMESTEPS);
    if (diffusion->schedule == DDPM_SCHEDULE_SIGMOID &&
        diffusion->sigmoid_start == diffusion->sigmoid_end)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option sigmoid-start: got %g, the same as sigmoid-end, so the schedule "
                          "would divide 0 by 0; want two different numbers such as -3 and 3",
                          diffusion->sigmoid_start);
    return DDPM_OK;
}

/* The timesteps of a schedule; flow and edm have none. */
static bool on_schedule(const struct ddpm_diffusion_config *diffusion)
{
    return diffusion->objective != DDPM_OBJECTIVE_FLOW &&
           diffusion->objective != DDPM_OBJECTIVE_EDM;
}

static ddpm_status check_objective(const struct ddpm_diffusion_config *diffusion)
{
    if (diffusion->zero_terminal_snr && diffusion->objective == DDPM_OBJECTIVE_NOISE)
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "option zero-terminal-snr: got on with objective noise, which says nothing about the "
            "picture at pure noise; want objective v or x0");
    if (diffusion->zero_terminal_snr && !on_schedule(diffusion))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option zero-terminal-snr: got on with objective %s, which uses no "
                          "schedule; want objective v or x0",
                          diffusion->objective == DDPM_OBJECTIVE_FLOW ? "flow" : "edm");
    if (diffusion->objective == DDPM_OBJECTIVE_EDM && diffusion->sigma_min >= diffusion->sigma_max)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option sigma-min: got %g, want less than sigma-max, which is %g",
                          diffusion->sigma_min, diffusion->sigma_max);
    return DDPM_OK;
}

/* The learned variance of a step needs a schedule and the noise objective. */
static ddpm_status check_learned_variance(const struct ddpm_config *config)
{
    const struct ddpm_network_config *network = &config->network;
    if (!network->learned_variance)
        return DDPM_OK;
    if (config->diffusion.objective != DDPM_OBJECTIVE_NOISE)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option learned-variance: got on with an objective that is not noise; "
                          "want objective noise, or learned-variance off");
    if (config->diffusion.timesteps < 2)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option learned-variance: got on with %lld timestep, want at least 2",
                          (long long)config->diffusion.timesteps);
    if (ddpm_network_outputs(network) != 2 * network->channels)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option out-dim: got %lld with learned-variance, want 0 or %lld, twice "
                          "the channels",
                          (long long)network->out_dim, 2 * (long long)network->channels);
    return DDPM_OK;
}

static ddpm_status check_drawing_steps(const struct ddpm_config *config)
{
    const int64_t steps = config->diffusion.drawing_steps;
    if (steps == 3)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option drawing-steps: got 3, want 1, 2 or 4");
    if (steps && config->network.learned_variance)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option drawing-steps: got %lld with learned-variance, want a model "
                          "without it",
                          (long long)steps);
    return DDPM_OK;
}

static ddpm_status check_training(const struct ddpm_config *config)
{
    const struct ddpm_training_config *training = &config->training;
    if (training->level_sampling == DDPM_LEVELS_STRATIFIED && config->diffusion.timestep_per_batch)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option level-sampling: got stratified with timestep-per-batch, which "
                          "has one level for a whole batch; want random");
    if (training->lr_schedule != DDPM_LR_CONSTANT && training->warmup >= training->steps)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option warmup: got %lld with the %s lr-schedule, want fewer than "
                          "the %lld steps of the run",
                          (long long)training->warmup,
                          training->lr_schedule == DDPM_LR_COSINE ? "cosine" : "linear",
                          (long long)training->steps);
    if (training->ema == DDPM_EMA_POWER && training->ema_second > 0 && training->ema_second < 0.001)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option ema-second: got %g, want 0 or a number in [0.001, 0.28]",
                          training->ema_second);
    return DDPM_OK;
}

static ddpm_status check_wire(const struct ddpm_config *config)
{
    if (config->run.wire == DDPM_WIRE_BF16 && config->training.reduce == DDPM_REDUCE_EXACT)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option wire: got bf16 with reduce exact, which adds up in fp32; want "
                          "wire fp32, or reduce fast");
    return DDPM_OK;
}

static ddpm_status check_device(const char *device)
{
    const char *number = device + strlen("cuda:");
    /* ref and check are for tests: the reference kernels, and checked ones. */
    static const char *const names[] = {"auto", "cpu", "cuda", "ref", "check"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        if (strcmp(device, names[i]) == 0)
            return DDPM_OK;
    if (strncmp(device, "cuda:", strlen("cuda:")) == 0 && *number && strlen(number) <= 3 &&
        !number[strspn(number, "0123456789")])
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option device: got \"%s\", want auto, cpu, cuda or "
                      "cuda:N",
                      device);
}

ddpm_status ddpm_config_check(const struct ddpm_config *config)
{
    struct ddpm_validation_choice validation;
    DDPM_REQUIRE(config);
    DDPM_TRY(check_network(&config->network));
    DDPM_TRY(ddpm_network_check_size(&config->network, "option image-size",
                                     config->diffusion.image_height,
                                     config->diffusion.image_width));
    if (on_schedule(&config->diffusion))
        DDPM_TRY(check_diffusion(&config->diffusion));
    DDPM_TRY(check_objective(&config->diffusion));
    DDPM_TRY(check_learned_variance(config));
    DDPM_TRY(check_drawing_steps(config));
    DDPM_TRY(check_training(config));
    DDPM_TRY(check_wire(config));
    DDPM_TRY(ddpm_validation_parse(config->data.validation, &validation));
    return check_device(config->run.device);
}

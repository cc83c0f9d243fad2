/* From a noisy picture to the picture that the network predicts: x̂_0 by the objective's row; and
 * the noise level of a time. */
#include <math.h>
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "diffusion/objective.h"
#include "diffusion/schedule.h"
#include "model/model.h"

/* The level at which the network's time input is `time`. */
static struct ddpm_level level_at(const struct ddpm_path *path, double time)
{
    switch (path->kind) {
    case DDPM_PATH_SCHEDULE:
        break;
    case DDPM_PATH_FLOW:
        return ddpm_path_level_of_sigma(path, time / (double)path->timesteps);
    case DDPM_PATH_EDM:
        return ddpm_path_level_of_sigma(path, exp(4 * time));
    }
    return ddpm_path_level(path, time);
}

static struct ddpm_objective_row row_of(const struct ddpm_network *network,
                                        const struct ddpm_path *path,
                                        const struct ddpm_forward_input *input, int64_t b)
{
    struct ddpm_objective_row row;
    const double time = input->times ? (double)input->times[b] : (double)input->timesteps[b];
    const struct ddpm_level level = level_at(path, time);
    ddpm_objective_fill(&network->config.diffusion, &level, &row);
    return row;
}

static ddpm_status predict(struct ddpm_network *network, enum ddpm_weights which,
                           const struct ddpm_path *path, const struct ddpm_forward_input *input,
                           float *out, float *x0)
{
    const size_t each = input->x_count / (size_t)input->batch;
    const size_t out_each = each / (size_t)network->config.network.channels *
                            (size_t)ddpm_network_out_channels(network);
    struct ddpm_forward_input scaled = *input;
    for (int64_t b = 0; b < input->batch; ++b) {
        const double c_in = row_of(network, path, input, b).c_in;
        for (size_t i = (size_t)b * each; i < (size_t)(b + 1) * each; ++i)
            x0[i] = (float)(c_in * (double)input->x[i]);
    }
    scaled.x = x0;
    DDPM_TRY(ddpm_network_forward(network, which, &scaled, out, out_each * (size_t)input->batch));
    for (int64_t b = 0; b < input->batch; ++b) {
        const struct ddpm_objective_row row = row_of(network, path, input, b);
        const float *x = input->x + (size_t)b * each, *y = out + (size_t)b * out_each;
        for (size_t i = 0; i < each; ++i)
            x0[(size_t)b * each + i] = (float)(row.x0_x * (double)x[i] + row.x0_out * (double)y[i]);
    }
    return DDPM_OK;
}

ddpm_status ddpm_network_predict_x0(struct ddpm_network *network, enum ddpm_weights which,
                                    const struct ddpm_forward_input *given, float *x0,
                                    size_t x0_count)
{
    struct ddpm_forward_input input;
    struct ddpm_path path = {0};
    float *out = NULL;
    DDPM_TRY(ddpm_network_check_use(network, which));
    DDPM_TRY(ddpm_take_options(&input, sizeof input, sizeof input, given, "ddpm_forward_input"));
    DDPM_TRY(ddpm_forward_check_input(network, &input));
    DDPM_REQUIRE(x0);
    DDPM_TRY(ddpm_check_length("x0", x0_count, (double)input.x_count));
    const int64_t channels = network->config.network.channels;
    const int64_t out_channels = ddpm_network_out_channels(network);
    if (out_channels < channels)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "x0: the network has %lld output channels, want those of the pictures, "
                          "%lld",
                          (long long)out_channels, (long long)channels);
    DDPM_TRY(ddpm_objective_check(&network->config.diffusion));
    DDPM_TRY(ddpm_path_create_whole(&network->config.diffusion, &path));
    ddpm_status status =
        ddpm_new_array((void **)&out, input.x_count / (size_t)channels * (size_t)out_channels,
                       sizeof *out, "the network's output");
    if (status == DDPM_OK)
        status = predict(network, which, &path, &input, out, x0);
    free(out);
    ddpm_path_clear(&path);
    return status;
}

ddpm_status ddpm_network_level(const struct ddpm_network *network, double time, double *alpha,
                               double *sigma)
{
    struct ddpm_path path = {0};
    double least, most;
    DDPM_REQUIRE(network);
    DDPM_REQUIRE(alpha);
    DDPM_REQUIRE(sigma);
    ddpm_objective_times(&network->config.diffusion, &least, &most);
    if (!(time >= least && time <= most))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "time: got %.9g, want %.9g to %.9g", time, least,
                          most);
    DDPM_TRY(ddpm_path_create_whole(&network->config.diffusion, &path));
    const struct ddpm_level level = level_at(&path, time);
    *alpha = level.alpha;
    *sigma = level.sigma;
    ddpm_path_clear(&path);
    return DDPM_OK;
}

/* Networks: devices, creation, parameters by name. */
#include <stdio.h>
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "model/model.h"
#include "nets/nets.h"

#define AVERAGES 1 /* the EMA */

ddpm_status ddpm_device_create(const struct ddpm_config *config, struct ddpm_device **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(config);
    DDPM_TRY(ddpm_config_check(config));
    const struct ddpm_run_config *run = &config->run;
    const struct ddpm_device_options options = {.threads = (int)run->threads,
                                                .direct = run->direct};
    return ddpm_device_open(run->device[0] ? run->device : "auto", &options, out);
}

void ddpm_device_destroy(struct ddpm_device **device)
{
    if (device)
        ddpm_device_close(device);
}

/* The activation type in the configuration. */
static enum ddpm_dtype choose_dtype(int precision, const struct ddpm_device *device)
{
    switch (precision) {
    case DDPM_PRECISION_BF16:
        return DDPM_BF16;
    case DDPM_PRECISION_FP32:
        return DDPM_F32;
    default:
        return device->preferred;
    }
}

static ddpm_status describe_parameters(struct ddpm_network *network)
{
    const struct ddpm_parameters *parameters = &network->weights.parameters;
    DDPM_TRY(ddpm_new_array((void **)&network->infos, parameters->count, sizeof *network->infos,
                            "parameter list"));
    for (size_t i = 0; i < parameters->count; ++i) {
        const struct ddpm_parameter *p = &parameters->items[i];
        network->infos[i] = (struct ddpm_parameter_info){
            .name = p->name, .rank = p->rank, .count = ddpm_parameter_count(p)};
        memcpy(network->infos[i].shape, p->shape, sizeof p->shape);
    }
    return DDPM_OK;
}

static ddpm_status declare(struct ddpm_network *network, struct ddpm_device *device)
{
    const struct ddpm_config *config = &network->config;
    DDPM_TRY(ddpm_net_declare(&config->network, &network->weights));
    if (config->diffusion.loss_weight == DDPM_WEIGHT_UNCERTAINTY)
        DDPM_TRY(ddpm_uncertainty_declare(&network->weights));
    DDPM_TRY(describe_parameters(network));
    network->owns_device = !device;
    network->device = device;
    if (!device)
        DDPM_TRY(ddpm_device_create(config, &network->device));
    network->dtype = choose_dtype(config->run.precision, network->device);
    snprintf(network->description, sizeof network->description, "%s, %s",
             network->device->description, ddpm_dtype_name(network->dtype));
    return DDPM_OK;
}

ddpm_status ddpm_network_declare(struct ddpm_device *device, const struct ddpm_config *config,
                                 struct ddpm_network **out)
{
    struct ddpm_network *network;
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(config);
    DDPM_TRY(ddpm_config_check(config));
    DDPM_TRY(DDPM_NEW(&network, "a network"));
    network->config = *config;
    network->weights = DDPM_EMPTY_WEIGHT_SET;
    ddpm_status status = declare(network, device);
    if (status != DDPM_OK)
        ddpm_network_destroy(&network);
    *out = network;
    return status;
}

ddpm_status ddpm_network_allocate_unset(struct ddpm_network *network)
{
    struct ddpm_weight_set *weights = &network->weights;
    const size_t need = (1 + AVERAGES) * ddpm_weight_set_bytes(weights);
    const size_t available = ddpm_device_available(network->device);
    if (available && need > available)
        return ddpm_raise(DDPM_ERROR_MEMORY,
                          "not enough memory to start: %.2f GB of weights, %.2f GB are free",
                          (double)need / 1e9, (double)available / 1e9);
    ddpm_status status = ddpm_weight_set_allocate(weights, network->device, AVERAGES);
    if (status != DDPM_OK)
        ddpm_weight_set_release(weights);
    return status;
}

ddpm_status ddpm_network_allocate(struct ddpm_network *network)
{
    DDPM_REQUIRE(network);
    if (network->weights.device)
        return DDPM_OK;
    DDPM_TRY(ddpm_network_allocate_unset(network));
    ddpm_status status =
        ddpm_weight_set_initialize(&network->weights, network->config.training.seed);
    if (status != DDPM_OK)
        ddpm_weight_set_release(&network->weights);
    return status;
}

static ddpm_status create(struct ddpm_device *device, const struct ddpm_config *config,
                          struct ddpm_network **out)
{
    DDPM_TRY(ddpm_network_declare(device, config, out));
    ddpm_status status = ddpm_network_allocate(*out);
    if (status != DDPM_OK)
        ddpm_network_destroy(out);
    return status;
}

ddpm_status ddpm_network_create(const struct ddpm_config *config, struct ddpm_network **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(config);
    return create(NULL, config, out);
}

ddpm_status ddpm_network_create_on(struct ddpm_device *device, const struct ddpm_config *config,
                                   struct ddpm_network **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(device);
    DDPM_REQUIRE(config);
    return create(device, config, out);
}

void ddpm_network_destroy(struct ddpm_network **network)
{
    struct ddpm_network *n = network ? *network : NULL;
    if (!n)
        return;
    ddpm_forward_plan_clear(&n->forward);
    ddpm_weight_set_clear(&n->weights);
    ddpm_start_free(&n->start);
    if (n->owns_device)
        ddpm_device_close(&n->device);
    free(n->infos);
    free(n);
    *network = NULL;
}

const struct ddpm_config *ddpm_network_config(const struct ddpm_network *network)
{
    return network ? &network->config : NULL;
}

const char *ddpm_network_device(const struct ddpm_network *network)
{
    return network ? network->description : "";
}

size_t ddpm_network_parameter_count(const struct ddpm_network *network)
{
    return network ? network->weights.parameters.count : 0;
}

struct ddpm_parameter_info ddpm_network_parameter(const struct ddpm_network *network, size_t index)
{
    return index < ddpm_network_parameter_count(network) ? network->infos[index]
                                                         : (struct ddpm_parameter_info){0};
}

int64_t ddpm_network_weight_count(const struct ddpm_network *network)
{
    return network ? ddpm_parameters_total(&network->weights.parameters) : 0;
}

int64_t ddpm_network_out_channels(const struct ddpm_network *network)
{
    return ddpm_network_outputs(&network->config.network);
}

ddpm_status ddpm_network_picture_format(const struct ddpm_network *network,
                                        struct ddpm_picture_format *out)
{
    DDPM_REQUIRE(network);
    DDPM_REQUIRE(out);
    const struct ddpm_config *config = &network->config;
    const int64_t height = config->diffusion.image_height, width = config->diffusion.image_width;
    *out = (struct ddpm_picture_format){
        .height = height,
        .width = width,
        .channels = config->network.channels,
        .out_channels = ddpm_network_out_channels(network),
        .type = DDPM_SAMPLE_U8,
        .bytes = (uint64_t)(height * width * config->network.channels),
        .timesteps = config->diffusion.timesteps,
        .multiple = ddpm_network_multiple(&config->network),
    };
    return DDPM_OK;
}

ddpm_status ddpm_check_weights(enum ddpm_weights which)
{
    if (which == DDPM_WEIGHTS_MODEL || which == DDPM_WEIGHTS_EMA)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "got weights %d, want DDPM_WEIGHTS_MODEL or DDPM_WEIGHTS_EMA", (int)which);
}

ddpm_status ddpm_network_check_use(const struct ddpm_network *network, enum ddpm_weights which)
{
    if (!network)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got NULL, want a network");
    if (!network->weights.device)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got a network without weights, want ddpm_network_allocate() first");
    return ddpm_check_weights(which);
}

ddpm_status ddpm_network_get(const struct ddpm_network *network, enum ddpm_weights which,
                             const char *name, float *values, size_t count)
{
    DDPM_TRY(ddpm_network_check_use(network, which));
    DDPM_REQUIRE(name);
    DDPM_REQUIRE(values);
    return ddpm_weight_set_read(&network->weights, network->weights.slabs[which], name, values,
                                count);
}

ddpm_status ddpm_network_set(struct ddpm_network *network, enum ddpm_weights which,
                             const char *name, const float *values, size_t count)
{
    DDPM_TRY(ddpm_network_check_use(network, which));
    DDPM_REQUIRE(name);
    DDPM_REQUIRE(values);
    return ddpm_weight_set_write(&network->weights, network->weights.slabs[which], name, values,
                                 count);
}

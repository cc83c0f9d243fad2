/* struct ddpm_data: the configured picture source. */
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "core/threads.h"
#include "training/trainer_state.h"

ddpm_status ddpm_data_open(const struct ddpm_config *config, struct ddpm_data **out)
{
    struct ddpm_data *data;
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(config);
    if (!config->data.data[0])
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "no pictures given: want a folder or a packed .npy file as data");
    DDPM_TRY(DDPM_NEW(&data, "a data source"));
    data->config = *config;
    struct ddpm_source_options options = {
        .channels = (int)config->network.channels,
        .height = (int)config->diffusion.image_height,
        .width = (int)config->diffusion.image_width,
        .crop = (enum ddpm_crop)config->data.crop,
        .threads = ddpm_processor_count(),
        .cache_bytes = DDPM_SOURCE_CACHE_BYTES,
    };
    ddpm_status status = ddpm_source_open(&data->source, config->data.data, &options);
    if (status != DDPM_OK)
        ddpm_data_close(&data);
    *out = data;
    return status;
}

void ddpm_data_close(struct ddpm_data **data)
{
    if (!data || !*data)
        return;
    ddpm_source_close(&(*data)->source);
    free(*data);
    *data = NULL;
}

int64_t ddpm_data_count(const struct ddpm_data *data)
{
    return data ? ddpm_source_count(data->source) : 0;
}

int64_t ddpm_data_skipped(const struct ddpm_data *data)
{
    return data ? ddpm_source_count_kinds(data->source).bad : 0;
}

uint64_t ddpm_data_fingerprint(const struct ddpm_data *data)
{
    return data ? ddpm_source_fingerprint(data->source) : 0;
}

/* struct ddpm_data: the configured picture source. */
#include <math.h>
#include <stdlib.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "core/processors.h"
#include "training/trainer_state.h"

ddpm_status ddpm_data_check_rotation(const struct ddpm_config *config)
{
    const struct ddpm_diffusion_config *diffusion = &config->diffusion;
    if (!config->data.rotate || diffusion->image_height == diffusion->image_width)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option rotate: got on with pictures of %lldx%lld, want square ones",
                      (long long)diffusion->image_height, (long long)diffusion->image_width);
}

/* Make the data of `array`, or with NULL of the path that is configured. */
static ddpm_status open_data(const struct ddpm_config *config,
                             const struct ddpm_picture_array *array, struct ddpm_data **out)
{
    const struct ddpm_diffusion_config *diffusion = &config->diffusion;
    struct ddpm_data *data;
    DDPM_TRY(ddpm_data_check_rotation(config));
    DDPM_TRY(DDPM_NEW(&data, "a data source"));
    struct ddpm_source_options options = {
        .channels = (int)config->network.channels,
        .height = (int)diffusion->image_height,
        .width = (int)diffusion->image_width,
        .crop = (enum ddpm_crop)config->data.crop,
        .threads = ddpm_processor_count(),
        .cache_bytes = DDPM_SOURCE_CACHE_BYTES,
    };
    ddpm_status status = array ? ddpm_source_open_array(&data->source, array, &options)
                               : ddpm_source_open(&data->source, config->data.data, &options);
    if (status != DDPM_OK)
        ddpm_data_close(&data);
    *out = data;
    return status;
}

ddpm_status ddpm_data_open(const struct ddpm_config *config, struct ddpm_data **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(config);
    if (!config->data.data[0])
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "no pictures given: option data wants a folder or a packed .npy file");
    return open_data(config, NULL, out);
}

ddpm_status ddpm_data_open_array(const struct ddpm_config *config, const uint8_t *pictures,
                                 int64_t count, int64_t height, int64_t width, size_t bytes,
                                 struct ddpm_data **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(config);
    DDPM_REQUIRE(pictures);
    if (config->data.data[0])
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option data: got %s as well as an array, want only one of the two",
                          config->data.data);
    if (count < 1 || height < 1 || width < 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got an array of %lld pictures of %lldx%lld, want at least 1 of 1x1",
                          (long long)count, (long long)height, (long long)width);
    DDPM_TRY(ddpm_check_length("an array of pictures", bytes,
                               (double)count * (double)height * (double)width *
                                   (double)config->network.channels));
    const struct ddpm_picture_array array = {pictures, count, height, width, bytes};
    return open_data(config, &array, out);
}

void ddpm_data_close(struct ddpm_data **data)
{
    if (!data || !*data)
        return;
    ddpm_aside_free(&(*data)->aside);
    ddpm_source_close(&(*data)->source);
    free(*data);
    *data = NULL;
}

struct ddpm_source *ddpm_data_trained_on(const struct ddpm_data *data)
{
    return data->aside && data->aside->part ? data->aside->part : data->source;
}

enum { MOST_MEASURED = 10000 };

/* Standard deviation of the pixel values of evenly chosen pictures, scaled to [-1,1]. The sums
 * are integers, so every machine gets the same result. */
static ddpm_status measure(struct ddpm_source *source, struct ddpm_source_reader *reader,
                           uint8_t *picture, int64_t bytes, double *deviation)
{
    const int64_t count = ddpm_source_count(source);
    const int64_t taken = count < MOST_MEASURED ? count : MOST_MEASURED;
    uint64_t sum = 0, squares = 0;
    for (int64_t i = 0; i < taken; ++i) {
        const struct ddpm_random4 random = ddpm_philox(0, 0, (uint32_t)i, 0, DDPM_STREAM_AUGMENT);
        DDPM_TRY(ddpm_source_read(reader, i * count / taken, &random, picture, NULL));
        for (int64_t k = 0; k < bytes; ++k) {
            sum += picture[k];
            squares += (uint64_t)picture[k] * picture[k];
        }
    }
    const double values = (double)taken * (double)bytes, mean = (double)sum / values;
    *deviation = sqrt((double)squares / values - mean * mean) / 127.5;
    return DDPM_OK;
}

ddpm_status ddpm_data_measure(const struct ddpm_data *data, struct ddpm_config *config)
{
    struct ddpm_source_reader *reader;
    uint8_t *picture = NULL;
    double deviation = 0;
    DDPM_REQUIRE(data);
    DDPM_REQUIRE(config);
    if (config->diffusion.objective != DDPM_OBJECTIVE_EDM || config->diffusion.sigma_data > 0)
        return DDPM_OK;
    const struct ddpm_source_options *wanted = ddpm_source_wanted(data->source);
    const int64_t bytes = (int64_t)wanted->channels * wanted->height * wanted->width;
    struct ddpm_source *source = ddpm_data_trained_on(data);
    DDPM_TRY(ddpm_source_reader_create(&reader, source));
    ddpm_status status = ddpm_new_array((void **)&picture, (size_t)bytes, 1, "a picture");
    if (status == DDPM_OK)
        status = measure(source, reader, picture, bytes, &deviation);
    free(picture);
    ddpm_source_reader_destroy(&reader);
    DDPM_TRY(status);
    if (!(deviation > 0))
        return ddpm_raise(
            DDPM_ERROR_FORMAT,
            "all pictures have the same single colour, so there is no deviation to measure; want "
            "pictures that differ, or option sigma-data");
    config->diffusion.sigma_data = deviation;
    return DDPM_OK;
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

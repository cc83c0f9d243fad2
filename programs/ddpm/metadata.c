/* The metadata of a drawn picture. */
#include "metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_json.h"
#include "config/validation.h"
#include "core/text.h"

enum { PICTURE = 1, PICTURES = 2 }; /* indices of these texts */

static void add(struct ddpm_metadata *metadata, const char *key, const char *value)
{
    metadata->texts[metadata->count++] = (struct ddpm_png_text){key, value};
}

static void add_integer(struct ddpm_metadata *metadata, const char *key, int64_t value)
{
    char *text = metadata->values[metadata->count];
    snprintf(text, sizeof metadata->values[0], "%" PRId64, value);
    add(metadata, key, text);
}

static void add_any_number(struct ddpm_metadata *metadata, const char *key, double value)
{
    char *text = metadata->values[metadata->count];
    ddpm_print(text, sizeof metadata->values[0], "%.17g", value);
    add(metadata, key, text);
}

static void add_number(struct ddpm_metadata *metadata, const char *key, double value)
{
    if (value != 0)
        add_any_number(metadata, key, value);
}

/* What the chain starts from, unless that is noise. */
static void add_beginning(struct ddpm_metadata *metadata,
                          const struct ddpm_sampler_options *options)
{
    if (options->from || options->invert)
        add(metadata, "ddpm:from", "given");
    if (options->invert)
        add(metadata, "ddpm:inverted", "yes");
    if (options->from)
        add_any_number(metadata, "ddpm:strength", options->strength);
    if (!options->mask)
        return;
    add(metadata, "ddpm:mask", "given");
    add_integer(metadata, "ddpm:resample", options->resample);
    add_integer(metadata, "ddpm:jump", options->jump);
}

/* The chain, with those sampler-specific options that are set. */
static void add_sampler(struct ddpm_metadata *metadata, const struct ddpm_sampler_options *options)
{
    add(metadata, "ddpm:sampler", options->sampler);
    add_integer(metadata, "ddpm:sampling-steps", options->steps);
    add(metadata, "ddpm:spacing", options->spacing);
    if (options->start && strcmp(options->start, "fitted") == 0)
        add(metadata, "ddpm:start", "fitted");
    add_number(metadata, "ddpm:eta", options->eta);
    add_number(metadata, "ddpm:solver-order", options->order);
    add_number(metadata, "ddpm:churn", options->churn);
    if (options->churn != 0) {
        add_number(metadata, "ddpm:churn-min", options->churn_min);
        add_number(metadata, "ddpm:churn-max", options->churn_max);
        add_number(metadata, "ddpm:churn-noise", options->churn_noise);
    }
    if (options->threshold != 0)
        add_number(metadata, "ddpm:threshold", options->threshold);
    add_beginning(metadata, options);
}

/* The paths of pictures are private. */
static ddpm_status leave_out_paths(struct ddpm_config *config)
{
    struct ddpm_validation_choice choice;
    DDPM_TRY(ddpm_config_set(config, "data", ""));
    DDPM_TRY(ddpm_validation_parse(config->data.validation, &choice));
    return choice.kind == DDPM_VALIDATION_PICTURES ? ddpm_config_set(config, "validation", "auto")
                                                   : DDPM_OK;
}

/* Leaves out paths, and the number of threads, which changes nothing. */
static ddpm_status config_text(const struct ddpm_network *network, char **out)
{
    struct ddpm_config *config;
    DDPM_TRY(ddpm_config_copy(ddpm_network_config(network), &config));
    ddpm_status status = leave_out_paths(config);
    if (status == DDPM_OK)
        status = ddpm_config_set(config, "threads", "0");
    if (status == DDPM_OK)
        status = ddpm_config_to_text(config, out);
    ddpm_config_destroy(&config);
    return status;
}

ddpm_status ddpm_metadata_fill(struct ddpm_metadata *metadata,
                               const struct ddpm_opened_model *model, const char *path,
                               const struct ddpm_sampler *sampler, uint64_t seed, const char *init)
{
    const struct ddpm_sampler_options *options = ddpm_sampler_in_force(sampler);
    *metadata = (struct ddpm_metadata){0};
    add(metadata, "Software", "ddpm.c " DDPM_VERSION);
    add_integer(metadata, "ddpm:picture", 0);
    add_integer(metadata, "ddpm:pictures", 1);
    add_integer(metadata, "ddpm:seed", (int64_t)seed);
    add(metadata, "ddpm:model", path);
    if (model->step >= 0)
        add_integer(metadata, "ddpm:step", model->step);
    add(metadata, "ddpm:weights", model->which == DDPM_WEIGHTS_EMA ? "ema" : "model");
    if (init)
        add(metadata, "ddpm:init", init);
    add_sampler(metadata, options);
    add(metadata, "ddpm:clip", options->clip ? "on" : "off");
    snprintf(metadata->values[metadata->count], sizeof metadata->values[0], "%" PRId64 "x%" PRId64,
             options->height, options->width);
    add(metadata, "ddpm:image-size", metadata->values[metadata->count]);
    DDPM_TRY(config_text(model->network, &metadata->config));
    add(metadata, "ddpm:config", metadata->config);
    return DDPM_OK;
}

void ddpm_metadata_set_picture(struct ddpm_metadata *metadata, int64_t picture, int64_t count)
{
    snprintf(metadata->values[PICTURE], sizeof metadata->values[0], "%" PRId64, picture);
    snprintf(metadata->values[PICTURES], sizeof metadata->values[0], "%" PRId64, count);
}

void ddpm_metadata_clear(struct ddpm_metadata *metadata)
{
    free(metadata->config);
    metadata->config = NULL;
}

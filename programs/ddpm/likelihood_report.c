/* A likelihood, for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config.h"
#include "evaluate_likelihood.h"
#include "formats/json.h"
#include "streams.h"

const char *ddpm_likelihood_text(const struct ddpm_likelihood_report *report,
                                 char text[DDPM_LIKELIHOOD_TEXT_BYTES])
{
    const struct ddpm_likelihood_options *o = report->options;
    if (o->method == DDPM_LIKELIHOOD_BOUND)
        snprintf(text, DDPM_LIKELIHOOD_TEXT_BYTES,
                 "the variational bound at %" PRId64 " of %" PRId64 " timesteps", o->levels,
                 report->config->diffusion.timesteps);
    else
        snprintf(text, DDPM_LIKELIHOOD_TEXT_BYTES,
                 "the probability flow, %" PRId64 " steps, %" PRId64 " probe%s", o->steps,
                 o->probes, o->probes == 1 ? "" : "s");
    return text;
}

static void print_mean(const char *before, const struct ddpm_likelihood_mean *mean,
                       const char *after)
{
    printf("%s%10.4f ± %-8.4f%s\n", before, mean->bits, mean->error, after);
}

static void print_bands(const struct ddpm_likelihood_result *result)
{
    printf("\nt             bits per dimension\n");
    for (size_t k = 0; k < result->band_count; ++k) {
        const struct ddpm_likelihood_level *band = &result->bands[k];
        char range[48];
        if (band->first == band->last)
            snprintf(range, sizeof range, "%" PRId64, band->first);
        else
            snprintf(range, sizeof range, "%" PRId64 " to %" PRId64, band->first, band->last);
        printf("%-13s", range);
        print_mean("", &band->mean, k == 0 ? "the picture itself, given the cleanest level" : "");
    }
    print_mean("prior        ", &result->prior, "what the noisiest level still reveals");
}

void ddpm_likelihood_print(const struct ddpm_likelihood_report *report)
{
    const struct ddpm_likelihood_result *result = report->result;
    char text[DDPM_LIKELIHOOD_TEXT_BYTES];
    printf("real         %" PRId64 " pictures of %" PRId64 "x%" PRId64, result->pictures,
           report->options->height, report->options->width);
    ddpm_print_text(": ", report->path, "\n");
    printf("measured by  %s%s\n", ddpm_likelihood_text(report, text),
           result->method == DDPM_LIKELIHOOD_FLOW     ? ""
           : report->config->network.learned_variance ? ", learned variance"
                                                      : ", fixed variance");
    print_mean("likelihood   ", &result->total,
               result->method == DDPM_LIKELIHOOD_BOUND ? "bits per dimension, an upper bound"
                                                       : "bits per dimension");
    if (result->band_count > 0)
        print_bands(result);
}

static ddpm_status put_mean(json_t *object, const char *key, const struct ddpm_likelihood_mean *m)
{
    return ddpm_json_put(object, key, json_pack("{s:f, s:f}", "value", m->bits, "error", m->error));
}

/* Adds `value` to the list, whatever it is. */
static ddpm_status append(json_t *list, json_t *value)
{
    return value && json_array_append_new(list, value) == 0 ? DDPM_OK
                                                            : ddpm_raise_memory(64, "JSON values");
}

static ddpm_status put_levels(json_t *object, const struct ddpm_likelihood_result *result)
{
    json_t *list = json_array();
    DDPM_TRY(ddpm_json_put(object, "levels", list));
    for (size_t k = 0; k < result->level_count; ++k) {
        const struct ddpm_likelihood_level *level = &result->levels[k];
        DDPM_TRY(append(list, json_pack("{s:I, s:I, s:f, s:f}", "first", (json_int_t)level->first,
                                        "last", (json_int_t)level->last, "value", level->mean.bits,
                                        "error", level->mean.error)));
    }
    return DDPM_OK;
}

static ddpm_status put_pictures(json_t *object, const struct ddpm_likelihood_result *result)
{
    json_t *list = json_array();
    DDPM_TRY(ddpm_json_put(object, "of_pictures", list));
    for (int64_t k = 0; k < result->pictures; ++k)
        DDPM_TRY(append(list, json_real(result->of_pictures[k])));
    return DDPM_OK;
}

static ddpm_status fill_json(const struct ddpm_likelihood_report *report, json_t *object)
{
    const struct ddpm_likelihood_result *result = report->result;
    const struct ddpm_likelihood_options *o = report->options;
    const bool bound = result->method == DDPM_LIKELIHOOD_BOUND;
    DDPM_TRY(ddpm_json_put(object, "real", json_integer(result->pictures)));
    DDPM_TRY(ddpm_json_put(object, "method", json_string(bound ? "bound" : "flow")));
    DDPM_TRY(ddpm_json_put(object, "evaluations", json_integer(result->evaluations)));
    DDPM_TRY(put_mean(object, "bits_per_dimension", &result->total));
    if (!bound) {
        DDPM_TRY(ddpm_json_put(object, "steps", json_integer(o->steps)));
        DDPM_TRY(ddpm_json_put(object, "probes", json_integer(o->probes)));
        return put_pictures(object, result);
    }
    DDPM_TRY(
        ddpm_json_put(object, "variance",
                      json_string(report->config->network.learned_variance ? "learned" : "fixed")));
    DDPM_TRY(put_mean(object, "prior", &result->prior));
    DDPM_TRY(put_levels(object, result));
    return put_pictures(object, result);
}

ddpm_status ddpm_likelihood_print_json(const struct ddpm_likelihood_report *report)
{
    json_t *object = json_object();
    ddpm_status status = object ? fill_json(report, object) : ddpm_raise_memory(64, "JSON values");
    if (status == DDPM_OK)
        status = ddpm_print_json(object);
    json_decref(object);
    return status;
}

/* Values on the command line: integers, numbers, sizes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "core/processors.h"
#include "core/text.h"
#include "options.h"

/* "--count", or "-n (--count)" if it was typed like that. */
enum { TYPED_BYTES = 80 };
static const char *typed_name(const struct ddpm_arguments *arguments, const char *name,
                              char text[TYPED_BYTES])
{
    const struct ddpm_verb *verb = arguments->verb;
    snprintf(text, TYPED_BYTES, "--%s", name);
    for (size_t i = 0; i < verb->option_count; ++i)
        if (strcmp(verb->options[i].name, name) == 0 && arguments->by_letter[i])
            snprintf(text, TYPED_BYTES, "-%c (--%s)", verb->options[i].letter, name);
    return text;
}

ddpm_status ddpm_arguments_integer(const struct ddpm_arguments *arguments, const char *name,
                                   int64_t least, int64_t most, int64_t fallback, int64_t *out)
{
    const char *text = ddpm_arguments_get(arguments, name);
    char typed[TYPED_BYTES];
    *out = fallback;
    if (!text)
        return DDPM_OK;
    const char *digits = text + (*text == '-');
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (!*digits || digits[strspn(digits, "0123456789")] || errno || value < least || value > most)
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT, "option %s: got \"%.80s\", want an integer in [%lld, %lld]",
            typed_name(arguments, name, typed), text, (long long)least, (long long)most);
    *out = value;
    return DDPM_OK;
}

ddpm_status ddpm_arguments_number(const struct ddpm_arguments *arguments, const char *name,
                                  double least, double most, double fallback, double *out)
{
    const char *text = ddpm_arguments_get(arguments, name);
    char *end, typed[TYPED_BYTES];
    *out = fallback;
    if (!text)
        return DDPM_OK;
    const double value = ddpm_parse_double(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option %s: got \"%.80s\", want a number in [%g, %g]",
                          typed_name(arguments, name, typed), text, least, most);
    *out = value;
    return DDPM_OK;
}

/* "64" or "96x128", with at most nine digits per side. */
static bool read_size(const char *text, int *height, int *width)
{
    const size_t first = strspn(text, "0123456789");
    *height = *width = (int)strtol(text, NULL, 10);
    if (first < 1 || first > 9)
        return false;
    if (text[first] != 'x')
        return text[first] == 0;
    const char *second = text + first + 1;
    const size_t digits = strspn(second, "0123456789");
    *width = (int)strtol(second, NULL, 10);
    return digits >= 1 && digits <= 9 && second[digits] == 0;
}

ddpm_status ddpm_arguments_size(const struct ddpm_arguments *arguments, const char *name, int least,
                                int most, int *height, int *width)
{
    const char *text = ddpm_arguments_get(arguments, name);
    char typed[TYPED_BYTES];
    if (!text)
        return DDPM_OK;
    if (read_size(text, height, width) && *height >= least && *width >= least && *height <= most &&
        *width <= most)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "option %s: got \"%.80s\", want N or HxW with sides in [%d, %d]",
                      typed_name(arguments, name, typed), text, least, most);
}

ddpm_status ddpm_arguments_probe(const struct ddpm_arguments *arguments, struct ddpm_probe *out)
{
    struct ddpm_config *config;
    *out = (struct ddpm_probe){0};
    DDPM_TRY(ddpm_config_create(&config));
    const ddpm_status status = ddpm_arguments_apply(arguments, NULL, config);
    out->seed = config->training.seed;
    out->threads = config->run.threads > 0 ? (int)config->run.threads : ddpm_processor_count();
    out->channels = (int)config->network.channels;
    if (ddpm_arguments_has_setting(arguments, "image-size")) {
        out->height = (int)config->diffusion.image_height;
        out->width = (int)config->diffusion.image_width;
    }
    ddpm_config_destroy(&config);
    return status;
}

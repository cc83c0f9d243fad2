/* Options from text and back: a pair of functions per type. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/nearest.h"
#include "config/option.h"
#include "core/text.h"

enum { WANT_BYTES = 256, SHOWN_BYTES = 80 };

static bool in_range(const struct ddpm_range *range, double value)
{
    bool above = range->open & DDPM_OPEN_LEAST ? value > range->least : value >= range->least;
    bool below = range->open & DDPM_OPEN_MOST ? value < range->most : value <= range->most;
    return above && below; /* false for NaN */
}

static void describe_choices(const char *const *choices, char *want, size_t bytes)
{
    size_t used = 0;
    want[0] = 0;
    for (size_t i = 0; choices[i] && used < bytes; ++i) {
        const char *before = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        used += (size_t)snprintf(want + used, bytes - used, "%s%s", before, choices[i]);
    }
}

/* "an integer in [4, 4096]", for error messages. */
static void describe(const struct ddpm_option *option, char *want, size_t bytes)
{
    const struct ddpm_range *range = &option->range;
    char bounds[80];
    ddpm_print(bounds, sizeof bounds, "%c%.16g, %.16g%c", range->open & DDPM_OPEN_LEAST ? '(' : '[',
               range->least, range->most, range->open & DDPM_OPEN_MOST ? ')' : ']');
    switch (option->type) {
    case DDPM_OPTION_INTEGER:
        snprintf(want, bytes, "an integer in %s", bounds);
        break;
    case DDPM_OPTION_NUMBER:
        snprintf(want, bytes, "a number in %s", bounds);
        break;
    case DDPM_OPTION_SWITCH:
    case DDPM_OPTION_CHOICE:
        describe_choices(option->choices, want, bytes);
        break;
    case DDPM_OPTION_LIST:
        snprintf(want, bytes, "1 to %d integers in %s with commas between them", DDPM_MAX_LEVELS,
                 bounds);
        break;
    case DDPM_OPTION_SIZE:
        snprintf(want, bytes, "a size such as 128, or height x width such as 96x128, sides in %s",
                 bounds);
        break;
    case DDPM_OPTION_TEXT:
        snprintf(want, bytes, "a text of at most %zu bytes", option->capacity - 1);
        break;
    }
}

static ddpm_status raise_refusal(const struct ddpm_option *option, const char *got,
                                 const char *nearest)
{
    char want[WANT_BYTES];
    describe(option, want, sizeof want);
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "option %s: got %s, want %s%s", option->name, got, want,
                      nearest);
}

ddpm_status ddpm_option_refuse(const struct ddpm_option *option, const char *got)
{
    return raise_refusal(option, got, "");
}

static ddpm_status refuse(const struct ddpm_option *option, const char *text)
{
    char got[SHOWN_BYTES + 8];
    snprintf(got, sizeof got, "\"%.*s%s\"", SHOWN_BYTES, text,
             strlen(text) > SHOWN_BYTES ? "…" : "");
    char known[DDPM_NEAREST_BYTES];
    struct ddpm_nearest nearest = {.wanted = text};
    for (int i = 0; option->type == DDPM_OPTION_CHOICE && option->choices[i]; ++i) {
        ddpm_nearest_offer(&nearest, option->choices[i]);
        if (option->aliases && option->aliases[i])
            ddpm_nearest_offer(&nearest, option->aliases[i]);
    }
    return raise_refusal(option, got, ddpm_nearest_text(&nearest, "", known));
}

/* Digits with an optional '-', up to one of `stops` or the end. */
static bool parse_integer(const char **text, const char *stops, const struct ddpm_range *range,
                          int64_t *out)
{
    const char *digits = *text + (**text == '-');
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || (digits[length] && !strchr(stops, digits[length])))
        return false;
    errno = 0;
    long long value = strtoll(*text, NULL, 10);
    if (errno || !in_range(range, (double)value))
        return false;
    *text = digits + length;
    *out = value;
    return true;
}

static bool parse_number(const char *text, const struct ddpm_range *range, double *out)
{
    if (!*text || text[strspn(text, "0123456789+-.eE")])
        return false;
    char *end;
    double value = ddpm_parse_double(text, &end);
    if (*end || !isfinite(value) || !in_range(range, value))
        return false;
    *out = value;
    return true;
}

static bool parse_choice(const char *text, const struct ddpm_option *option, int *out)
{
    for (int i = 0; option->choices[i]; ++i) {
        const char *alias = option->aliases ? option->aliases[i] : NULL;
        if (strcmp(text, option->choices[i]) == 0 || (alias && strcmp(text, alias) == 0)) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool parse_list(const char *text, const struct ddpm_range *range,
                       int64_t values[DDPM_MAX_LEVELS], int *count)
{
    *count = 0;
    for (;;) {
        if (*count == DDPM_MAX_LEVELS || !parse_integer(&text, ",", range, &values[*count]))
            return false;
        ++*count;
        if (!*text)
            return true;
        ++text;
    }
}

static bool parse_size(const char *text, const struct ddpm_range *range, int64_t *height,
                       int64_t *width)
{
    if (!parse_integer(&text, "x", range, height))
        return false;
    *width = *height;
    if (!*text)
        return true;
    ++text;
    return parse_integer(&text, "", range, width);
}

ddpm_status ddpm_option_parse(const struct ddpm_option *option, const char *text,
                              struct ddpm_config *config)
{
    char *field = (char *)config + option->offset;
    char *second = (char *)config + option->second_offset;
    int64_t integers[DDPM_MAX_LEVELS] = {0};
    double number;
    int count;
    switch (option->type) {
    case DDPM_OPTION_INTEGER: {
        const char *rest = text;
        if (!parse_integer(&rest, "", &option->range, integers))
            return refuse(option, text);
        memcpy(field, integers, sizeof *integers);
        return DDPM_OK;
    }
    case DDPM_OPTION_NUMBER:
        if (!parse_number(text, &option->range, &number))
            return refuse(option, text);
        memcpy(field, &number, sizeof number);
        return DDPM_OK;
    case DDPM_OPTION_SWITCH:
        if (!parse_choice(text, option, &count))
            return refuse(option, text);
        *(bool *)field = count != 0;
        return DDPM_OK;
    case DDPM_OPTION_CHOICE:
        if (!parse_choice(text, option, &count))
            return refuse(option, text);
        memcpy(field, &count, sizeof count);
        return DDPM_OK;
    case DDPM_OPTION_LIST:
        if (!parse_list(text, &option->range, integers, &count))
            return refuse(option, text);
        memcpy(field, integers, sizeof integers);
        memcpy(second, &count, sizeof count);
        return DDPM_OK;
    case DDPM_OPTION_SIZE:
        if (!parse_size(text, &option->range, &integers[0], &integers[1]))
            return refuse(option, text);
        memcpy(field, &integers[0], sizeof *integers);
        memcpy(second, &integers[1], sizeof *integers);
        return DDPM_OK;
    case DDPM_OPTION_TEXT:
        if (strlen(text) >= option->capacity)
            return refuse(option, text);
        memset(field, 0, option->capacity);
        memcpy(field, text, strlen(text));
        return DDPM_OK;
    }
    return refuse(option, text);
}

/* The shortest of 15, 16 and 17 digits that gives the same double. */
static int format_number(double number, char *buffer, size_t bytes)
{
    char text[64];
    for (int digits = 15; digits <= 17; ++digits) {
        ddpm_print(text, sizeof text, "%.*g", digits, number);
        if (ddpm_parse_double(text, NULL) == number)
            break;
    }
    return snprintf(buffer, bytes, "%s", text);
}

static int format_list(const int64_t *values, int count, char *buffer, size_t bytes)
{
    size_t used = 0;
    for (int i = 0; i < count && used < bytes; ++i)
        used += (size_t)snprintf(buffer + used, bytes - used, "%s%lld", i ? "," : "",
                                 (long long)values[i]);
    return (int)used;
}

static int format_field(const struct ddpm_option *option, const struct ddpm_config *config,
                        char *buffer, size_t bytes)
{
    const char *field = (const char *)config + option->offset;
    const char *second = (const char *)config + option->second_offset;
    int64_t integers[DDPM_MAX_LEVELS];
    double number;
    int count;
    switch (option->type) {
    case DDPM_OPTION_INTEGER:
        memcpy(integers, field, sizeof *integers);
        return snprintf(buffer, bytes, "%lld", (long long)integers[0]);
    case DDPM_OPTION_NUMBER:
        memcpy(&number, field, sizeof number);
        return format_number(number, buffer, bytes);
    case DDPM_OPTION_SWITCH:
        return snprintf(buffer, bytes, "%s", option->choices[*(const bool *)field]);
    case DDPM_OPTION_CHOICE:
        memcpy(&count, field, sizeof count);
        return snprintf(buffer, bytes, "%s", option->choices[count]);
    case DDPM_OPTION_LIST:
        memcpy(integers, field, sizeof integers);
        memcpy(&count, second, sizeof count);
        return format_list(integers, count, buffer, bytes);
    case DDPM_OPTION_SIZE:
        memcpy(&integers[0], field, sizeof *integers);
        memcpy(&integers[1], second, sizeof *integers);
        if (integers[0] == integers[1])
            return snprintf(buffer, bytes, "%lld", (long long)integers[0]);
        return snprintf(buffer, bytes, "%lldx%lld", (long long)integers[0], (long long)integers[1]);
    case DDPM_OPTION_TEXT:
        return snprintf(buffer, bytes, "%s", field);
    }
    return -1;
}

ddpm_status ddpm_option_format(const struct ddpm_option *option, const struct ddpm_config *config,
                               char *buffer, size_t bytes)
{
    int used = format_field(option, config, buffer, bytes);
    if (used < 0 || (size_t)used >= bytes)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option %s: got a buffer of %zu bytes, want %d",
                          option->name, bytes, used + 1);
    return DDPM_OK;
}

bool ddpm_option_equal(const struct ddpm_option *option, const struct ddpm_config *a,
                       const struct ddpm_config *b)
{
    char a_text[DDPM_OPTION_BYTES], b_text[DDPM_OPTION_BYTES];
    format_field(option, a, a_text, sizeof a_text);
    format_field(option, b, b_text, sizeof b_text);
    return strcmp(a_text, b_text) == 0;
}

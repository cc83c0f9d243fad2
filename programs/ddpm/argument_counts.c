/* How many arguments a verb got, and whether its required options are given. */
#include "argument_counts.h"

#include <string.h>

/* People write `train --resume RUN` for `train --resume --out RUN`; accept both. */
static void take_as_out(struct ddpm_arguments *arguments, int *given)
{
    const struct ddpm_verb *verb = arguments->verb;
    if (*given != 1 || !verb->argument_flag || !ddpm_arguments_get(arguments, verb->argument_flag))
        return;
    for (size_t i = 0; i < verb->option_count; ++i)
        if (strcmp(verb->options[i].name, "out") == 0 && !arguments->values[i]) {
            arguments->values[i] = arguments->arguments[0];
            arguments->arguments[0] = NULL;
            *given = 0;
        }
}

static ddpm_status raise_counts(const struct ddpm_arguments *arguments, int given)
{
    const struct ddpm_verb *verb = arguments->verb;
    const int want = verb->argument_count;
    const char *s = given == 1 ? "" : "s";
    if (given <= want)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %d argument%s, want %d: %s", given, s, want,
                          verb->arguments);
    const char *extra = want < DDPM_MOST_ARGUMENTS ? arguments->arguments[want] : "";
    if (verb->argument_flag)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got %d argument%s, want %d: the first extra one is \"%.200s\"; start a "
                          "run with %s--out RUN, continue it with --%s RUN",
                          given, s, want, extra, want ? "" : "--data DIR ", verb->argument_flag);
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "got %d argument%s, want %d%s%s: the first extra one is \"%.200s\"", given, s,
                      want, *verb->arguments ? ", " : "", verb->arguments, extra);
}

ddpm_status ddpm_arguments_check_counts(struct ddpm_arguments *arguments, int given)
{
    const struct ddpm_verb *verb = arguments->verb;
    take_as_out(arguments, &given);
    const bool flagged = verb->argument_flag && ddpm_arguments_get(arguments, verb->argument_flag);
    if (given != verb->argument_count && !(flagged && given == 0))
        return raise_counts(arguments, given);
    for (size_t i = 0; i < verb->option_count; ++i) {
        const struct ddpm_verb_option *option = &verb->options[i];
        if (!option->required || arguments->values[i])
            continue;
        if (flagged && strcmp(option->name, "out") == 0)
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --%s: got no run, want --%s %s",
                              verb->argument_flag, verb->argument_flag, option->placeholder);
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --%s %s is missing", option->name,
                          option->placeholder);
    }
    return DDPM_OK;
}

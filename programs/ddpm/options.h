/* The command line after the verb: GNU long options, from the library's option table and the verb's
 * own options.
 *
 *     --name value   --name=value   -n 16   -n16   --flag   --   arguments in any place */
#ifndef DDPM_PROGRAM_OPTIONS_H
#define DDPM_PROGRAM_OPTIONS_H

#include "program.h"

#define DDPM_MOST_ARGUMENTS 4
#define DDPM_MOST_VERB_OPTIONS 24

/* An option of the library, given on the command line. */
struct ddpm_setting {
    const char *name, *value;
};

/* A parsed command line; all strings are borrowed from argv. */
struct ddpm_arguments {
    const struct ddpm_verb *verb;
    const char *values[DDPM_MOST_VERB_OPTIONS]; /* one per option of the verb; NULL: not given */
    bool by_letter[DDPM_MOST_VERB_OPTIONS];     /* was the option given as -n, not as --count? */
    struct ddpm_setting *settings;              /* in the order given */
    size_t setting_count;
    const char *arguments[DDPM_MOST_ARGUMENTS];
    bool help;           /* --help or --help-all was given, and nothing else was checked */
    bool help_all;       /* it was --help-all */
    bool quiet, verbose; /* at most one */
    char seed[24];       /* the seed drawn for `--seed random` */
};

/* Parse what follows the verb. DDPM_ERROR_ARGUMENT for an unknown option (naming the nearest), a
 * missing or unexpected value, and too few or too many arguments. Free the settings with
 * ddpm_arguments_clear(), even after failures. */
ddpm_status ddpm_arguments_parse(const struct ddpm_verb *verb, int count, char *const *words,
                                 struct ddpm_arguments *out);
void ddpm_arguments_clear(struct ddpm_arguments *arguments);

/* The value of one of the verb's own options: "" for a flag, NULL if it was not given. */
const char *ddpm_arguments_get(const struct ddpm_arguments *arguments, const char *name);

/* The same as an integer in [least, most]; `fallback` if it was not given. */
ddpm_status ddpm_arguments_integer(const struct ddpm_arguments *arguments, const char *name,
                                   int64_t least, int64_t most, int64_t fallback, int64_t *out);

/* The same as a number in [least, most]. */
ddpm_status ddpm_arguments_number(const struct ddpm_arguments *arguments, const char *name,
                                  double least, double most, double fallback, double *out);

/* The same as a size N or HxW, with sides in [least, most]; unchanged if it was not given. */
ddpm_status ddpm_arguments_size(const struct ddpm_arguments *arguments, const char *name, int least,
                                int most, int *height, int *width);

/* Was that option of the library given? */
bool ddpm_arguments_has_setting(const struct ddpm_arguments *arguments, const char *name);

/* Apply the library's options to `config`; with a `group`, only options of that group. Naming a
 * sampler first resets the other drawing options of `config`, which were meant for another
 * sampler. */
ddpm_status ddpm_arguments_apply(const struct ddpm_arguments *arguments, const char *group,
                                 struct ddpm_config *config);

/* Apply all of them to the `config` of a run that is resumed and was trained with the options
 * `own`. If they name the run's own recipe, the options that recipes set keep the run's values: the
 * recipe may have changed since, and other options may have replaced its values. */
ddpm_status ddpm_arguments_apply_to_run(const struct ddpm_arguments *arguments,
                                        const struct ddpm_config *own, struct ddpm_config *config);

/* What verbs need of the command line that have no configuration, or do not look at a model's. */
struct ddpm_probe {
    uint64_t seed;
    int threads; /* one per processor unless given */
    int channels;
    int height, width; /* of option image-size; 0: not given */
};
ddpm_status ddpm_arguments_probe(const struct ddpm_arguments *arguments, struct ddpm_probe *out);

/* Does the verb take that option of the library? */
bool ddpm_verb_takes(const struct ddpm_verb *verb, const char *setting);

#endif

/* The command line after the verb. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "argument_counts.h"
#include "config/foreign.h"
#include "config/nearest.h"
#include "config/option.h"
#include "config/recipes.h"
#include "core/memory.h"
#include "core/text.h"
#include "shown_options.h"

/* '_' counts as '-', as in the option names of Python programs. */
static bool same_name(const char *known, const char *given, size_t length)
{
    for (size_t i = 0; i < length; ++i)
        if (known[i] != (given[i] == '_' ? '-' : given[i]))
            return false;
    return known[length] == 0;
}

bool ddpm_verb_takes(const struct ddpm_verb *verb, const char *setting)
{
    if (verb->every_setting)
        return true;
    for (size_t i = 0; verb->settings && verb->settings[i]; ++i)
        if (strcmp(verb->settings[i], setting) == 0)
            return true;
    return false;
}

/* What a name on the command line refers to. */
struct match {
    size_t verb_option; /* option_count if it is none of them */
    const char *setting;
};

/* Find the name among the verb's own options and those of the library that it takes. */
static bool find_known(const struct ddpm_verb *verb, const char *name, size_t length,
                       struct ddpm_nearest *nearest, struct match *out)
{
    *out = (struct match){.verb_option = verb->option_count};
    for (size_t i = 0; i < verb->option_count; ++i) {
        if (same_name(verb->options[i].name, name, length)) {
            out->verb_option = i;
            return true;
        }
        ddpm_nearest_offer(nearest, verb->options[i].name);
    }
    for (size_t i = 0; i < ddpm_option_count(); ++i) {
        const char *known = ddpm_option_at(i).name;
        if (!ddpm_verb_takes(verb, known))
            continue;
        if (same_name(known, name, length)) {
            out->setting = known;
            return true;
        }
        ddpm_nearest_offer(nearest, known);
    }
    for (size_t i = 0; i < ddpm_general_count; ++i)
        ddpm_nearest_offer(nearest, ddpm_general_options[i].name);
    return false;
}

/* The first verb that has the option, or NULL. */
static const struct ddpm_verb *verb_with(const char *option)
{
    struct ddpm_nearest ignored = {.wanted = option};
    struct match match;
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        if (find_known(ddpm_verbs[i], option, strlen(option), &ignored, &match))
            return ddpm_verbs[i];
    return NULL;
}

/* `--n` may mean the letter -n of this option; NULL if there is none. */
static const char *with_letter(const struct ddpm_verb *verb, const char *wanted)
{
    struct ddpm_shown_option option;
    for (size_t i = 0; wanted[0] && !wanted[1] && ddpm_shown_option(verb, i, &option); ++i)
        if (option.letter == wanted[0])
            return option.name;
    return NULL;
}

/* The error for a name that the verb does not know. */
static ddpm_status refuse_name(const struct ddpm_verb *verb, const char *wanted,
                               const struct ddpm_foreign_name *foreign,
                               const struct ddpm_nearest *nearest)
{
    char text[DDPM_NEAREST_BYTES];
    const struct ddpm_verb *other = verb_with(wanted);
    const char *letter = with_letter(verb, wanted);
    if (letter)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "unknown option --%s, want -%s or --%s", wanted,
                          wanted, letter);
    if (foreign && foreign->advice)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "unknown option --%s%s: %s", wanted,
                          other ? " here" : "", foreign->advice);
    if (other)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "unknown option --%s here; ddpm %s takes it", wanted,
                          other->name);
    other = foreign ? verb_with(foreign->ours) : NULL;
    if (other)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "unknown option --%s here; ddpm %s takes it and calls it --%s", wanted,
                          other->name, foreign->ours);
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "unknown option --%s%s", wanted,
                      ddpm_nearest_text(nearest, "--", text));
}

static ddpm_status find_long(const struct ddpm_verb *verb, const char *name, size_t length,
                             struct match *out)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%.*s", (int)(length < 60 ? length : 60), name);
    struct ddpm_nearest nearest = {.wanted = wanted}, ignored = {.wanted = wanted};
    if (find_known(verb, name, length, &nearest, out))
        return DDPM_OK;
    /* Look up twice: a resolution is the image size, which some verbs call size. */
    const struct ddpm_foreign_name *foreign = ddpm_foreign_find(name, length), *same = foreign;
    for (int turn = 0; turn < 2 && same && !same->advice; ++turn) {
        if (find_known(verb, same->ours, strlen(same->ours), &ignored, out)) {
            ddpm_log(DDPM_LOG_INFO, "option --%s is called --%s here", wanted, same->ours);
            return DDPM_OK;
        }
        same = ddpm_foreign_find(same->ours, strlen(same->ours));
    }
    return refuse_name(verb, wanted, foreign, &nearest);
}

static ddpm_status find_letter(const struct ddpm_verb *verb, char letter, struct match *out)
{
    for (size_t i = 0; i < verb->option_count; ++i) {
        if (verb->options[i].letter == letter) {
            *out = (struct match){.verb_option = i};
            return DDPM_OK;
        }
    }
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "unknown option -%c", letter);
}

static void store(struct ddpm_arguments *out, const struct match *match, const char *value)
{
    if (match->setting)
        out->settings[out->setting_count++] = (struct ddpm_setting){match->setting, value};
    else
        out->values[match->verb_option] = value;
}

/* The value in the word after an option. `--data --out x` has none: --out is the next option. */
static ddpm_status next_value(const char *shown, int count, char *const *words, int *index,
                              const char **value)
{
    const char *next = *index + 1 < count ? words[*index + 1] : NULL;
    if (!next)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option %s: got no value, want one after it", shown);
    if (next[0] == '-' && next[1] == '-' && next[2])
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option %s: got no value before %.200s; write %s=VALUE if the value "
                          "begins with --",
                          shown, next, shown);
    *value = next;
    ++*index;
    return DDPM_OK;
}

/* A flag was given a value. */
static ddpm_status refuse_value(const struct ddpm_verb *verb, const char *shown, const char *value)
{
    const char *name = shown + strspn(shown, "-");
    const bool continues = verb->argument_flag && strcmp(verb->argument_flag, name) == 0;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "option %s: got the value \"%.200s\", want none%s%.200s",
                      shown, value, continues ? "; want a space before it: --resume " : "",
                      continues ? value : "");
}

/* Parse the option at words[*index], with its value there or in the next word; advances *index. */
static ddpm_status parse_option(struct ddpm_arguments *out, int count, char *const *words,
                                int *index)
{
    const struct ddpm_verb *verb = out->verb;
    const char *word = words[*index], *value = NULL;
    struct match match = {0};
    char shown[64];
    if (word[1] == '-') {
        size_t length = strcspn(word + 2, "=");
        DDPM_TRY(find_long(verb, word + 2, length, &match));
        value = word[2 + length] ? word + 3 + length : NULL;
        snprintf(shown, sizeof shown, "--%.*s", (int)length, word + 2);
    } else {
        DDPM_TRY(find_letter(verb, word[1], &match));
        value = word[2] ? word + 2 : NULL;
        snprintf(shown, sizeof shown, "-%c", word[1]);
    }
    const bool is_flag = !match.setting && !verb->options[match.verb_option].placeholder;
    if (is_flag && value)
        return refuse_value(verb, shown, value);
    if (is_flag) {
        value = "";
    } else if (!value) {
        DDPM_TRY(next_value(shown, count, words, index, &value));
    }
    /* Files in a folder with an empty name would end up in the root of the file system. */
    if (!is_flag && !match.setting && !*value)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "option %s: got an empty value; is a shell variable not set?", shown);
    store(out, &match, value);
    if (!match.setting)
        out->by_letter[match.verb_option] = word[1] != '-';
    return DDPM_OK;
}

/* `--seed random` or `--seed auto` draws any number that the option accepts. */
static ddpm_status draw_seed(struct ddpm_arguments *arguments)
{
    for (size_t i = 0; i < arguments->setting_count; ++i) {
        struct ddpm_setting *setting = &arguments->settings[i];
        uint64_t bits = 0;
        if (strcmp(setting->name, "seed") != 0 ||
            (strcmp(setting->value, "random") != 0 && strcmp(setting->value, "auto") != 0))
            continue;
        if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits)
            return ddpm_raise_errno("cannot draw a random seed");
        snprintf(arguments->seed, sizeof arguments->seed, "%llu", (unsigned long long)bits >> 11);
        setting->value = arguments->seed;
    }
    return DDPM_OK;
}

/* --quiet=1 */
static ddpm_status refuse_general(const struct ddpm_arguments *arguments, const char *word)
{
    char shown[64];
    const size_t bytes = strcspn(word, "=");
    snprintf(shown, sizeof shown, "%.*s", (int)bytes, word);
    return refuse_value(arguments->verb, shown, word + bytes + 1);
}

/* Handle an option that every verb takes; false if the word is not one. */
static bool take_general(struct ddpm_arguments *out, const char *word)
{
    size_t found = ddpm_general_count;
    const size_t bytes = strcspn(word, "=");
    for (size_t i = 0; i < ddpm_general_count; ++i) {
        const struct ddpm_verb_option *option = &ddpm_general_options[i];
        const bool is_long = word[1] == '-' && same_name(option->name, word + 2, bytes - 2);
        if (is_long || (option->letter && word[1] == option->letter && !word[2]))
            found = i;
    }
    out->help |= found == DDPM_GENERAL_HELP || found == DDPM_GENERAL_HELP_ALL;
    out->help_all |= found == DDPM_GENERAL_HELP_ALL;
    out->quiet |= found == DDPM_GENERAL_QUIET;
    out->verbose |= found == DDPM_GENERAL_VERBOSE;
    return found < ddpm_general_count;
}

ddpm_status ddpm_arguments_parse(const struct ddpm_verb *verb, int count, char *const *words,
                                 struct ddpm_arguments *out)
{
    *out = (struct ddpm_arguments){.verb = verb};
    DDPM_TRY(ddpm_new_array((void **)&out->settings, (size_t)count + 1, sizeof *out->settings,
                            "options"));
    int given = 0;
    bool only_arguments = false;
    for (int i = 0; i < count; ++i) {
        const char *word = words[i];
        if (only_arguments || word[0] != '-' || !word[1]) {
            if (!*word)
                return ddpm_raise(DDPM_ERROR_ARGUMENT,
                                  "got an empty argument; is a shell variable not set?");
            if (given < DDPM_MOST_ARGUMENTS)
                out->arguments[given] = word;
            ++given;
        } else if (strcmp(word, "--") == 0) {
            only_arguments = true;
        } else if (take_general(out, word)) {
            if (strchr(word, '='))
                return refuse_general(out, word);
            if (out->help)
                return DDPM_OK;
        } else {
            DDPM_TRY(parse_option(out, count, words, &i));
        }
    }
    DDPM_TRY(ddpm_arguments_check_counts(out, given));
    if (out->quiet && out->verbose)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got --quiet and --verbose, want one of them");
    return draw_seed(out);
}

void ddpm_arguments_clear(struct ddpm_arguments *arguments)
{
    free(arguments->settings);
    *arguments = (struct ddpm_arguments){0};
}

const char *ddpm_arguments_get(const struct ddpm_arguments *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->verb->option_count; ++i)
        if (strcmp(arguments->verb->options[i].name, name) == 0)
            return arguments->values[i];
    return NULL;
}

/* The value that was given last, or NULL. */
static const char *setting_value(const struct ddpm_arguments *arguments, const char *name)
{
    for (size_t i = arguments->setting_count; i-- > 0;)
        if (strcmp(arguments->settings[i].name, name) == 0)
            return arguments->settings[i].value;
    return NULL;
}

bool ddpm_arguments_has_setting(const struct ddpm_arguments *arguments, const char *name)
{
    return setting_value(arguments, name) != NULL;
}

static bool in_group(const char *setting, const char *group)
{
    for (size_t i = 0; i < ddpm_option_count(); ++i) {
        struct ddpm_option_info info = ddpm_option_at(i);
        if (strcmp(info.name, setting) == 0)
            return strcmp(info.group, group) == 0;
    }
    return false;
}

/* The recipe is set first, so options given with it win. If `own` has the same recipe, its values
 * are used instead of the recipe's. `own` may be NULL. */
static ddpm_status apply(const struct ddpm_arguments *arguments, const char *group,
                         const struct ddpm_config *own, struct ddpm_config *config)
{
    const char *recipe = setting_value(arguments, "recipe");
    if (ddpm_arguments_has_setting(arguments, "sampler") && !group)
        DDPM_TRY(ddpm_group_reset(DDPM_GROUP_SAMPLING, config));
    if (recipe && (!group || in_group("recipe", group))) {
        DDPM_TRY(ddpm_config_set(config, "recipe", recipe));
        if (own && own->training.recipe == config->training.recipe)
            DDPM_TRY(ddpm_recipe_keep(own, config));
    }
    for (size_t i = 0; i < arguments->setting_count; ++i) {
        const struct ddpm_setting *setting = &arguments->settings[i];
        if ((!group || in_group(setting->name, group)) && strcmp(setting->name, "recipe") != 0)
            DDPM_TRY(ddpm_config_set(config, setting->name, setting->value));
    }
    return DDPM_OK;
}

ddpm_status ddpm_arguments_apply(const struct ddpm_arguments *arguments, const char *group,
                                 struct ddpm_config *config)
{
    return apply(arguments, group, NULL, config);
}

ddpm_status ddpm_arguments_apply_to_run(const struct ddpm_arguments *arguments,
                                        const struct ddpm_config *own, struct ddpm_config *config)
{
    return apply(arguments, NULL, own, config);
}

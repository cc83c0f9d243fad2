/* One list of a verb's options for everything that shows them. */
#include "shown_options.h"

#include <stdio.h>
#include <string.h>

#include "config/option.h"
#include "options.h"

const struct ddpm_verb_option ddpm_general_options[] = {
    [DDPM_GENERAL_HELP] = {"help", 'h', false, NULL, "the most common options"},
    [DDPM_GENERAL_HELP_ALL] = {"help-all", 0, false, NULL, "all options"},
    [DDPM_GENERAL_QUIET] = {"quiet", 'q', false, NULL, "only warnings, errors and results"},
    [DDPM_GENERAL_VERBOSE] = {"verbose", 'v', false, NULL,
                              "also why something was chosen; progress every second"},
};
const size_t ddpm_general_count = sizeof ddpm_general_options / sizeof *ddpm_general_options;

static bool is_common(const struct ddpm_verb *verb, const char *name)
{
    if (!verb->common)
        return true;
    for (size_t i = 0; verb->common[i]; ++i)
        if (strcmp(verb->common[i], name) == 0)
            return true;
    return false;
}

static struct ddpm_shown_option from_verb(enum ddpm_shown_kind kind,
                                          const struct ddpm_verb_option *option)
{
    return (struct ddpm_shown_option){
        .kind = kind,
        .name = option->name,
        .letter = option->letter,
        .placeholder = option->placeholder,
        .help = option->help,
        .fallback = "",
        .required = option->required,
    };
}

bool ddpm_verb_has_model(const struct ddpm_verb *verb)
{
    return !verb->every_setting && strstr(verb->arguments, "RUN");
}

/* The default, as text. */
static const char *fallback_of(const struct ddpm_verb *verb, const struct ddpm_option *option)
{
    if (ddpm_verb_has_model(verb) && strcmp(option->name, "image-size") == 0)
        return "that of the model";
    if (ddpm_verb_has_model(verb) && strcmp(option->name, "seed") == 0)
        return "0, not the model's";
    return option->default_text;
}

static struct ddpm_shown_option from_library(const struct ddpm_verb *verb,
                                             const struct ddpm_option *option)
{
    const bool any_size = !verb->every_setting && !ddpm_verb_has_model(verb) &&
                          strcmp(option->name, "image-size") == 0;
    return (struct ddpm_shown_option){
        .kind = DDPM_SHOWN_LIBRARY,
        .name = option->name,
        .placeholder = option->placeholder,
        .help = any_size ? "size of the pictures" : option->help,
        .fallback = fallback_of(verb, option),
        .group = ddpm_group_name(option->group),
        .required = verb->needed && strcmp(verb->needed, option->name) == 0,
        .choices = option->choices,
    };
}

bool ddpm_shown_option(const struct ddpm_verb *verb, size_t index, struct ddpm_shown_option *out)
{
    if (index < verb->option_count) {
        *out = from_verb(DDPM_SHOWN_OWN, &verb->options[index]);
        out->common = is_common(verb, out->name);
        return true;
    }
    index -= verb->option_count;
    for (size_t i = 0; i < ddpm_options_count; ++i) {
        if (ddpm_verb_takes(verb, ddpm_options[i].name) && index-- == 0) {
            *out = from_library(verb, &ddpm_options[i]);
            out->common = is_common(verb, out->name);
            return true;
        }
    }
    if (index >= ddpm_general_count)
        return false;
    *out = from_verb(DDPM_SHOWN_GENERAL, &ddpm_general_options[index]);
    return true;
}

char ddpm_letter_of(const struct ddpm_verb *verb, const char *name)
{
    for (size_t i = 0; i < verb->option_count; ++i)
        if (strcmp(verb->options[i].name, name) == 0)
            return verb->options[i].letter;
    return 0;
}

bool ddpm_verb_has_more(const struct ddpm_verb *verb)
{
    struct ddpm_shown_option option;
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i)
        if (option.kind != DDPM_SHOWN_GENERAL && !option.common && !option.required)
            return true;
    return false;
}

/* "ema", but not "N", "FILE.npy" or "N,N,…": a value to type as it is. */
static bool is_literal(const char *word, size_t length)
{
    bool any = false;
    for (size_t i = 0; i < length; ++i) {
        const char c = word[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-')
            return false;
        any = any || (c >= 'a' && c <= 'z');
    }
    return any;
}

static enum ddpm_value_paths paths_of(const char *word, size_t length)
{
    static const char *const folders[] = {"DIR", "RUN", "RUN2", "CHECKPOINT"};
    static const char *const files[] = {"FILE", "PICTURE", "GENERATED", "MODEL"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; ++i)
        if (strlen(folders[i]) == length && memcmp(folders[i], word, length) == 0)
            return DDPM_VALUE_FOLDERS;
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i)
        if (strlen(files[i]) == length && memcmp(files[i], word, length) == 0)
            return DDPM_VALUE_FILES;
    return memchr(word, '.', length) ? DDPM_VALUE_FILES : DDPM_VALUE_NO_PATH;
}

static void add_word(struct ddpm_values *values, const char *word, size_t length)
{
    if (values->count < DDPM_MOST_WORDS && length < DDPM_WORD_BYTES)
        snprintf(values->words[values->count++], DDPM_WORD_BYTES, "%.*s", (int)length, word);
}

void ddpm_values_of(const char *placeholder, const char *const *choices, struct ddpm_values *out)
{
    *out = (struct ddpm_values){.paths = DDPM_VALUE_NO_PATH};
    if (choices) {
        for (; *choices; ++choices)
            add_word(out, *choices, strlen(*choices));
        return;
    }
    for (const char *word = placeholder; word && *word;) {
        const size_t length = strcspn(word, "|");
        const enum ddpm_value_paths paths = paths_of(word, length);
        if (is_literal(word, length))
            add_word(out, word, length);
        else if (paths > out->paths)
            out->paths = paths;
        word += length + (word[length] != 0);
    }
}

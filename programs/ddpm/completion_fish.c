/* Completion for fish. */
#include <stdio.h>

#include "completion.h"
#include "shown_options.h"

/* Escapes text for single quotes. */
static void print_quoted(const char *text)
{
    for (; *text; ++text)
        printf(*text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
}

/* The possible values: "-x -a 'a b'", folders or files. */
static void print_values(const char *placeholder, const char *const *choices)
{
    struct ddpm_values values;
    ddpm_values_of(placeholder, choices, &values);
    printf(values.paths == DDPM_VALUE_FILES ? " -r -F" : " -x");
    if (values.count == 0 && values.paths != DDPM_VALUE_FOLDERS)
        return;
    printf(" -a '");
    for (size_t i = 0; i < values.count; ++i)
        printf("%s%s", i ? " " : "", values.words[i]);
    if (values.paths == DDPM_VALUE_FOLDERS)
        printf("%s(__fish_complete_directories)", values.count ? " " : "");
    printf("'");
}

static void print_option(const struct ddpm_verb *verb, const struct ddpm_shown_option *option)
{
    printf("complete -c ddpm -n '__fish_seen_subcommand_from %s' -l %s", verb->name, option->name);
    if (option->letter)
        printf(" -s %c", option->letter);
    if (option->placeholder)
        print_values(option->placeholder, option->choices);
    printf(" -d '");
    print_quoted(option->help);
    printf("'\n");
}

/* What can stand alone. Files complete by default. */
static void print_argument(const struct ddpm_verb *verb)
{
    struct ddpm_values values;
    ddpm_values_of(verb->arguments, NULL, &values);
    printf("complete -c ddpm -n '__fish_seen_subcommand_from %s'", verb->name);
    if (values.paths == DDPM_VALUE_FILES)
        printf(" -F\n");
    else if (values.paths == DDPM_VALUE_FOLDERS)
        printf(" -a '(__fish_complete_directories)'\n");
    else
        printf(" -f\n");
    for (size_t i = 0; i < values.count; ++i)
        printf("complete -c ddpm -n '__fish_seen_subcommand_from %s' -a %s\n", verb->name,
               values.words[i]);
    if (verb->argument_flag) /* --resume RUN */
        printf(
            "complete -c ddpm -n '__fish_seen_subcommand_from %s; and __fish_contains_opt -s %c %s'"
            " -a '(__fish_complete_directories)'\n",
            verb->name, ddpm_letter_of(verb, verb->argument_flag), verb->argument_flag);
}

void ddpm_completion_fish(void)
{
    struct ddpm_shown_option option;
    printf("# Completion of ddpm %s for fish.\ncomplete -c ddpm -f\n", ddpm_version());
    for (size_t i = 0; i < ddpm_verb_count; ++i) {
        const struct ddpm_verb *verb = ddpm_verbs[i];
        printf("complete -c ddpm -n __fish_use_subcommand -a %s -d '", verb->name);
        print_quoted(verb->summary);
        printf("'\n");
        for (size_t k = 0; ddpm_shown_option(verb, k, &option); ++k)
            print_option(verb, &option);
        print_argument(verb);
    }
}

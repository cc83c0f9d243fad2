/* Completion for zsh, with its _arguments. */
#include <stdio.h>
#include <string.h>

#include "completion.h"
#include "shown_options.h"

/* Escapes text for single quotes and for the brackets or colons of _arguments. */
static void print_quoted(const char *text)
{
    for (; *text; ++text) {
        if (*text == '\'')
            printf("'\\''");
        else
            printf(strchr(":[]\\", *text) ? "\\%c" : "%c", *text);
    }
}

/* ":NAME:(none l2 l1)" or ":DIR:_files -/". */
static void print_values(const char *placeholder, const char *const *choices)
{
    struct ddpm_values values;
    ddpm_values_of(placeholder, choices, &values);
    printf(":");
    print_quoted(placeholder);
    printf(":");
    if (values.count && values.paths != DDPM_VALUE_NO_PATH) {
        printf("{_alternative \"values\\:value\\:(");
        for (size_t i = 0; i < values.count; ++i)
            printf("%s%s", i ? " " : "", values.words[i]);
        printf(")\" \"files\\:file\\:_files\"}");
        return;
    }
    if (values.count) {
        printf("(");
        for (size_t i = 0; i < values.count; ++i)
            printf("%s%s", i ? " " : "", values.words[i]);
        printf(")");
    } else if (values.paths == DDPM_VALUE_FOLDERS) {
        printf("_files -/");
    } else if (values.paths == DDPM_VALUE_FILES) {
        printf("_files");
    } else {
        printf(" ");
    }
}

static void print_option(const struct ddpm_shown_option *option)
{
    const bool takes = option->placeholder != NULL;
    printf("            ");
    if (option->letter)
        printf("'(-%c --%s)'{-%c%s,--%s%s}'", option->letter, option->name, option->letter,
               takes ? "+" : "", option->name, takes ? "=" : "");
    else
        printf("'--%s%s", option->name, takes ? "=" : "");
    printf("[");
    print_quoted(option->help);
    printf("]");
    if (takes)
        print_values(option->placeholder, option->choices);
    printf("' \\\n");
}

static void print_verb(const struct ddpm_verb *verb)
{
    struct ddpm_shown_option option;
    printf("        %s)\n            _arguments -S \\\n", verb->name);
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i)
        print_option(&option);
    if (*verb->arguments) {
        printf("            '*");
        print_values(verb->arguments, NULL);
        printf("'\n");
    } else if (verb->argument_flag) { /* --resume RUN */
        printf("            '*:RUN:{(( ${words[(I)(-%c|--%s)]} )) && _files -/}'\n",
               ddpm_letter_of(verb, verb->argument_flag), verb->argument_flag);
    } else {
        printf("            && return 0\n");
    }
    printf("            ;;\n");
}

void ddpm_completion_zsh(void)
{
    printf("#compdef ddpm\n# Completion of ddpm %s for zsh.\n"
           "_ddpm() {\n"
           "    local -a verbs\n"
           "    verbs=(\n",
           ddpm_version());
    for (size_t i = 0; i < ddpm_verb_count; ++i) {
        printf("        '%s:", ddpm_verbs[i]->name);
        print_quoted(ddpm_verbs[i]->summary);
        printf("'\n");
    }
    printf("    )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe verb verbs\n"
           "        return\n"
           "    fi\n"
           "    local verb=$words[2]\n"
           "    shift words\n"
           "    (( CURRENT-- ))\n"
           "    case $verb in\n"
           "        help) (( CURRENT == 2 )) && _describe verb verbs ;;\n");
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        print_verb(ddpm_verbs[i]);
    printf("    esac\n"
           "}\n"
           "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
           "    _ddpm \"$@\"\n"
           "else\n"
           "    compdef _ddpm ddpm\n"
           "fi\n");
}

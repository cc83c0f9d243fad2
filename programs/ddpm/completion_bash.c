/* Completion for bash, with builtins only. */
#include <stdio.h>

#include "completion.h"
#include "shown_options.h"

static const char head[] =
    "_ddpm() {\n"
    "    local words='' paths=no word=\"${COMP_WORDS[COMP_CWORD]}\"\n"
    "    local verb=\"${COMP_WORDS[1]}\" before=\"${COMP_WORDS[COMP_CWORD - 1]}\"\n"
    "    COMPREPLY=()\n"
    "    if [ \"$word\" = = ]; then # --name=\n"
    "        word=''\n"
    "    elif [ \"$before\" = = ]; then # --name=value\n"
    "        before=\"${COMP_WORDS[COMP_CWORD - 2]}\"\n"
    "    fi\n"
    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n";

static const char tail[] =
    "    case $paths in\n"
    "        files) mapfile -t COMPREPLY < <(compgen -W \"$words\" -f -- \"$word\") ;;\n"
    "        folders) mapfile -t COMPREPLY < <(compgen -W \"$words\" -d -- \"$word\") ;;\n"
    "        *) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\") ;;\n"
    "    esac\n"
    "    if [ \"$paths\" != no ]; then\n"
    "        compopt -o filenames 2>/dev/null || true\n"
    "    fi\n"
    "}\n"
    "complete -F _ddpm ddpm\n";

/* The possible values of one option. */
static void print_values(const char *placeholder, const char *const *choices)
{
    static const char *const paths[] = {[DDPM_VALUE_NO_PATH] = "no",
                                        [DDPM_VALUE_FOLDERS] = "folders",
                                        [DDPM_VALUE_FILES] = "files"};
    struct ddpm_values values;
    ddpm_values_of(placeholder, choices, &values);
    printf(" words='");
    for (size_t i = 0; i < values.count; ++i)
        printf("%s%s", i ? " " : "", values.words[i]);
    printf("' paths=%s ;;\n", paths[values.paths]);
}

/* A verb's options with their values, then what can stand alone: options and arguments. */
static void print_verb(const struct ddpm_verb *verb)
{
    struct ddpm_shown_option option;
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i) {
        if (!option.placeholder)
            continue;
        printf("        '%s --%s '*", verb->name, option.name);
        if (option.letter)
            printf("|'%s -%c '*", verb->name, option.letter);
        printf(")");
        print_values(option.placeholder, option.choices);
    }
    printf("        '%s '*' -'*) words='", verb->name);
    for (size_t i = 0; ddpm_shown_option(verb, i, &option); ++i)
        printf("%s--%s", i ? " " : "", option.name);
    printf("' ;;\n");
    if (verb->argument_flag) /* --resume RUN */
        printf("        '%s --%s '*|'%s -%c '*) words='' paths=folders ;;\n", verb->name,
               verb->argument_flag, verb->name, ddpm_letter_of(verb, verb->argument_flag));
    printf("        '%s '*)", verb->name);
    print_values(verb->arguments, NULL);
}

void ddpm_completion_bash(void)
{
    printf("# Completion of ddpm %s for bash.\n%s        words='--help --version help version",
           ddpm_version(), head);
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        printf(" %s", ddpm_verbs[i]->name);
    printf("'\n    else\n        case \"$verb $before $word\" in\n        'help '*) words='");
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        printf("%s%s", i ? " " : "", ddpm_verbs[i]->name);
    printf("' ;;\n");
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        print_verb(ddpm_verbs[i]);
    printf("        esac\n    fi\n%s", tail);
}

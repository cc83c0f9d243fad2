/* ddpm completion: a script for the shell, made from the tables of verbs and options. */
#include <stdio.h>
#include <string.h>

#include "options.h"

static void print_words(const struct ddpm_verb *verb)
{
    printf("        %s) words=\"--help", verb->name);
    for (size_t i = 0; i < verb->option_count; ++i)
        printf(" --%s", verb->options[i].name);
    for (size_t i = 0; i < ddpm_option_count(); ++i)
        if (ddpm_verb_takes(verb, ddpm_option_at(i).name))
            printf(" --%s", ddpm_option_at(i).name);
    printf("\" ;;\n");
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    if (strcmp(arguments->arguments[0], "bash") != 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got \"%.80s\", want bash", arguments->arguments[0]);
    printf("# Completion of ddpm %s for bash: source <(ddpm completion bash)\n"
           "_ddpm() {\n"
           "    local words word=\"${COMP_WORDS[COMP_CWORD]}\"\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        words=\"--help --version help version",
           ddpm_version());
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        printf(" %s", ddpm_verbs[i]->name);
    printf("\"\n"
           "    else\n"
           "        [ \"${word#-}\" != \"$word\" ] || return 0\n"
           "        case \"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        print_words(ddpm_verbs[i]);
    printf("        *) return 0 ;;\n"
           "        esac\n"
           "    fi\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
           "}\n"
           "complete -o default -F _ddpm ddpm\n");
    return DDPM_OK;
}

const struct ddpm_verb ddpm_verb_completion = {
    .name = "completion",
    .arguments = "bash",
    .argument_count = 1,
    .summary = "Print a completion script for the shell.",
    .prints = true,
    .run = run,
};

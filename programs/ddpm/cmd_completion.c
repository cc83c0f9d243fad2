/* ddpm completion: a completion script for the shell, made from the tables of verbs and options. */
#include <stdio.h>
#include <string.h>

#include "completion.h"
#include "options.h"

static const struct {
    const char *shell;
    void (*print)(void);
} scripts[] = {
    {"bash", ddpm_completion_bash},
    {"zsh", ddpm_completion_zsh},
    {"fish", ddpm_completion_fish},
};

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; ++i) {
        if (strcmp(arguments->arguments[0], scripts[i].shell) == 0) {
            scripts[i].print();
            return DDPM_OK;
        }
    }
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "got \"%.80s\", want bash, zsh or fish",
                      arguments->arguments[0]);
}

const struct ddpm_verb ddpm_verb_completion = {
    .name = "completion",
    .arguments = "bash|zsh|fish",
    .argument_count = 1,
    .summary = "Print a completion script for the shell.",
    .notes = "The packages install these scripts where the shells look for them. Otherwise:\n"
             "  bash: source <(ddpm completion bash)\n"
             "  zsh: source <(ddpm completion zsh), after compinit\n"
             "  fish: ddpm completion fish | source\n",
    .prints = true,
    .run = run,
};

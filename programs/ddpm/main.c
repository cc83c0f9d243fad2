/* ddpm: the program. `ddpm VERB …` looks the verb up in the table below, parses the command line
 * (options.c) and runs the verb (one cmd_VERB.c each).
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + signal after a signal that asks to stop. */
#include <stdio.h>
#include <string.h>

#include "config/nearest.h"
#include "options.h"
#include "streams.h"

const struct ddpm_verb *const ddpm_verbs[] = {
    &ddpm_verb_train, &ddpm_verb_sample, &ddpm_verb_predict, &ddpm_verb_noise,      &ddpm_verb_pack,
    &ddpm_verb_synth, &ddpm_verb_info,   &ddpm_verb_bench,   &ddpm_verb_completion,
};
const size_t ddpm_verb_count = sizeof ddpm_verbs / sizeof *ddpm_verbs;

static void print_help(void)
{
    printf("Usage: ddpm VERB …\n"
           "Train denoising diffusion models on a folder of pictures and draw new ones.\n\n");
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        printf("  %-12s%s\n", ddpm_verbs[i]->name, ddpm_verbs[i]->summary);
    printf("\n"
           "  ddpm VERB --help  the options of a verb\n"
           "  ddpm --version    the version\n\n"
           "Example:\n"
           "  ddpm train --data pictures --out runs/first --image-size 64 --dim 32\n"
           "  ddpm sample runs/first --out drawn -n 16\n");
}

static const struct ddpm_verb *find_verb(const char *name)
{
    struct ddpm_nearest nearest = {.wanted = name};
    for (size_t i = 0; i < ddpm_verb_count; ++i) {
        if (strcmp(ddpm_verbs[i]->name, name) == 0)
            return ddpm_verbs[i];
        ddpm_nearest_offer(&nearest, ddpm_verbs[i]->name);
    }
    (void)ddpm_raise(DDPM_ERROR_ARGUMENT, "no verb is called \"%.80s\"; the nearest is \"%s\"",
                     name, nearest.best);
    return NULL;
}

static int run_verb(const struct ddpm_verb *verb, int count, char *const *words)
{
    struct ddpm_arguments arguments;
    ddpm_status status = ddpm_arguments_parse(verb, count, words, &arguments);
    const bool prints = verb->prints || arguments.help;
    if (status == DDPM_OK && arguments.help)
        ddpm_verb_help(verb);
    else if (status == DDPM_OK)
        status = verb->run(&arguments);
    ddpm_arguments_clear(&arguments);
    return ddpm_finish_output(status == DDPM_OK ? DDPM_EXIT_DONE : ddpm_report(verb->name, status),
                              prints);
}

int main(int argc, char **argv)
{
    if (!ddpm_prepare_streams())
        return DDPM_EXIT_FAILED;
    if (argc < 2) {
        fprintf(stderr, "ddpm: got no verb, want one such as train; see ddpm --help\n");
        return DDPM_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        return ddpm_finish_output(DDPM_EXIT_DONE, true);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("ddpm %s\n", ddpm_version());
        return ddpm_finish_output(DDPM_EXIT_DONE, true);
    }
    const struct ddpm_verb *verb = find_verb(argv[1]);
    if (!verb)
        return ddpm_report(NULL, DDPM_ERROR_ARGUMENT);
    ddpm_report_log();
    return run_verb(verb, argc - 2, argv + 2);
}

/* ddpm: the program. `ddpm VERB …` looks up the verb in the table below, parses the command line
 * (options.c) and runs the verb (one cmd_VERB.c each).
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + signal after a signal to stop. */
#include <stdio.h>
#include <string.h>

#include "config/nearest.h"
#include "man_page.h"
#include "options.h"
#include "processes.h"
#include "progress.h"
#include "shown_options.h"
#include "streams.h"
#include "verb_help.h"

const struct ddpm_verb *const ddpm_verbs[] = {
    &ddpm_verb_train,    &ddpm_verb_distill, &ddpm_verb_ema,   &ddpm_verb_sample,
    &ddpm_verb_evaluate, &ddpm_verb_predict, &ddpm_verb_noise, &ddpm_verb_pack,
    &ddpm_verb_synth,    &ddpm_verb_info,    &ddpm_verb_bench, &ddpm_verb_completion,
};
const size_t ddpm_verb_count = sizeof ddpm_verbs / sizeof *ddpm_verbs;

static void print_help(void)
{
    printf("Usage: ddpm VERB …\n"
           "Train denoising diffusion models on a folder of pictures and draw new ones.\n\n");
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        printf("  %-12s%s\n", ddpm_verbs[i]->name, ddpm_verbs[i]->summary);
    printf("\n"
           "  ddpm VERB --help      the most common options of a verb; same as ddpm help VERB\n"
           "  ddpm VERB --help-all  all of its options; also in man ddpm-VERB\n"
           "  ddpm VERB --quiet     only warnings, errors and results; --verbose prints more\n"
           "  ddpm --version        the version\n"
           "\n"
           "Example, in ten minutes:\n"
           "  ddpm train --data pictures --out runs/first --image-size 32 --dim 32 --recipe fast "
           "--time 10m\n"
           "  ddpm sample runs/first --out drawn -n 16\n");
}

/* An option of any verb, or of all: "--quiet", "data", "-q". `word`: the name without hyphens. */
static bool is_option(const char *name, const char *word)
{
    const char letter = name[0] == '-' && word[0] && !word[1] ? word[0] : 0;
    struct ddpm_shown_option option;
    for (size_t i = 0; i < ddpm_verb_count; ++i)
        for (size_t k = 0; ddpm_shown_option(ddpm_verbs[i], k, &option); ++k)
            if (strcmp(option.name, word) == 0 || (letter && option.letter == letter))
                return true;
    return false;
}

/* Advice for names that other programs use for a verb. */
static const char *other_verb(const char *name, const char *word)
{
    static const struct {
        const char *name, *advice;
    } others[] = {
        {"generate", "ddpm sample draws pictures"},
        {"draw", "ddpm sample draws pictures"},
        {"infer", "ddpm sample draws pictures"},
        {"inference", "ddpm sample draws pictures"},
        {"resume", "ddpm train --resume --out RUN continues a run"},
        {"continue", "ddpm train --resume --out RUN continues a run"},
        {"fit", "ddpm train trains a model"},
        {"finetune", "ddpm train --pretrained MODEL starts from a trained model"},
        {"prepare", "ddpm pack makes one file from a folder of pictures"},
        {"preprocess", "ddpm pack makes one file from a folder of pictures"},
        {"convert", "ddpm pack makes one file from a folder of pictures"},
        {"show", "ddpm info describes a run or file"},
        {"inspect", "ddpm info describes a run or file"},
        {"list", "ddpm info describes a run or file"},
        {"benchmark", "ddpm bench times every kernel"},
        {"profile", "ddpm bench times every kernel"},
        {"fid", "ddpm evaluate compares pictures with real ones"},
        {"eval", "ddpm evaluate compares pictures with real ones"},
        {"metrics", "ddpm evaluate compares pictures with real ones"},
        {"compare", "ddpm evaluate compares pictures with real ones"},
        {"usage", "ddpm --help lists the verbs"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i)
        if (strcmp(others[i].name, word) == 0)
            return others[i].advice;
    return *word == 0 || is_option(name, word)
               ? "the verb comes before its options, as in ddpm train --data …"
               : NULL;
}

static const struct ddpm_verb *find_verb(const char *name)
{
    const char *word = name + strspn(name, "-"); /* ddpm --train */
    struct ddpm_nearest nearest = {.wanted = word};
    for (size_t i = 0; i < ddpm_verb_count; ++i) {
        if (strcmp(ddpm_verbs[i]->name, name) == 0)
            return ddpm_verbs[i];
        ddpm_nearest_offer(&nearest, ddpm_verbs[i]->name);
    }
    ddpm_nearest_offer(&nearest, "help");
    ddpm_nearest_offer(&nearest, "version");
    char text[DDPM_NEAREST_BYTES];
    const char *other = other_verb(name, word);
    (void)ddpm_raise(DDPM_ERROR_ARGUMENT, "unknown verb \"%.80s\"%s%s", name, other ? ": " : "",
                     other ? other : ddpm_nearest_text(&nearest, "", text));
    return NULL;
}

static int run_verb(const struct ddpm_verb *verb, int count, char *const *words)
{
    struct ddpm_arguments arguments;
    ddpm_status status = ddpm_arguments_parse(verb, count, words, &arguments);
    const bool prints = verb->prints || arguments.help;
    if (arguments.quiet || (verb->terse && !arguments.verbose))
        ddpm_progress_talk(DDPM_TALK_QUIET);
    else if (arguments.verbose)
        ddpm_progress_talk(DDPM_TALK_VERBOSE);
    if (verb->joins && !arguments.help)
        status = ddpm_processes_begin(&arguments, status);
    if (status == DDPM_OK && arguments.seed[0])
        ddpm_log(DDPM_LOG_INFO, "seed drawn at random: %s", arguments.seed);
    if (status == DDPM_OK && arguments.help)
        ddpm_verb_help(verb, arguments.help_all);
    else if (status == DDPM_OK)
        status = verb->run(&arguments);
    ddpm_arguments_clear(&arguments);
    const int code = ddpm_finish_output(
        status == DDPM_OK ? DDPM_EXIT_DONE : ddpm_report(verb->name, status), prints);
    ddpm_processes_end(code);
    return code;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

/* ddpm help [--man] [VERB]; the build makes the manual pages with --man. */
static int help(int count, char *const *words)
{
    const bool man = count > 0 && strcmp(words[0], "--man") == 0;
    const struct ddpm_verb *verb = NULL;
    words += man;
    count -= man;
    if (count > 0 && !is_one_of(words[0], "help", "version", "--help")) {
        verb = find_verb(words[0]);
        if (!verb)
            return ddpm_report(NULL, DDPM_ERROR_ARGUMENT);
    }
    if (man)
        ddpm_man_page(verb);
    else if (verb)
        ddpm_verb_help(verb, count > 1 && strcmp(words[1], "--help-all") == 0);
    else
        print_help();
    return ddpm_finish_output(DDPM_EXIT_DONE, true);
}

/* The program never sets a locale: numbers are read and written as in the C locale (core/text.h).
 */
int main(int argc, char **argv)
{
    if (!ddpm_prepare_streams())
        return DDPM_EXIT_FAILED;
    if (argc < 2) {
        fprintf(stderr,
                "ddpm: no verb given, want one, such as ddpm train; ddpm --help lists the verbs\n");
        return DDPM_EXIT_USAGE;
    }
    if (is_one_of(argv[1], "help", "--help", "-h"))
        return help(argc - 2, argv + 2);
    if (is_one_of(argv[1], "version", "--version", "-V")) {
        printf("ddpm %s\n", ddpm_version());
        return ddpm_finish_output(DDPM_EXIT_DONE, true);
    }
    const struct ddpm_verb *verb = find_verb(argv[1]);
    if (!verb)
        return ddpm_report(NULL, DDPM_ERROR_ARGUMENT);
    ddpm_report_log();
    return run_verb(verb, argc - 2, argv + 2);
}

/* ddpm distill: a run that starts from a trained model and learns to draw in one, two or four
 * steps. See docs/distillation.md. */
#include "train_run.h"

static ddpm_status run_verb(const struct ddpm_arguments *arguments)
{
    return ddpm_train(arguments, true);
}

static const struct ddpm_verb_option options[] = {
    {"out", 'o', true, "RUN2", "folder of the new run, or of an existing run with --resume"},
    {"config", 'c', false, "FILE.json", "read options from this file; the command line wins"},
    {"resume", 'r', false, NULL,
     "continue from the newest checkpoint of RUN2; --out may be omitted: --resume RUN2"},
    {"time", 0, false, "TIME",
     "train as many steps as fit into this time, such as 10m or 1h30m, instead of --steps"},
};

static const char *const common[] = {"resume",     "time",         "drawing-steps", "steps",  "lr",
                                     "batch-size", "sample-every", "seed",          "device", NULL};

const struct ddpm_verb ddpm_verb_distill = {
    .name = "distill",
    .arguments = "RUN|CHECKPOINT",
    .argument_count = 1,
    .argument_flag = "resume",
    .summary = "Teach a trained model to draw in one, two or four steps.",
    .notes =
        "Options default to those of RUN, with --drawing-steps 2, 0.3 of its learning rate,\n"
        "--lr-schedule cosine, no warm-up, --ema-decay 0.99 at every step, --patches 1, and 3/16\n"
        "of the steps that RUN has done (those on patches count less): about a quarter of its\n"
        "time. Signals work as in ddpm train.\n",
    .examples = "  ddpm distill runs/first --out runs/quick --drawing-steps 2\n"
                "  ddpm sample runs/quick --out drawn -n 16\n",
    .common = common,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .every_setting = true,
    .joins = true,
    .run = run_verb,
};

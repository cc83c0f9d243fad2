/* ddpm ema: an average of a different length than the run kept, saved as a model of its own. */
#include <inttypes.h>
#include <stdio.h>

#include "formats/file.h"
#include "missing.h"
#include "model/checkpoint_find.h"
#include "options.h"
#include "streams.h"
#include "training/ema_reconstruct.h"

/* If the fitted profile is off by more than this, it is not the requested average. */
static const double far_off = 0.1;

/* The average is made from the checkpoints of a whole run. */
static ddpm_status check_run(const char *path)
{
    if (!ddpm_path_exists(path))
        return ddpm_raise_missing(path, "no such run");
    if (ddpm_checkpoint_is_run(path))
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT,
                      "%s: got no run, want one: its folder has the checkpoints to average in "
                      "checkpoints",
                      path);
}

static ddpm_status run(const struct ddpm_arguments *arguments)
{
    const char *folder = ddpm_arguments_get(arguments, "out");
    struct ddpm_ema_reconstruction made;
    double length;
    int64_t step;
    DDPM_TRY(ddpm_arguments_number(arguments, "length", 0.001, 0.28, 0.1, &length));
    DDPM_TRY(ddpm_arguments_integer(arguments, "step", 1, INT32_MAX, 0, &step));
    DDPM_TRY(check_run(arguments->arguments[0]));
    if (ddpm_path_exists(folder))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "%s: already exists; want a new folder for the model", folder);
    DDPM_TRY(ddpm_ema_reconstruct(arguments->arguments[0], length, step, folder, &made));
    if (made.error > far_off)
        ddpm_log(DDPM_LOG_WARNING,
                 "got %zu checkpoint%s, too few for this length: train with a smaller --save-every "
                 "and a larger --keep",
                 made.checkpoints, made.checkpoints == 1 ? "" : "s");
    ddpm_print_text("", folder, "");
    printf(": average of length %g after step %" PRId64 ", from %zu checkpoint%s, off by %.1f %%\n",
           length, made.step, made.checkpoints, made.checkpoints == 1 ? "" : "s", 100 * made.error);
    return DDPM_OK;
}

static const struct ddpm_verb_option options[] = {
    {"out", 'o', true, "DIR",
     "new folder for the model, which ddpm sample and other verbs can read"},
    {"length", 'l', true, "X", "length of the average as a fraction of the run, 0.001 to 0.28"},
    {"step", 0, false, "N", "average up to this step, which must have a checkpoint (the newest)"},
};

const struct ddpm_verb ddpm_verb_ema = {
    .name = "ema",
    .arguments = "RUN",
    .argument_count = 1,
    .summary = "Make an average of a different length from the checkpoints of a run.",
    .examples = "  ddpm ema runs/first --length 0.15 --out runs/averaged\n",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .prints = true,
    .run = run,
};

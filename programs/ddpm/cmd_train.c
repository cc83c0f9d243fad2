/* ddpm train: a run from its options to its last checkpoint.
 *
 *     RUN/config.json                  every option and its value, version, hash of the pictures
 *     RUN/log.csv                      one row per step (run_log.c)
 *     RUN/validation.csv, hashes.npy   if pictures are set aside (run_validation.c)
 *     RUN/samples/step-NNNNNN.png      grids drawn with the EMA weights
 *     RUN/checkpoints/step-NNNNNN/, latest, best                           (the library)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "processes.h"
#include "run_space.h"
#include "train_run.h"
#include "training/ranks.h"

/* Seconds between writes of the log. */
enum { FLUSH_SECONDS = 2 };

/* Time since `begin`, spent on something other than steps. */
static void count_pause(struct ddpm_train_run *run, struct ddpm_share *share, double begin)
{
    const double seconds = ddpm_now() - begin;
    ddpm_share_add(share, seconds);
    run->progress.paused += seconds;
}

/* Start a checkpoint of this step unless there is one; `wait` until it is complete. */
static ddpm_status save(struct ddpm_train_run *run, bool wait)
{
    const int64_t step = ddpm_trainer_steps_done(run->trainer);
    const bool best = run->validation.is_best && run->validation.curves.best.step == step;
    const double begin = ddpm_now();
    ddpm_doing(DDPM_DOING_CHECKPOINT, step);
    if (run->saved != step) {
        /* The log first: a checkpoint must never be ahead of the log. */
        DDPM_TRY(ddpm_run_log_flush(&run->log));
        DDPM_TRY(best ? ddpm_trainer_save_best_begin(run->trainer, run->path)
                      : ddpm_trainer_save_begin(run->trainer, run->path));
        run->saved = step;
        count_pause(run, &run->outlook.checkpoints, begin);
    }
    return wait ? ddpm_trainer_save_end(run->trainer) : DDPM_OK;
}

/* Draw the grid of the current step, unless grids are off or its file exists. */
static ddpm_status sample(struct ddpm_train_run *run)
{
    const int64_t step = ddpm_trainer_steps_done(run->trainer);
    const double begin = ddpm_now();
    bool drawn;
    if (!ddpm_run_samples_wanted(&run->samples))
        return DDPM_OK;
    ddpm_doing(DDPM_DOING_SAMPLES, step);
    ddpm_status status = ddpm_run_samples_draw(&run->samples, step, &drawn);
    if (drawn)
        count_pause(run, &run->outlook.grids, begin);
    return status;
}

/* Printed once, as soon as it can be estimated. */
static void estimate(struct ddpm_train_run *run, int64_t step, double each, double left)
{
    char all[DDPM_TEXT_BYTES];
    if (run->estimated || left < 0 || step >= run->steps)
        return;
    run->estimated = true;
    const double timed =
        step > run->outlook.patch_steps ? run->timed / run->outlook.patch_cost : run->timed;
    const bool late = run->timed > 0 && each > 1.2 * timed;
    ddpm_progress_remark(
        "estimated %s for the other %" PRId64 " steps, samples and checkpoints included%s",
        ddpm_time_text(all, left), run->steps - step,
        late ? ", more than planned: steps are slower than when they were timed" : "");
}

/* Measure the validation loss after the step just done. */
static ddpm_status validate(struct ddpm_train_run *run, struct ddpm_validation_result *measured)
{
    const double begin = ddpm_now();
    ddpm_status status = ddpm_run_validation_measure(&run->validation, run->trainer, measured);
    count_pause(run, &run->outlook.validations, begin);
    return status;
}

/* Log and show a step whose numbers have arrived. */
static ddpm_status account(struct ddpm_train_run *run, const struct ddpm_step_result *result)
{
    struct ddpm_validation_result measured;
    if (result->step == 0)
        return DDPM_OK;
    const bool due = ddpm_run_validation_due(&run->validation, result->step);
    const ddpm_status status = due ? validate(run, &measured) : DDPM_OK;
    DDPM_TRY(ddpm_run_log_append(&run->log, result, due && status == DDPM_OK ? &measured : NULL,
                                 run->pictures_per_step, run->unlogged));
    DDPM_TRY(status); /* the step itself is done and may be saved */
    run->unlogged = 0;
    if (ddpm_now() - run->flushed > FLUSH_SECONDS) {
        DDPM_TRY(ddpm_run_log_flush(&run->log));
        run->flushed = ddpm_now();
    }
    double each;
    const double left = ddpm_progress_rate(&run->progress, result->step, &each)
                            ? ddpm_outlook_left(&run->outlook, result->step, each)
                            : -1;
    ddpm_progress_train(&run->progress, result->step, result->loss, run->pictures_per_step, left);
    estimate(run, result->step, each, left);
    if (result->step == run->outlook.patch_steps)
        ddpm_progress_change(&run->progress, result->step);
    return DDPM_OK;
}

static ddpm_status flush(struct ddpm_train_run *run)
{
    struct ddpm_step_result result;
    double begin = ddpm_now();
    DDPM_TRY(ddpm_trainer_flush(run->trainer, &result));
    run->unlogged += ddpm_now() - begin;
    return account(run, &result);
}

/* A signal to one process is a signal to all. */
static void take_signal(struct ddpm_train_run *run, int signal)
{
    if (signal == 0)
        return;
    run->stopping = true;
    ddpm_take_signal(signal);
}

/* Should the run end here because of a signal? Several processes end once all of them know of
 * it. */
static bool is_stopped(const struct ddpm_train_run *run)
{
    return ddpm_processes_ranks() ? run->stopping : ddpm_caught_signal() != 0;
}

/* A step that failed may have returned the numbers of the one before it. */
static ddpm_status account_after_failure(struct ddpm_train_run *run,
                                         const struct ddpm_step_result *result, ddpm_status failure)
{
    char text[1024];
    snprintf(text, sizeof text, "%s", ddpm_error_message());
    if (result->step > 0 && result->step == ddpm_trainer_steps_done(run->trainer) &&
        ddpm_processes_lead())
        (void)account(run, result);
    return ddpm_raise(failure, "%s", text);
}

/* Queue a step. The numbers that come back may be those of the previous step; with `all`, wait
 * for this step's own, which checkpoints, samples and the end need. A failure on this process
 * alone reaches the others later, with the next step or in meet(). */
static ddpm_status one_step(struct ddpm_train_run *run, bool all)
{
    struct ddpm_step_result result = {0};
    double begin = ddpm_now();
    ddpm_trainer_note_signal(run->trainer, ddpm_caught_signal());
    const ddpm_status status = ddpm_trainer_step_late(run->trainer, &result);
    if (status != DDPM_OK && !ddpm_trainer_holds(run->trainer))
        return account_after_failure(run, &result, status);
    if (all) /* processes without an error wait for this one */
        DDPM_TRY(ddpm_trainer_collect_state(run->trainer));
    if (status != DDPM_OK)
        return DDPM_OK;
    take_signal(run, ddpm_trainer_agreed_signal(run->trainer));
    run->unlogged += ddpm_now() - begin;
    if (!ddpm_processes_lead())
        return DDPM_OK;
    ddpm_status accounted = account(run, &result);
    if (accounted == DDPM_OK && all)
        accounted = flush(run);
    return ddpm_trainer_hold(run->trainer, accounted);
}

/* Tell all processes what the leader did while they waited, and how it went. */
static ddpm_status meet(struct ddpm_train_run *run, ddpm_status status)
{
    struct ddpm_ranks *ranks = ddpm_processes_ranks();
    int signal = ddpm_caught_signal();
    if (ddpm_processes_lead())
        run->over = ddpm_run_validation_is_over(&run->validation);
    if (!ranks)
        return status;
    if (status == DDPM_OK)
        status = ddpm_trainer_take_held(run->trainer);
    status = ddpm_ranks_agree(ranks, status, &signal);
    take_signal(run, signal);
    DDPM_TRY(status);
    return ddpm_ranks_broadcast(ranks, 0, &run->over, sizeof run->over);
}

static bool due(int64_t every, int64_t step)
{
    return every > 0 && step > 0 && step % every == 0;
}

/* With a sharded state: can the leader still collect all of it for a checkpoint? A lost process
 * takes its part with it. */
static bool collect_last(struct ddpm_train_run *run)
{
    struct ddpm_ranks *ranks = ddpm_processes_ranks();
    bool wanted = !run->unsaved;
    return !ddpm_trainer_is_divided(run->trainer) ||
           (!ddpm_ranks_lost(ranks) &&
            ddpm_ranks_broadcast(ranks, 0, &wanted, sizeof wanted) == DDPM_OK && wanted &&
            ddpm_trainer_collect_state(run->trainer) == DDPM_OK);
}

/* After a failure that left the state intact: save the state, then report the failure. */
static ddpm_status save_last_good(struct ddpm_train_run *run, ddpm_status failure)
{
    char text[1024];
    if (failure == DDPM_ERROR_NOT_FINITE || failure == DDPM_ERROR_DEVICE)
        return failure;
    snprintf(text, sizeof text, "%s", ddpm_error_message());
    if (collect_last(run) && !run->unsaved && ddpm_processes_lead() && flush(run) == DDPM_OK &&
        ddpm_trainer_steps_done(run->trainer) > 0 && save(run, true) == DDPM_OK)
        ddpm_progress_remark("saved step %" PRId64 " in %s", run->saved, run->path);
    return ddpm_raise(failure, "%s", text);
}

/* What is due after a step, except validation. */
static ddpm_status save_and_sample(struct ddpm_train_run *run, int64_t step, bool saves)
{
    if (!ddpm_processes_lead() || ddpm_trainer_holds(run->trainer))
        return DDPM_OK;
    const ddpm_status status = saves ? save(run, false) : DDPM_OK;
    run->unsaved = status != DDPM_OK;
    DDPM_TRY(status);
    return due(run->sample_every, step) ? sample(run) : DDPM_OK;
}

/* One step, and what is due after it. */
static ddpm_status step_and_more(struct ddpm_train_run *run, int64_t step)
{
    const bool measured = ddpm_run_validation_due(&run->validation, step);
    const bool more = step == run->steps || measured || due(run->save_every, step) ||
                      due(run->sample_every, step);
    DDPM_TRY(one_step(run, more));
    if (!more)
        return DDPM_OK;
    if (due(run->save_every, step))
        DDPM_TRY(ddpm_trainer_compare_state(run->trainer));
    const bool saves = due(run->save_every, step) || (measured && run->validation.is_best);
    return meet(run, save_and_sample(run, step, saves));
}

/* The last checkpoint, and its grid. */
static ddpm_status finish(struct ddpm_train_run *run, int64_t step)
{
    const bool leads = ddpm_processes_lead();
    DDPM_TRY(ddpm_trainer_compare_state(run->trainer));
    DDPM_TRY(ddpm_trainer_collect_state(run->trainer));
    DDPM_TRY(meet(run, leads ? save(run, true) : DDPM_OK));
    DDPM_TRY(ddpm_check_signal());
    if (step < run->steps && leads)
        ddpm_run_validation_say_over(&run->validation);
    return meet(run, leads && run->sample_every > 0 ? sample(run) : DDPM_OK);
}

static ddpm_status train(struct ddpm_train_run *run)
{
    int64_t step = ddpm_trainer_steps_done(run->trainer);
    run->begun = step;
    ddpm_doing(DDPM_DOING_STEP, step);
    ddpm_catch_signals();
    ddpm_processes_tell_apart();
    ddpm_progress_start(&run->progress, step, run->steps);
    /* A run that was stopped between writing a checkpoint and its grid. */
    ddpm_status status =
        meet(run, due(run->sample_every, step) && ddpm_processes_lead() ? sample(run) : DDPM_OK);
    while (status == DDPM_OK && step < run->steps && !is_stopped(run) && !run->over) {
        ++step;
        ddpm_doing(DDPM_DOING_STEP, step);
        status = step_and_more(run, step);
    }
    if (status != DDPM_OK && status != DDPM_STOPPED)
        return save_last_good(run, status);
    DDPM_TRY(flush(run)); /* a signal came between two steps */
    return finish(run, step);
}

/* How the run ended, for the leader to print. */
static void say_end(const struct ddpm_train_run *run, ddpm_status status)
{
    char steps[DDPM_TEXT_BYTES];
    if ((status != DDPM_OK && status != DDPM_STOPPED) || !ddpm_processes_lead())
        return;
    if (status == DDPM_OK && run->begun == run->steps)
        ddpm_progress_remark("nothing to do: %s has all its %s steps; --steps N trains on",
                             run->path, ddpm_count_text(steps, run->steps));
    else if (status == DDPM_OK)
        ddpm_progress_remark("done, newest checkpoint of step %" PRId64 " in %s", run->saved,
                             run->path);
    else
        ddpm_progress_remark("stopped, newest checkpoint of step %" PRId64
                             " in %s; ddpm train --resume %s continues it",
                             run->saved, run->path, run->path);
}

ddpm_status ddpm_train(const struct ddpm_arguments *arguments, bool distills)
{
    struct ddpm_train_run run = {.start = {.distills = distills}, .started = ddpm_now()};
    ddpm_status status = ddpm_train_prepare(arguments, &run);
    if (status == DDPM_OK) {
        if (ddpm_processes_lead())
            ddpm_train_describe(&run);
        status = train(&run);
        ddpm_progress_clear();
        say_end(&run, status);
        if (status == DDPM_ERROR_IO)
            ddpm_run_space_hint(run.path, run.checkpoint_bytes);
        if (status == DDPM_STOPPED && run.requeue)
            status = DDPM_OK;
    }
    ddpm_progress_clear();
    ddpm_run_validation_close(&run.validation);
    ddpm_run_log_close(&run.log);
    ddpm_trainer_destroy(&run.trainer);
    ddpm_network_destroy(&run.network);
    ddpm_data_close(&run.data);
    ddpm_config_destroy(&run.config);
    ddpm_run_start_close(&run.start);
    json_decref(run.places);
    return status;
}

static ddpm_status run_verb(const struct ddpm_arguments *arguments)
{
    return ddpm_train(arguments, false);
}

static const struct ddpm_verb_option options[] = {
    {"out", 'o', true, "RUN", "folder of the new run, or of an existing run with --resume"},
    {"config", 'c', false, "FILE.json", "read options from this file; the command line wins"},
    {"resume", 'r', false, NULL,
     "continue from the newest checkpoint of the run; --out may be omitted: --resume RUN"},
    {"pretrained", 0, false, "MODEL",
     "start with the EMA weights of this run, checkpoint or .safetensors file, and with the "
     "network "
     "and diffusion options of the run or checkpoint; options that you give yourself win"},
    {"requeue-exit", 0, false, NULL, "after a signal to stop, save and exit with 0"},
    {"time", 0, false, "TIME",
     "train as many steps as fit into this time, such as 10m or 1h30m, instead of --steps; their "
     "number is fixed at the start, so a run takes longer if the machine gets busier"},
};

static const char *const common[] = {"image-size",  "channels",   "recipe",     "time",
                                     "steps",       "batch-size", "lr",         "network",
                                     "dim",         "dim-mults",  "save-every", "sample-every",
                                     "num-samples", "seed",       "device",     "pretrained",
                                     "resume",      "config",     NULL};

const struct ddpm_verb ddpm_verb_train = {
    .name = "train",
    .arguments = "",
    .argument_count = 0,
    .argument_flag = "resume",
    .summary = "Train a model on a folder of pictures.",
    .notes =
        "On Ctrl-C or the signals TERM, HUP, USR1, USR2 and XCPU (soft limit on processor time),\n"
        "ddpm finishes the step, saves and exits with 128 + signal. A second Ctrl-C or TERM quits\n"
        "at once, without saving. Signals that are ignored at the start stay ignored (nohup, &).\n"
        "--data is required, except with --resume or when --config names the data.\n"
        "--seed auto draws a seed and prints it.\n",
    .examples =
        "  ddpm train --data pictures --out runs/first --image-size 32 --dim 32 --recipe fast "
        "--time 10m\n"
        "  ddpm train --data pictures --out runs/hour --recipe best --image-size 64 --time 1h\n"
        "  ddpm train --resume runs/first --steps 50000\n"
        "  ddpm train --data others --out runs/others --pretrained runs/first --recipe fast --time "
        "10m\n",
    .common = common,
    .needed = "data",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .every_setting = true,
    .joins = true,
    .run = run_verb,
};

/* ddpm train: a run from its options to its last checkpoint.
 *
 *     RUN/config.json                      every option in force, version, hash of the pictures
 *     RUN/log.csv                          one row per step (run_log.c)
 *     RUN/validation.csv, hashes.npy       where pictures are set aside (run_validation.c)
 *     RUN/samples/step-NNNNNN.png          grids drawn with the EMA weights
 *     RUN/checkpoints/step-NNNNNN/, latest, best (the library) */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include <ddpm/trainer.h>

#include "options.h"
#include "outlook.h"
#include "progress.h"
#include "run_config.h"
#include "run_folder.h"
#include "run_log.h"
#include "run_pictures.h"
#include "run_samples.h"
#include "run_validation.h"
#include "train_run.h"

/* Seconds between two writes of the log. */
enum { FLUSH_SECONDS = 2 };

struct run {
    const char *path;
    bool resume, again; /* `again`: started before, but without a checkpoint */
    struct ddpm_run_start start;
    char checkpoint[PATH_MAX]; /* to resume from */
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
    struct ddpm_run_log log;
    struct ddpm_progress progress;
    int64_t steps, save_every, sample_every, pictures_per_step;
    struct ddpm_run_samples samples;
    struct ddpm_run_validation validation;
    int64_t evaluations; /* of the network for a sample */
    int64_t saved;       /* step of the newest checkpoint; -1: none */
    struct ddpm_outlook outlook;
    bool estimated; /* the time of the whole run was told */
    double flushed;
    double unlogged; /* seconds of steps since the last row of the log */
};

static ddpm_status read_numbers(struct run *run)
{
    const struct ddpm_training_config *training = &run->config->training;
    run->steps = training->steps;
    run->save_every = training->save_every;
    run->sample_every = training->sample_every;
    run->pictures_per_step = training->batch_size * training->accumulate;
    run->outlook = (struct ddpm_outlook){
        .steps = run->steps, .save_every = run->save_every, .sample_every = run->sample_every};
    DDPM_TRY(ddpm_run_samples_plan(&run->samples, run->path, run->config));
    if (ddpm_run_samples_wanted(&run->samples))
        run->outlook.grid_in_steps =
            ddpm_grid_in_steps(run->evaluations, training->num_samples, run->pictures_per_step);
    return DDPM_OK;
}

/* Everything that the run will allocate, before any of it is. */
static ddpm_status check_memory(struct run *run)
{
    struct ddpm_memory_plan training;
    DDPM_TRY(ddpm_trainer_check_memory(run->network, run->config, 0));
    DDPM_TRY(ddpm_trainer_measure(run->network, run->config, &training));
    run->samples.network = run->network;
    return ddpm_run_samples_measure(&run->samples, training.activations + training.packed +
                                                       training.weights + training.host);
}

/* Lock a run that is there, before anything in it is looked at; find the checkpoint to go on from.
 */
static ddpm_status take_over(struct run *run)
{
    if (!run->resume)
        DDPM_TRY(ddpm_run_folder_check_new(run->path, &run->again));
    if (run->resume || run->again)
        DDPM_TRY(ddpm_run_log_open(&run->log, run->path));
    if (run->resume)
        return ddpm_run_folder_checkpoint(run->path, run->checkpoint, sizeof run->checkpoint);
    return ddpm_run_folder_check_new(run->path, &run->again); /* once more, now locked */
}

static ddpm_status plan_validation(struct run *run)
{
    DDPM_TRY(ddpm_run_validation_plan(&run->validation, run->trainer, run->config));
    run->outlook.validate_every = run->validation.every;
    run->outlook.validation_in_steps = run->validation.plan.cost_in_steps;
    return DDPM_OK;
}

/* Prepare the folder for the first step, and find out now what would fail later. */
static ddpm_status prepare_folder(struct run *run)
{
    bool mine;
    DDPM_TRY(ddpm_run_folder_create(run->path));
    if (!run->log.file) { /* another run may have come and gone meanwhile */
        DDPM_TRY(ddpm_run_log_open(&run->log, run->path));
        DDPM_TRY(ddpm_run_folder_check_new(run->path, &mine));
    }
    run->log.validates = run->validation.plan.pictures > 0;
    ddpm_run_folder_clean(run->path, run->checkpoint, run->again);
    DDPM_TRY(ddpm_run_folder_probe(run->path, run->steps));
    DDPM_TRY(ddpm_run_log_begin(&run->log, ddpm_trainer_steps_done(run->trainer)));
    DDPM_TRY(ddpm_run_validation_begin(&run->validation, run->path,
                                       ddpm_trainer_steps_done(run->trainer)));
    DDPM_TRY(ddpm_run_pictures_keep(run->path, run->data));
    return ddpm_run_folder_write_config(run->path, run->config, ddpm_data_fingerprint(run->data));
}

/* Everything that can fail without a trace on disk, then the run's folder. */
static ddpm_status prepare(const struct ddpm_arguments *arguments, struct run *run)
{
    run->path = ddpm_arguments_get(arguments, "out");
    run->resume = ddpm_arguments_get(arguments, "resume") != NULL;
    run->saved = -1;
    run->start.path = run->path;
    run->start.resume = run->resume;
    run->start.teacher = arguments->arguments[0];
    DDPM_TRY(ddpm_run_config_read(arguments, &run->start, &run->config, &run->evaluations));
    DDPM_TRY(read_numbers(run));
    DDPM_TRY(ddpm_run_pictures_settle(arguments, run->config,
                                      run->resume ? run->path : run->start.teacher));
    if (run->resume)
        DDPM_TRY(ddpm_run_folder_check_latest(run->path, run->steps));
    DDPM_TRY(take_over(run));
    DDPM_TRY(ddpm_run_pictures_open(run->path, run->config, &run->data));
    DDPM_TRY(ddpm_network_declare(NULL, run->config, &run->network));
    DDPM_TRY(check_memory(run));
    DDPM_TRY(ddpm_network_allocate(run->network));
    DDPM_TRY(ddpm_run_start_weights(&run->start, run->network));
    DDPM_TRY(ddpm_trainer_create(run->network, run->config, run->data, &run->trainer));
    if (run->resume) {
        DDPM_TRY(ddpm_trainer_resume(run->trainer, run->checkpoint));
        run->saved = ddpm_trainer_steps_done(run->trainer);
        DDPM_TRY(ddpm_run_folder_check_steps(run->path, run->steps, run->saved));
    }
    DDPM_TRY(plan_validation(run));
    return prepare_folder(run);
}

static void describe(const struct run *run)
{
    char a[DDPM_TEXT_BYTES], b[DDPM_TEXT_BYTES], planned[DDPM_MEMORY_TEXT_BYTES];
    char network[64] = "";
    struct ddpm_memory_plan memory = ddpm_trainer_memory(run->trainer);
    (void)ddpm_config_get(run->config, "network", network, sizeof network);
    ddpm_progress_remark("network   %s, %s parameters", network,
                         ddpm_count_text(a, ddpm_network_weight_count(run->network)));
    ddpm_progress_remark("device    %s", ddpm_network_device(run->network));
    ddpm_progress_remark("memory    %s", ddpm_memory_text(planned, &memory, "planned"));
    if (run->samples.bytes > 0)
        ddpm_progress_remark("          %s more while samples are drawn",
                             ddpm_bytes_text(a, (double)run->samples.bytes));
    ddpm_run_pictures_describe(run->data, run->config, run->pictures_per_step);
    ddpm_run_validation_describe(&run->validation);
    if (run->start.distills && !run->resume)
        ddpm_progress_remark("begins    from %s, to draw in %" PRId64 " step%s", run->start.teacher,
                             run->evaluations, run->evaluations == 1 ? "" : "s");
    ddpm_progress_remark("run       %s, step %s of %s", run->path,
                         ddpm_count_text(a, ddpm_trainer_steps_done(run->trainer)),
                         ddpm_count_text(b, run->steps));
}

/* Time that passed beside the steps, since `begin`. */
static void count_pause(struct run *run, struct ddpm_share *share, double begin)
{
    const double seconds = ddpm_clock() - begin;
    ddpm_share_add(share, seconds);
    run->progress.paused += seconds;
}

/* Begin a checkpoint of this step unless there is one; `wait` until it is whole. */
static ddpm_status save(struct run *run, bool wait)
{
    const int64_t step = ddpm_trainer_steps_done(run->trainer);
    const bool best = run->validation.is_best && run->validation.curves.best.step == step;
    const double begin = ddpm_clock();
    ddpm_doing(DDPM_DOING_CHECKPOINT, step);
    if (run->saved != step) {
        /* The log first: a checkpoint never knows of steps that the log does not. */
        DDPM_TRY(ddpm_run_log_flush(&run->log));
        DDPM_TRY(best ? ddpm_trainer_save_best_begin(run->trainer, run->path)
                      : ddpm_trainer_save_begin(run->trainer, run->path));
        run->saved = step;
        count_pause(run, &run->outlook.checkpoints, begin);
    }
    return wait ? ddpm_trainer_save_end(run->trainer) : DDPM_OK;
}

/* Draw the grid of the current step, unless there is none to draw or it is there already. */
static ddpm_status sample(struct run *run)
{
    const int64_t step = ddpm_trainer_steps_done(run->trainer);
    const double begin = ddpm_clock();
    bool drawn;
    if (!ddpm_run_samples_wanted(&run->samples))
        return DDPM_OK;
    ddpm_doing(DDPM_DOING_SAMPLES, step);
    ddpm_status status = ddpm_run_samples_draw(&run->samples, step, &drawn);
    if (drawn)
        count_pause(run, &run->outlook.grids, begin);
    return status;
}

/* Once, as soon as it can be said. */
static void estimate(struct run *run, int64_t step, double left)
{
    char all[DDPM_TEXT_BYTES];
    if (run->estimated || left < 0 || step >= run->steps)
        return;
    run->estimated = true;
    ddpm_progress_remark("estimated %s for the other %" PRId64
                         " steps, samples and checkpoints included",
                         ddpm_time_text(all, left), run->steps - step);
}

/* Measure the validation loss of the step just done. */
static ddpm_status validate(struct run *run, struct ddpm_validation_result *measured)
{
    const double begin = ddpm_clock();
    ddpm_status status = ddpm_run_validation_measure(&run->validation, run->trainer, measured);
    count_pause(run, &run->outlook.validations, begin);
    return status;
}

/* Log and show a step whose numbers have come. */
static ddpm_status account(struct run *run, const struct ddpm_step_result *result)
{
    struct ddpm_validation_result measured;
    if (result->step == 0)
        return DDPM_OK;
    const bool due = ddpm_run_validation_due(&run->validation, result->step);
    const ddpm_status status = due ? validate(run, &measured) : DDPM_OK;
    DDPM_TRY(ddpm_run_log_append(&run->log, result, due && status == DDPM_OK ? &measured : NULL,
                                 run->pictures_per_step, run->unlogged));
    DDPM_TRY(status); /* the step itself is done, and may be saved */
    run->unlogged = 0;
    if (ddpm_clock() - run->flushed > FLUSH_SECONDS) {
        DDPM_TRY(ddpm_run_log_flush(&run->log));
        run->flushed = ddpm_clock();
    }
    double each;
    const double left = ddpm_progress_rate(&run->progress, result->step, &each)
                            ? ddpm_outlook_left(&run->outlook, result->step, each)
                            : -1;
    ddpm_progress_train(&run->progress, result->step, result->loss, run->pictures_per_step, left);
    estimate(run, result->step, left);
    return DDPM_OK;
}

static ddpm_status flush(struct run *run)
{
    struct ddpm_step_result result;
    double begin = ddpm_clock();
    DDPM_TRY(ddpm_trainer_flush(run->trainer, &result));
    run->unlogged += ddpm_clock() - begin;
    return account(run, &result);
}

/* Queue a step; the numbers that come back may be those of the step before. With `all`, wait for
 * its own too: for checkpoints, samples and the end. */
static ddpm_status one_step(struct run *run, bool all)
{
    struct ddpm_step_result result;
    double begin = ddpm_clock();
    DDPM_TRY(ddpm_trainer_step_late(run->trainer, &result));
    run->unlogged += ddpm_clock() - begin;
    DDPM_TRY(account(run, &result));
    return all ? flush(run) : DDPM_OK;
}

static bool due(int64_t every, int64_t step)
{
    return every > 0 && step > 0 && step % every == 0;
}

/* A failure that does not lie in the state itself: save that before the failure is told. */
static ddpm_status save_last_good(struct run *run, ddpm_status failure)
{
    char text[1024];
    if (failure == DDPM_ERROR_NOT_FINITE || failure == DDPM_ERROR_DEVICE)
        return failure;
    snprintf(text, sizeof text, "%s", ddpm_error_message());
    if (flush(run) == DDPM_OK && ddpm_trainer_steps_done(run->trainer) > 0 &&
        save(run, true) == DDPM_OK)
        ddpm_progress_remark("saved step %" PRId64 " in %s", run->saved, run->path);
    return ddpm_raise(failure, "%s", text);
}

static ddpm_status train(struct run *run)
{
    int64_t step = ddpm_trainer_steps_done(run->trainer);
    ddpm_doing(DDPM_DOING_STEP, step);
    ddpm_catch_signals();
    ddpm_progress_start(&run->progress, step, run->steps);
    /* A run that was stopped between a checkpoint and its grid. */
    ddpm_status status = due(run->sample_every, step) ? sample(run) : DDPM_OK;
    while (status == DDPM_OK && step < run->steps && !ddpm_caught_signal() &&
           !ddpm_run_validation_is_over(&run->validation)) {
        ++step;
        ddpm_doing(DDPM_DOING_STEP, step);
        const bool measured = ddpm_run_validation_due(&run->validation, step);
        status = one_step(run, step == run->steps || measured || due(run->save_every, step) ||
                                   due(run->sample_every, step));
        if (status != DDPM_OK)
            return save_last_good(run, status);
        if (due(run->save_every, step) || (measured && run->validation.is_best))
            DDPM_TRY(save(run, false));
        if (due(run->sample_every, step))
            status = sample(run);
    }
    if (status != DDPM_OK && status != DDPM_STOPPED)
        return save_last_good(run, status);
    DDPM_TRY(flush(run)); /* a signal came between two steps */
    DDPM_TRY(save(run, true));
    DDPM_TRY(ddpm_check_signal());
    if (step < run->steps)
        ddpm_run_validation_say_over(&run->validation);
    return run->sample_every > 0 ? sample(run) : DDPM_OK;
}

ddpm_status ddpm_train_run(const struct ddpm_arguments *arguments, bool distills)
{
    struct run run = {.start = {.distills = distills}};
    ddpm_status status = prepare(arguments, &run);
    if (status == DDPM_OK) {
        describe(&run);
        status = train(&run);
        ddpm_progress_clear();
        if (status == DDPM_OK || status == DDPM_STOPPED)
            ddpm_progress_remark("%s, newest checkpoint of step %" PRId64 " in %s",
                                 status == DDPM_OK ? "done" : "stopped", run.saved, run.path);
    }
    ddpm_progress_clear();
    ddpm_run_validation_close(&run.validation);
    ddpm_run_log_close(&run.log);
    ddpm_trainer_destroy(&run.trainer);
    ddpm_network_destroy(&run.network);
    ddpm_data_close(&run.data);
    ddpm_config_destroy(&run.config);
    return status;
}

static ddpm_status run_verb(const struct ddpm_arguments *arguments)
{
    return ddpm_train_run(arguments, false);
}

static const struct ddpm_verb_option options[] = {
    {"out", 'o', true, "RUN", "folder of the run: a new one, or with --resume one that is there"},
    {"config", 'c', false, "FILE.json", "options from a file; those of the command line win"},
    {"resume", 'r', false, NULL,
     "go on from the newest checkpoint of the run; its folder may follow without --out"},
};

const struct ddpm_verb ddpm_verb_train = {
    .name = "train",
    .arguments = "",
    .argument_count = 0,
    .argument_flag = "resume",
    .summary = "Train a model on a folder of pictures.",
    .notes =
        "Ctrl-C, and the signals TERM, HUP, USR1, USR2 and XCPU (the soft limit of processor\n"
        "time), finish the step, save and exit with 128 + signal. A second Ctrl-C or TERM quits\n"
        "at once, without saving. Signals that are ignored at the start stay so (nohup, &).\n",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .every_setting = true,
    .run = run_verb,
};

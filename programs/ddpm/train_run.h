/* A training run, for the verbs train and distill. */
#ifndef DDPM_PROGRAM_TRAIN_RUN_H
#define DDPM_PROGRAM_TRAIN_RUN_H

#include <limits.h>

#include <ddpm/trainer.h>
#include <jansson.h>

#include "options.h"
#include "outlook.h"
#include "progress.h"
#include "run_config.h"
#include "run_log.h"
#include "run_samples.h"
#include "run_validation.h"

struct ddpm_train_run {
    const char *path;
    bool resume, again; /* `again`: it was started before, but has no checkpoint */
    struct ddpm_run_start start;
    char checkpoint[PATH_MAX]; /* to resume from */
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
    struct ddpm_run_log log;
    struct ddpm_progress progress;
    double started; /* when this process began, ddpm_now() */
    double timed;   /* with --time: seconds that one of the first steps takes; else 0 */
    double seconds; /* --time of a new run; 0: --steps sets the length */
    int64_t begun;  /* steps done before this start */
    int64_t steps, save_every, sample_every, pictures_per_step;
    struct ddpm_run_samples samples;
    struct ddpm_run_validation validation;
    int64_t evaluations; /* network evaluations per sample */
    json_t *places;      /* run_places.h; NULL unless this process leads */
    uint64_t checkpoint_bytes;
    int64_t saved; /* step of the newest checkpoint; -1: none */
    struct ddpm_outlook outlook;
    bool estimated; /* the time of the whole run was printed */
    double flushed;
    bool stopping;   /* all processes know of a signal */
    bool over;       /* patience has run out */
    bool requeue;    /* a signal to stop is not a failure */
    bool unsaved;    /* a checkpoint could not be written */
    double unlogged; /* seconds of steps since the last row of the log */
};

/* Train as the arguments say. With `distills`, a new run starts from the first argument. */
ddpm_status ddpm_train(const struct ddpm_arguments *arguments, bool distills);

/* Get everything ready for the first step. */
ddpm_status ddpm_train_prepare(const struct ddpm_arguments *arguments, struct ddpm_train_run *run);

/* Print what will be trained. */
void ddpm_train_describe(const struct ddpm_train_run *run);

#endif

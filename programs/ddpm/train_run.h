/* A run that trains, for the verbs that do: train and distill. */
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
    bool resume, again; /* `again`: started before, but without a checkpoint */
    struct ddpm_run_start start;
    char checkpoint[PATH_MAX]; /* to resume from */
    struct ddpm_config *config;
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_trainer *trainer;
    struct ddpm_run_log log;
    struct ddpm_progress progress;
    double seconds; /* --time of a new run; 0: --steps says how long it is */
    int64_t steps, save_every, sample_every, pictures_per_step;
    struct ddpm_run_samples samples;
    struct ddpm_run_validation validation;
    int64_t evaluations; /* of the network for a sample */
    json_t *places;      /* run_places.h; NULL but where this process leads */
    int64_t saved;       /* step of the newest checkpoint; -1: none */
    struct ddpm_outlook outlook;
    bool estimated; /* the time of the whole run was told */
    double flushed;
    bool stopping;   /* all processes know of a signal */
    bool over;       /* patience has run out */
    bool requeue;    /* a signal that asks to stop is no failure */
    bool unsaved;    /* a checkpoint could not be written */
    double unlogged; /* seconds of steps since the last row of the log */
};

/* Train as the arguments say; with `distills` a new run begins from the first argument. */
ddpm_status ddpm_train(const struct ddpm_arguments *arguments, bool distills);

/* Get everything ready for the first step. */
ddpm_status ddpm_train_prepare(const struct ddpm_arguments *arguments, struct ddpm_train_run *run);

/* Say what will be trained. */
void ddpm_train_describe(const struct ddpm_train_run *run);

#endif

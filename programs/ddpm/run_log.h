/* log.csv of a run: one row per step,
 *
 *     step,loss,lr,grad_norm,images_per_second,seconds
 *
 * and of a run that validates also validation_loss,training_ema_loss, which are empty where nothing
 * was measured. `seconds` counts the time spent training, over all its parts. While it is open the
 * run is locked (run_lock.h). */
#ifndef DDPM_PROGRAM_RUN_LOG_H
#define DDPM_PROGRAM_RUN_LOG_H

#include <stdbool.h>
#include <stdio.h>

#include <ddpm/trainer.h>

#include "core/error.h"
#include "run_lock.h"

struct ddpm_run_log {
    FILE *file;
    char *path;
    double seconds; /* of the last row */
    bool validates; /* the run's rows have the columns of validation */
    struct ddpm_run_lock lock;
};

/* Open RUN/log.csv and lock the run. A missing file is made; one that is there stays as it is.
 * DDPM_ERROR_IO when another process trains into the run. */
ddpm_status ddpm_run_log_open(struct ddpm_run_log *log, const char *run);

/* Go on after step `step`: rows of later steps and half rows go away, as if they had never been. */
ddpm_status ddpm_run_log_begin(struct ddpm_run_log *log, int64_t step);

/* Append a row; `measured`: what was measured after the step, or NULL. It reaches the disk with the
 * next ddpm_run_log_flush(). */
ddpm_status ddpm_run_log_append(struct ddpm_run_log *log, const struct ddpm_step_result *result,
                                const struct ddpm_validation_result *measured, int64_t pictures,
                                double seconds);
ddpm_status ddpm_run_log_flush(struct ddpm_run_log *log);

/* The column `seconds` of a row; 0 where it has none. */
double ddpm_run_log_seconds(const char *row);

void ddpm_run_log_close(struct ddpm_run_log *log);

#endif

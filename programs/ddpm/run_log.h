/* log.csv of a run: one row per step,
 *
 *     step,loss,lr,grad_norm,images_per_second,seconds
 *
 * and, if the run validates, also validation_loss,training_ema_loss, which are empty where nothing
 * was measured. `seconds` is the time spent training, over all resumes. The run is locked while its
 * log is open (run_lock.h). */
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
    bool validates; /* the rows have validation columns */
    struct ddpm_run_lock lock;
};

/* Open RUN/log.csv and lock the run. Creates a missing file and leaves an existing one as it is.
 * DDPM_ERROR_IO if another process trains into the run. */
ddpm_status ddpm_run_log_open(struct ddpm_run_log *log, const char *run);

/* Continue after step `step`: rows of later steps and incomplete rows are deleted.
 * DDPM_ERROR_FORMAT if the file is not a log of this run. */
ddpm_status ddpm_run_log_begin(struct ddpm_run_log *log, int64_t step);

/* Append a row; `measured` is what was measured after the step, or NULL. It reaches the disk with
 * the next ddpm_run_log_flush(). */
ddpm_status ddpm_run_log_append(struct ddpm_run_log *log, const struct ddpm_step_result *result,
                                const struct ddpm_validation_result *measured, int64_t pictures,
                                double seconds);
ddpm_status ddpm_run_log_flush(struct ddpm_run_log *log);

/* The column `seconds` of a row; 0 if it has none. */
double ddpm_run_log_seconds(const char *row);

void ddpm_run_log_close(struct ddpm_run_log *log);

#endif

/* The validation loss of a run: when it is measured, RUN/validation.csv, and what is printed.
 *
 *     step,validation_loss,training_ema_loss,validation_band_1,…,training_band_8
 *
 * Numbers are written with all their digits, so that a resumed run compares with the exact best. */
#ifndef DDPM_PROGRAM_RUN_VALIDATION_H
#define DDPM_PROGRAM_RUN_VALIDATION_H

#include <stdio.h>

#include <ddpm/trainer.h>

#include "config/config.h"
#include "core/error.h"
#include "curves.h"

struct ddpm_run_validation {
    struct ddpm_validation_plan plan; /* pictures 0: the run does not validate */
    int64_t every, steps, patience;
    bool at_end;  /* also after the last step, whatever its number */
    bool is_best; /* was the last measurement the best so far? */
    struct ddpm_curves curves;
    FILE *file;
    char *path;
};

/* Decide when `trainer` measures. If validate-every is 0, choose it, in `config` too: at most 2 %
 * of the run's time, and a multiple of save-every, so that the best step gets a checkpoint
 * anyway. */
ddpm_status ddpm_run_validation_plan(struct ddpm_run_validation *validation,
                                     const struct ddpm_trainer *trainer,
                                     struct ddpm_config *config);

/* Does the run measure after this step? */
bool ddpm_run_validation_due(const struct ddpm_run_validation *validation, int64_t step);

/* Print how many of the `pictures` are held out, and what measuring costs. */
void ddpm_run_validation_describe(const struct ddpm_run_validation *validation, int64_t pictures);

/* Open the file in folder `run` and continue after step `step`: earlier measurements count, later
 * and incomplete rows are deleted. A run that does not validate deletes the file. */
ddpm_status ddpm_run_validation_begin(struct ddpm_run_validation *validation, const char *run,
                                      int64_t step);

/* Measure now, write the row and print the result. */
ddpm_status ddpm_run_validation_measure(struct ddpm_run_validation *validation,
                                        struct ddpm_trainer *trainer,
                                        struct ddpm_validation_result *result);

/* Has `patience` run out? */
bool ddpm_run_validation_is_over(const struct ddpm_run_validation *validation);
void ddpm_run_validation_say_over(const struct ddpm_run_validation *validation);

void ddpm_run_validation_close(struct ddpm_run_validation *validation);

/* Add the measurements of a validation.csv up to `step` to `curves`; *end is the file offset
 * after them. */
ddpm_status ddpm_run_validation_read(FILE *file, int64_t step, struct ddpm_curves *curves,
                                     long *end);

#endif

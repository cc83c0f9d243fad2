/* The validation loss of a run: when it is measured, RUN/validation.csv, what is said about it.
 *
 *     step,validation_loss,training_ema_loss,validation_band_1,…,training_band_8
 *
 * Numbers have all their digits, so that a run that goes on knows its best as it did before. */
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
    bool at_end;  /* after the last step too, whatever its number */
    bool is_best; /* the last measurement is the best so far */
    struct ddpm_curves curves;
    FILE *file;
    char *path;
};

/* Settle when `trainer` measures; where validate-every is 0 it is chosen, in `config` too: a
 * multiple of save-every, so that a best checkpoint is one that is written anyway, for at most 2 %
 * of the run's time. */
ddpm_status ddpm_run_validation_plan(struct ddpm_run_validation *validation,
                                     const struct ddpm_trainer *trainer,
                                     struct ddpm_config *config);

/* Does the run measure after this step? */
bool ddpm_run_validation_due(const struct ddpm_run_validation *validation, int64_t step);

/* Say what is set aside, and what measuring costs. */
void ddpm_run_validation_describe(const struct ddpm_run_validation *validation);

/* Open the file in folder `run` and go on after step `step`: what was measured up to there counts,
 * later rows and half rows go away. The file of a run that does not validate is removed. */
ddpm_status ddpm_run_validation_begin(struct ddpm_run_validation *validation, const char *run,
                                      int64_t step);

/* Measure now, write the row and say the numbers. */
ddpm_status ddpm_run_validation_measure(struct ddpm_run_validation *validation,
                                        struct ddpm_trainer *trainer,
                                        struct ddpm_validation_result *result);

/* Has `patience` run out? */
bool ddpm_run_validation_is_over(const struct ddpm_run_validation *validation);
void ddpm_run_validation_say_over(const struct ddpm_run_validation *validation);

void ddpm_run_validation_close(struct ddpm_run_validation *validation);

/* Add the measurements of a validation.csv up to `step` to `curves`; *end is where they end. */
ddpm_status ddpm_run_validation_read(FILE *file, int64_t step, struct ddpm_curves *curves,
                                     long *end);

#endif

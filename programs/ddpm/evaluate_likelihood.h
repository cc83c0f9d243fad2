/* How likely a model holds real pictures to be: what `ddpm evaluate --likelihood` does instead of a
 * comparison. */
#ifndef DDPM_PROGRAM_EVALUATE_LIKELIHOOD_H
#define DDPM_PROGRAM_EVALUATE_LIKELIHOOD_H

#include <ddpm/likelihood.h>

#include "options.h"

/* DDPM_ERROR_ARGUMENT for an option of the likelihood without --likelihood, or with it one that
 * only comparisons have. */
ddpm_status ddpm_evaluate_check_likelihood(const struct ddpm_arguments *arguments);

/* Measure the pictures of --against, `most` at most, and print what has come out. */
ddpm_status ddpm_evaluate_likelihood(const struct ddpm_arguments *arguments, int64_t most);

/* What has been measured, on stdout; `path` is that of the pictures, with that size. */
struct ddpm_likelihood_report {
    const struct ddpm_likelihood_result *result;
    const struct ddpm_likelihood_options *options; /* in force */
    const struct ddpm_config *config;              /* the model's */
    const char *path;
};

/* "the variational bound at 50 of 1000 timesteps", written to `text`, which is returned. */
#define DDPM_LIKELIHOOD_TEXT_BYTES 160
const char *ddpm_likelihood_text(const struct ddpm_likelihood_report *report,
                                 char text[DDPM_LIKELIHOOD_TEXT_BYTES]);

void ddpm_likelihood_print(const struct ddpm_likelihood_report *report);
ddpm_status ddpm_likelihood_print_json(const struct ddpm_likelihood_report *report);

#endif

/* The likelihood of real pictures under a model: `ddpm evaluate --likelihood` measures it instead
 * of a comparison. */
#ifndef DDPM_PROGRAM_EVALUATE_LIKELIHOOD_H
#define DDPM_PROGRAM_EVALUATE_LIKELIHOOD_H

#include <ddpm/likelihood.h>

#include "options.h"

/* DDPM_ERROR_ARGUMENT for a likelihood option without --likelihood, or with it for an option of
 * comparisons. */
ddpm_status ddpm_evaluate_check_likelihood(const struct ddpm_arguments *arguments);

/* Measure at most `most` of the pictures of --against, and print the result. */
ddpm_status ddpm_evaluate_likelihood(const struct ddpm_arguments *arguments, int64_t most);

/* Print the result on stdout; `path` is that of the pictures, which have this size. */
struct ddpm_likelihood_report {
    const struct ddpm_likelihood_result *result;
    const struct ddpm_likelihood_options *options; /* the options used */
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

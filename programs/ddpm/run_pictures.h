/* The pictures of a run: where they are, which of them it trains on, what is said about them. */
#ifndef DDPM_PROGRAM_RUN_PICTURES_H
#define DDPM_PROGRAM_RUN_PICTURES_H

#include <ddpm/trainer.h>

#include "options.h"

/* Make the paths of options data and validation absolute. Of a run that goes on (`run`; else NULL)
 * those that the command line does not give must still be there. */
ddpm_status ddpm_run_pictures_settle(const struct ddpm_arguments *arguments,
                                     struct ddpm_config *config, const char *run);

/* Open the pictures that `config` names, set some aside, and fill in what the configuration leaves
 * to them. What RUN/hashes.npy knows of their contents is not found out again. */
ddpm_status ddpm_run_pictures_open(const char *run, struct ddpm_config *config,
                                   struct ddpm_data **out);

/* Write RUN/hashes.npy, where pictures are set aside. */
ddpm_status ddpm_run_pictures_keep(const char *run, const struct ddpm_data *data);

/* Say how many there are. */
void ddpm_run_pictures_describe(const struct ddpm_data *data, const struct ddpm_config *config,
                                int64_t per_step);

#endif

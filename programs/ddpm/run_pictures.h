/* The pictures of a run: where they are, which ones it trains on, and what is printed about
 * them. */
#ifndef DDPM_PROGRAM_RUN_PICTURES_H
#define DDPM_PROGRAM_RUN_PICTURES_H

#include <ddpm/trainer.h>

#include "options.h"

/* With fewer pictures than this there is a warning, with this text. */
enum { DDPM_FEW_PICTURES = 200 };
#define DDPM_FEW_PICTURES_TEXT                                                                     \
    "only a few pictures: a model may learn them by heart; a few hundred or more are better"

/* Make the paths of options data and validation absolute. If a run is resumed (`run`, else NULL),
 * paths that the command line does not give must still exist. */
ddpm_status ddpm_run_pictures_settle(const struct ddpm_arguments *arguments,
                                     struct ddpm_config *config, const char *run);

/* Open the pictures that `config` names, hold some out, and set the options of `config` that
 * depend on them. Contents that RUN/hashes.npy already describes are not hashed again. */
ddpm_status ddpm_run_pictures_open(const char *run, struct ddpm_config *config,
                                   struct ddpm_data **out);

/* Write RUN/hashes.npy, if pictures are held out. */
ddpm_status ddpm_run_pictures_keep(const char *run, const struct ddpm_data *data);

/* Print how many there are. */
void ddpm_run_pictures_describe(const struct ddpm_data *data, const struct ddpm_config *config,
                                int64_t per_step);

#endif

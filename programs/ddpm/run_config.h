/* The options of a run, from whatever it starts with. */
#ifndef DDPM_PROGRAM_RUN_CONFIG_H
#define DDPM_PROGRAM_RUN_CONFIG_H

#include "options.h"
#include "run_start.h"

/* Start with the defaults, the options of the resumed run, or those of the teacher with what
 * distilling changes; with --pretrained, take over the network and the diffusion of that model.
 * Then apply --config, then the command line. *evaluations: network evaluations per sample. The
 * caller owns the new configuration, even after a failure. */
ddpm_status ddpm_run_config_read(const struct ddpm_arguments *arguments,
                                 const struct ddpm_run_start *start, struct ddpm_config **config,
                                 int64_t *evaluations);

#endif

/* The options of a run, from whatever it starts with. */
#ifndef DDPM_PROGRAM_RUN_CONFIG_H
#define DDPM_PROGRAM_RUN_CONFIG_H

#include "options.h"

/* What a run starts from. */
struct ddpm_run_start {
    const char *path;    /* the run's folder */
    bool resume;         /* resume from the run's own checkpoint */
    bool distills;       /* for ddpm distill, which */
    const char *teacher; /* starts a new run from this run or checkpoint */
};

/* Start with the defaults, the options of the resumed run, or those of the teacher with what
 * distilling changes. Then apply --config, then the command line. *evaluations: network
 * evaluations per sample. The caller owns the new configuration, even after a failure. */
ddpm_status ddpm_run_config_read(const struct ddpm_arguments *arguments,
                                 const struct ddpm_run_start *start, struct ddpm_config **config,
                                 int64_t *evaluations);

/* Start a new run with the teacher's EMA weights, as weights and as EMA. Does nothing unless the
 * run distils. */
ddpm_status ddpm_run_start_weights(const struct ddpm_run_start *start,
                                   struct ddpm_network *network);

#endif

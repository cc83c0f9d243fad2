/* The options of a run, from what it begins with. */
#ifndef DDPM_PROGRAM_RUN_CONFIG_H
#define DDPM_PROGRAM_RUN_CONFIG_H

#include "options.h"

/* What a run begins from. */
struct ddpm_run_start {
    const char *path;    /* the run's folder */
    bool resume;         /* it goes on from its own checkpoint */
    bool distills;       /* it is ddpm distill's … */
    const char *teacher; /* … and begins, when it is new, from this run or checkpoint */
};

/* Defaults, or the options of the run that goes on, or those of the teacher with what distilling
 * changes; then --config; then the command line. *evaluations: of the network for a sample. The
 * configuration, created here, is the caller's, also after a failure. */
ddpm_status ddpm_run_config_read(const struct ddpm_arguments *arguments,
                                 const struct ddpm_run_start *start, struct ddpm_config **config,
                                 int64_t *evaluations);

/* The warm-up that comes with --recipe is at most a tenth of the run's steps; one that is given
 * beside it stays. To be called when the number of steps is known. */
void ddpm_run_shorten_warmup(const struct ddpm_arguments *arguments, struct ddpm_config *config);

/* Let a new run begin with the teacher's EMA weights, both as its weights and as its EMA. Nothing
 * where the run does not distil. */
ddpm_status ddpm_run_start_weights(const struct ddpm_run_start *start,
                                   struct ddpm_network *network);

#endif

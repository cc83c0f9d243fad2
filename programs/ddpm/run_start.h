/* What a training run starts from: random weights, its own checkpoint, or another model, which is
 * the teacher of ddpm distill or --pretrained of ddpm train. */
#ifndef DDPM_PROGRAM_RUN_START_H
#define DDPM_PROGRAM_RUN_START_H

#include <limits.h>
#include <stdbool.h>

#include <ddpm/network.h>

struct ddpm_run_start {
    const char *path;  /* the run's folder */
    bool resume;       /* resume from the run's own checkpoint */
    bool distills;     /* the verb is ddpm distill */
    const char *model; /* another model's run, checkpoint or weights file, as given; NULL: none */
    char found[PATH_MAX]; /* its checkpoint folder or weights file; "": none, or resumed */
};

/* Set `found`. DDPM_ERROR_IO if there is no such model; DDPM_ERROR_ARGUMENT for a weights file as a
 * teacher. */
ddpm_status ddpm_run_start_find(struct ddpm_run_start *start);

/* Is there another model, with options of its own? A bare weights file has none. */
bool ddpm_run_start_has_options(const struct ddpm_run_start *start);

/* Put into `config` what a new run takes over: all options of a teacher with the changes that
 * distilling needs, or the network and the diffusion of a --pretrained model. DDPM_ERROR_ARGUMENT
 * for a distilled model. */
ddpm_status ddpm_run_start_read(const struct ddpm_run_start *start, struct ddpm_config *config);

/* DDPM_ERROR_ARGUMENT, naming the option, unless the model's weights fit a network of `config`. */
ddpm_status ddpm_run_start_check(const struct ddpm_run_start *start,
                                 const struct ddpm_config *config);

/* Load the model's EMA weights, as weights and as EMA, if there is a model. */
ddpm_status ddpm_run_start_weights(const struct ddpm_run_start *start,
                                   struct ddpm_network *network);

#endif

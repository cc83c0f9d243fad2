/* What a training run starts from: random weights, its own checkpoint, or another model, which is
 * the teacher of ddpm distill or --pretrained of ddpm train. */
#ifndef DDPM_PROGRAM_RUN_START_H
#define DDPM_PROGRAM_RUN_START_H

#include <stdbool.h>

#include "model/model.h"

struct ddpm_run_start {
    const char *path;  /* the run's folder */
    bool resume;       /* resume from the run's own checkpoint */
    bool distills;     /* the verb is ddpm distill */
    const char *model; /* another model's run, checkpoint or weights file, as given; NULL: none */
    struct ddpm_model_files files; /* of that model; empty without one or when resuming */
    struct ddpm_config *options;   /* of that model; NULL: none, or a bare weights file */
};

/* Find the model, check its weights and read its options. DDPM_ERROR_IO if there is no such model,
 * DDPM_ERROR_FORMAT if it is damaged, DDPM_ERROR_ARGUMENT if it is distilled, or a weights file as
 * a teacher. Call ddpm_run_start_close() even after a failure. */
ddpm_status ddpm_run_start_open(struct ddpm_run_start *start);
void ddpm_run_start_close(struct ddpm_run_start *start);

/* The model's checkpoint folder or weights file; "" if there is no model. */
const char *ddpm_run_start_origin(const struct ddpm_run_start *start);

/* Put into `config` what a new run takes over: all options of a teacher with the changes that
 * distilling needs, or the network and the diffusion of a --pretrained model. */
ddpm_status ddpm_run_start_take_over(const struct ddpm_run_start *start,
                                     struct ddpm_config *config);

/* DDPM_ERROR_ARGUMENT, naming the option, unless the model's weights fit a network of `config`. */
ddpm_status ddpm_run_start_check(const struct ddpm_run_start *start,
                                 const struct ddpm_config *config);

/* Load the model's EMA weights, as weights and as EMA, if there is a model. */
ddpm_status ddpm_run_start_weights(const struct ddpm_run_start *start,
                                   struct ddpm_network *network);

#endif

/* The sample grids that a run draws with its EMA weights while it trains. */
#ifndef DDPM_PROGRAM_RUN_SAMPLES_H
#define DDPM_PROGRAM_RUN_SAMPLES_H

#include <ddpm/sampler.h>

#include "config/config.h"
#include "grid_file.h"
#include "progress.h"

struct ddpm_run_samples {
    const char *run;                     /* folder, borrowed */
    const struct ddpm_config *config;    /* borrowed */
    struct ddpm_network *network;        /* borrowed */
    struct ddpm_sampler_options options; /* of a grid */
    struct ddpm_grid_shape grid;
    uint64_t bytes; /* memory that drawing needs on top of training; 0: nothing is drawn */
    struct ddpm_progress progress;
};

/* Decide what `run` draws according to `config`, and check that a grid can hold it. `network` can
 * be set later, before the other calls. */
ddpm_status ddpm_run_samples_plan(struct ddpm_run_samples *samples, const char *run,
                                  const struct ddpm_config *config);

/* Does the run draw samples? Not with sample-every 0, nor with more channels than a PNG can
 * hold. */
bool ddpm_run_samples_wanted(const struct ddpm_run_samples *samples);

/* Print one line if the options want grids, but PNG cannot hold the channels. */
void ddpm_run_samples_describe(const struct ddpm_run_samples *samples);

/* Measure the memory that drawing needs while the trainer keeps its `training` bytes.
 * DDPM_ERROR_MEMORY if not even one picture at a time fits. */
ddpm_status ddpm_run_samples_measure(struct ddpm_run_samples *samples, uint64_t training);

/* Draw the grid of `step` unless its file exists; `drawn` says whether it did. DDPM_STOPPED on a
 * signal. */
ddpm_status ddpm_run_samples_draw(struct ddpm_run_samples *samples, int64_t step, bool *drawn);

#endif

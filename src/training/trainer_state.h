/* The inside of struct ddpm_trainer, shared by trainer.c, checkpoint.c and diagnose.c. */
#ifndef DDPM_TRAINING_TRAINER_STATE_H
#define DDPM_TRAINING_TRAINER_STATE_H

#include <ddpm/trainer.h>

#include "data/prefetch.h"
#include "data/source.h"
#include "diffusion/schedule.h"
#include "model/model.h"

struct ddpm_data {
    struct ddpm_source *source;
    struct ddpm_config config;
};

struct ddpm_trainer {
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_prefetch *prefetch; /* started by the first step */
    struct ddpm_diffusion_tables tables;

    /* The step: phases draw, forward, backward for every micro-batch, then update. */
    struct ddpm_graph *graph;
    struct ddpm_value *pictures, *flips, *counters; /* what draw reads */
    struct ddpm_value *x0, *t, *noise;              /* what draw makes, or the caller gives */
    struct ddpm_value *table, *loss, *norm, *hyper;

    /* Slabs on the device; weights and EMA are the network's. */
    void *gradients, *m, *v;

    int64_t step; /* done so far */
    float *host_loss;
    int32_t *host_counters;
    float *host_values; /* one micro-batch in NHWC, for given pictures and noise */
};

/* Learning rate and EMA decay of the step after `done` steps; see docs/model.md. */
double ddpm_learning_rate(const struct ddpm_training_config *config, int64_t done);
double ddpm_ema_decay(const struct ddpm_training_config *config, int64_t done);

/* A loss or gradient was not finite in this step: find where it began. `items` are the data
 * source's items of the whole step, or NULL when pictures were given. Always returns a failure. */
ddpm_status ddpm_trainer_diagnose(struct ddpm_trainer *trainer, int64_t micro_batch, double loss,
                                  double norm, const int64_t *items);

#endif

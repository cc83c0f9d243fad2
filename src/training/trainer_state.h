/* The inside of struct ddpm_trainer, shared by the files of this folder. */
#ifndef DDPM_TRAINING_TRAINER_STATE_H
#define DDPM_TRAINING_TRAINER_STATE_H

#include <pthread.h>

#include <ddpm/trainer.h>

#include "data/prefetch.h"
#include "data/source.h"
#include "diffusion/schedule.h"
#include "graph/recording.h"
#include "model/model.h"
#include "training/checkpoint.h"

struct ddpm_data {
    struct ddpm_source *source;
    struct ddpm_config config;
};

/* The three things a step is made of. Each is recorded and replayed (graph/recording.h). */
enum ddpm_step_part {
    DDPM_PART_BEGIN,  /* gradients to zero, weights packed */
    DDPM_PART_MICRO,  /* draw, forward, backward of one micro-batch */
    DDPM_PART_UPDATE, /* norm, AdamW, EMA */
    DDPM_PART_COUNT,
};

/* A checkpoint that is being written while training goes on. */
struct ddpm_saver {
    pthread_t thread;
    bool running;
    struct ddpm_device *device;
    bool arriving; /* the slabs are still on their way from the device */
    void *pinned;  /* host memory of the slabs, kept between checkpoints; NULL: none */
    struct ddpm_snapshot snapshot;
    char run[DDPM_MAX_PATH];
    ddpm_status status;
    char message[1024];
};

struct ddpm_trainer {
    struct ddpm_network *network;
    struct ddpm_data *data;
    struct ddpm_prefetch *prefetch; /* started by the first step */
    int64_t next_batch;             /* the step whose batch it hands out next */
    struct ddpm_diffusion_tables tables;

    /* The step: phases draw, forward, backward for every micro-batch, then update; before it copy,
     * where weights have been loaded or set. */
    struct ddpm_graph *graph;
    struct ddpm_value *pictures, *flips, *counters; /* what draw reads */
    struct ddpm_value *x0, *t, *noise;              /* what draw makes, or the caller gives */
    struct ddpm_value *table, *loss, *norm, *hyper;
    struct ddpm_value *losses; /* of all micro-batches of the step */

    /* Slabs on the device; weights and EMA are the network's. */
    void *gradients, *m, *v;
    void *copies;           /* the weights in bf16, or NULL: convolutions read none */
    int64_t copied_changes; /* the network's `changes` that the copies know of */

    struct ddpm_recording recordings[DDPM_PART_COUNT];
    struct ddpm_saver saver;

    int64_t step;                         /* done so far, as far as the host knows */
    bool pending;                         /* one more is queued, its numbers not read yet */
    struct ddpm_step_result pending_step; /* what is known of it */
    float *host_loss;                     /* `losses`, then `norm` */
    int32_t *host_counters;
    float *host_values; /* one micro-batch in NHWC, for given pictures and noise */
};

/* Learning rate and EMA decay of the step after `done` steps; see docs/model.md. */
double ddpm_learning_rate(const struct ddpm_training_config *config, int64_t done);
double ddpm_ema_decay(const struct ddpm_training_config *config, int64_t done);

/* End a checkpoint under way and release what is kept for the next. */
void ddpm_trainer_close_saver(struct ddpm_trainer *trainer);

/* Fails while a queued step's result has not been handed out. */
ddpm_status ddpm_trainer_refuse_pending(const struct ddpm_trainer *trainer, const char *before);

/* A loss or gradient was not finite in this step, and the values of the micro-batch are in
 * place: find where it began. `items` are the data source's items of the whole step, or NULL when
 * pictures were given. Always returns a failure. */
ddpm_status ddpm_trainer_diagnose(struct ddpm_trainer *trainer, int64_t micro_batch, double loss,
                                  double norm, const int64_t *items);

#endif

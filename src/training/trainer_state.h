/* The inside of struct ddpm_trainer, shared by the files of this folder. */
#ifndef DDPM_TRAINING_TRAINER_STATE_H
#define DDPM_TRAINING_TRAINER_STATE_H

#include <pthread.h>

#include <ddpm/trainer.h>

#include "data/prefetch.h"
#include "data/source.h"
#include "diffusion/objective.h"
#include "diffusion/schedule.h"
#include "graph/recording.h"
#include "model/model.h"
#include "training/aside.h"
#include "training/checkpoint.h"
#include "training/optimizer.h"
#include "training/shard.h"
#include "training/tasks/task.h"
#include "training/team.h"
#include "training/validator.h"

struct ddpm_data {
    struct ddpm_source *source; /* all pictures of option data */
    struct ddpm_config config;
    struct ddpm_aside *aside; /* what is validated with; NULL: nothing (training/aside.h) */
};

/* The pictures that are trained on: all, or those that are not set aside. */
struct ddpm_source *ddpm_data_trained_on(const struct ddpm_data *data);

/* A network and what trains it. */
struct ddpm_player {
    const char *name;             /* goes before its files in a checkpoint: "" for the first */
    struct ddpm_network *network; /* borrowed */
    struct ddpm_optimizer optimizer;
};

/* The parts of the graph that a step runs, beside the optimizers' own. */
struct ddpm_trainer_parts {
    int draw, forward, backward;
};

/* The three things a step is made of. Each is recorded and replayed (graph/recording.h). */
enum ddpm_stage {
    DDPM_STAGE_BEGIN,  /* gradients to zero, weights packed */
    DDPM_STAGE_MICRO,  /* draw, forward, backward of one micro-batch */
    DDPM_STAGE_UPDATE, /* norm, AdamW, EMA */
    DDPM_STAGE_COUNT,
};

/* A checkpoint that is being written while training goes on. */
struct ddpm_saver {
    pthread_t thread;
    bool running;
    struct ddpm_device *device;
    bool arriving; /* the slabs are still on their way from the device */
    void *pinned;  /* host memory of the slabs, kept between checkpoints; NULL: none */
    struct ddpm_run_state run_state;
    char run[DDPM_MAX_PATH];
    ddpm_status status;
    char message[1024];
};

struct ddpm_trainer {
    struct ddpm_config config; /* the caller's */
    const struct ddpm_task *task;
    const struct ddpm_objective *objective;
    struct ddpm_player players[DDPM_MAX_PLAYERS];
    int player_count;
    struct ddpm_device *device; /* of all players */
    struct ddpm_data *data;
    struct ddpm_prefetch *prefetch; /* started by the first step */
    int64_t next_batch;             /* the step whose batch it hands out next */
    struct ddpm_path path;
    struct ddpm_team team; /* how steps are cut, and who shares them */
    struct ddpm_shard_plan shard_plan;
    struct ddpm_shard_state shard;
    bool divides_memory; /* what is free is not this rank's alone: others have not taken theirs */
    bool keeps_results;  /* the backward pass computes nothing again: there is room (memory.c) */

    /* The step, built by the task: draw, forward, backward for every micro-batch, then update;
     * before it the copies of the weights, where somebody has loaded or set some. */
    struct ddpm_graph *graph;
    struct ddpm_trainer_parts parts;
    struct ddpm_value *pictures, *flips, *counters; /* what draw reads */
    struct ddpm_value *first_counters; /* of one timestep per batch, where micro-batches are less */
    struct ddpm_value *x0, *noise;     /* what draw makes, or the caller gives */
    /* The pictures' coefficients: on a schedule gathered from `table` at `t`, which draw makes or
     * the caller gives; on a continuous path written by the host, and table and t are NULL. */
    struct ddpm_value *table, *t, *rows;
    struct ddpm_value *offset; /* the deviation of offset noise; NULL: none */
    struct ddpm_value *loss;
    struct ddpm_value *losses; /* of all micro-batches of the step, those of other ranks too */

    struct ddpm_recording recordings[DDPM_STAGE_COUNT];
    struct ddpm_saver saver;
    struct ddpm_validator validator;

    int64_t step;                         /* done so far, as far as the host knows */
    bool pending;                         /* one more is queued, its numbers not read yet */
    struct ddpm_step_result pending_step; /* what is known of it */
    uint64_t pending_ticket;              /* of its numbers' download */
    float *host_loss;                     /* `losses`, then the gradient's norm */
    int32_t *host_counters;
    float *host_rows;   /* of one micro-batch */
    float *host_values; /* one micro-batch in NHWC, for given pictures and noise */
};

/* A batch of the data source, or values from the caller: what a step works on. */
struct ddpm_step_values {
    const struct ddpm_batch *batch;
    const float *pictures, *noise;
    const int64_t *timesteps; /* on a schedule */
    const double *sigmas;     /* on a continuous path; sigma/alpha where levels are pairs */
};

/* On a continuous path, and where the levels are pairs: are they the host's to write? */
static inline bool ddpm_trainer_writes_rows(const struct ddpm_trainer *trainer)
{
    return trainer->task->pairs || trainer->path.kind != DDPM_PATH_SCHEDULE;
}

/* Stratified: the quantile of the level that the picture in this place of the step is trained at,
 * (place + u)/B for a step of B pictures with one u for all (Kingma et al. 2021, appendix I.1). */
double ddpm_trainer_quantile(const struct ddpm_trainer *trainer, uint32_t step, int64_t place);

/* given.c: put micro-batch `index` of given values in place. */
ddpm_status ddpm_trainer_write_given(struct ddpm_trainer *trainer,
                                     const struct ddpm_step_values *values, int64_t index);

/* micro_batch.c: put this rank's micro-batch `index` of a step in place. */
ddpm_status ddpm_trainer_write_micro_batch(struct ddpm_trainer *trainer,
                                           const struct ddpm_step_values *values, int64_t index);

/* step.c: one step on these values, waited for. */
ddpm_status ddpm_trainer_run_values(struct ddpm_trainer *trainer,
                                    const struct ddpm_step_values *values,
                                    struct ddpm_step_result *result);

/* Pictures of one optimizer step. */
static inline int64_t ddpm_pictures_per_step(const struct ddpm_training_config *config)
{
    return config->batch_size * config->accumulate;
}

/* memory.c: build the step's graph and lay it out; *need is all that the trainer will take. On a
 * device with memory of its own the backward pass computes nothing again, if all of that and
 * `beside` bytes are at most half of what is free: the rest is for grids, snapshots and others. */
ddpm_status ddpm_trainer_lay_out_step(struct ddpm_trainer *trainer, uint64_t beside,
                                      uint64_t *need);

/* memory.c: the same, or refuse it. DDPM_ERROR_MEMORY, saying what would fit, when
 * that, all else that the trainer will allocate, and `beside` bytes more do not fit. */
ddpm_status ddpm_trainer_lay_out(struct ddpm_trainer *trainer, uint64_t beside);

/* What a trainer takes whose graph is laid out, its networks included. */
struct ddpm_memory_plan ddpm_trainer_plan_of(const struct ddpm_trainer *trainer);

/* Where a player's state lives on the device; NULL: it has no such slab. */
void ddpm_player_slabs(const struct ddpm_player *player, void *out[DDPM_MAX_STATE_SLABS]);

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

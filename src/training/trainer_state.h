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
#include "training/packing.h"
#include "training/patches.h"
#include "training/ranks.h"
#include "training/shard.h"
#include "training/tasks/task.h"
#include "training/team.h"
#include "training/validator.h"

struct ddpm_data {
    struct ddpm_source *source; /* all pictures of option data */
    struct ddpm_aside *aside;   /* validation data; NULL: none (training/aside.h) */
};

/* The training pictures: all, or those that are not set aside. */
struct ddpm_source *ddpm_data_trained_on(const struct ddpm_data *data);

/* DDPM_ERROR_ARGUMENT if option rotate is on and the pictures are not square. */
ddpm_status ddpm_data_check_rotation(const struct ddpm_config *config);

/* A network and its optimizer. */
struct ddpm_player {
    const char *name;             /* prefix of its files in a checkpoint: "" for the first */
    struct ddpm_network *network; /* borrowed */
    struct ddpm_optimizer optimizer;
};

/* The parts of the graph that a step runs, besides the optimizers'. */
struct ddpm_trainer_parts {
    int draw, forward, backward;
};

/* The three stages of a step. Each is recorded and replayed (graph/recording.h). */
enum ddpm_stage {
    DDPM_STAGE_BEGIN,  /* zero the gradients, pack the weights */
    DDPM_STAGE_MICRO,  /* draw, forward, backward of one micro-batch */
    DDPM_STAGE_UPDATE, /* norm, AdamW, EMA */
    DDPM_STAGE_COUNT,
};

/* A checkpoint being written while training continues. */
struct ddpm_saver {
    pthread_t thread;
    bool running;
    struct ddpm_device *device;
    bool arriving; /* the slabs are still being copied from the device */
    void *pinned;  /* host memory for the slabs, kept between checkpoints; NULL: none */
    struct ddpm_run_state run_state;
    char run[DDPM_MAX_PATH];
    ddpm_status status;
    char message[1024];
};

struct ddpm_trainer {
    struct ddpm_config config; /* a copy */
    const struct ddpm_task *task;
    const struct ddpm_objective *objective;
    struct ddpm_player players[DDPM_MAX_PLAYERS];
    int player_count;
    struct ddpm_device *device; /* of all players */
    struct ddpm_data *data;
    struct ddpm_prefetch *prefetch; /* started by the first step */
    int64_t next_batch;             /* the step whose batch it hands out next */
    struct ddpm_path path;
    struct ddpm_team team; /* how steps are split, and with whom they are shared */
    struct ddpm_shard_plan shard_plan;
    struct ddpm_shard_state shard;
    struct ddpm_packing packing;
    bool divides_memory; /* free memory is shared with other ranks that have not allocated theirs
                            yet */
    struct ddpm_smaller_step smaller; /* what would fit; set if the plan does not */
    bool keeps_results; /* the backward pass recomputes nothing: there is room (memory.c) */

    /* The step, built by the task: draw, forward and backward for every micro-batch, then update.
     * Before it, refresh the copies of the weights if somebody has loaded or set some. */
    struct ddpm_graph *graph;
    struct ddpm_size size; /* of the pictures it trains on; 0x0: there is no usable graph */
    struct ddpm_trainer_parts parts;
    struct ddpm_value *pictures, *flips, *counters; /* input of draw */
    struct ddpm_value *corners; /* of patches in their pictures, if the network takes coordinates */
    struct ddpm_value *coordinates; /* of the pixels of patches, from `corners`; NULL: not needed */
    struct ddpm_value
        *first_counters;           /* for one timestep per batch, if micro-batches are smaller */
    struct ddpm_value *x0, *noise; /* made by draw, or given by the caller */
    /* The pictures' coefficients. On a schedule they are gathered from `table` at `t`, which draw
     * makes or the caller gives. On a continuous path the host writes them, and table and t are
     * NULL. */
    struct ddpm_value *table, *t, *rows;
    struct ddpm_value *offset; /* standard deviation of offset noise; NULL: none */
    struct ddpm_value *loss;
    struct ddpm_value
        *losses; /* of all micro-batches of the step, including those of other ranks */

    struct ddpm_memory_plan plan; /* for whole pictures */
    double patch_cost;            /* of a step on patches, where one on whole pictures costs 1 */
    struct ddpm_recording recordings[DDPM_STAGE_COUNT];
    struct ddpm_saver saver;
    bool start_tried; /* ddpm_trainer_fit_start() has run */
    struct ddpm_validator validator;

    bool broken;                          /* a resume failed: the state may be half read */
    int64_t step;                         /* steps done, as far as the host knows */
    bool pending;                         /* one more is queued, and its numbers are not read yet */
    struct ddpm_step_result pending_step; /* what is known about it */
    uint64_t pending_ticket;              /* for the download of its numbers */
    float *host_loss;                     /* `losses`, then the norm of the gradient */
    int32_t *host_counters;
    float *host_rows;   /* of one micro-batch */
    float *host_values; /* one micro-batch in NHWC, for given pictures and noise */
};

/* The input of a step: a batch of the data source, or values from the caller. */
struct ddpm_step_values {
    const struct ddpm_batch *batch;
    const float *pictures, *noise;
    const int64_t *timesteps; /* on a schedule */
    const double *sigmas;     /* on a continuous path; sigma/alpha if levels are pairs */
};

/* Does the host write the levels? On a continuous path, and if the levels are pairs. */
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

/* Steps queued or done. */
static inline int64_t ddpm_steps_queued(const struct ddpm_trainer *trainer)
{
    return trainer->step + trainer->pending;
}

/* batches.c: start reading ahead from the next step on, in the size of the current graph; and get
 * the batch of the next step, after building the graph again if that step has another size. *waited
 * receives the seconds spent waiting. */
ddpm_status ddpm_trainer_start_prefetch(struct ddpm_trainer *trainer);
ddpm_status ddpm_trainer_next_batch(struct ddpm_trainer *trainer, struct ddpm_batch *batch,
                                    double *waited);

/* step.c: run one step on these values, and wait for it. */
ddpm_status ddpm_trainer_run_values(struct ddpm_trainer *trainer,
                                    const struct ddpm_step_values *values,
                                    struct ddpm_step_result *result);

/* Pictures per step. */
static inline int64_t ddpm_pictures_per_step(const struct ddpm_training_config *config)
{
    return config->batch_size * config->accumulate;
}

/* trainer.c: fill a zeroed trainer from its options, and check everything but memory. For a trainer
 * that is never allocated: release what it took to describe it and lay it out. */
ddpm_status ddpm_trainer_describe(struct ddpm_trainer *trainer, struct ddpm_network *network,
                                  const struct ddpm_config *config, struct ddpm_ranks *ranks);
void ddpm_trainer_forget(struct ddpm_trainer *trainer);

/* trainer.c: write the graph inputs that every step reads. */
ddpm_status ddpm_trainer_write_constants(struct ddpm_trainer *trainer);

/* memory.c: lay out the graph of the step for pictures of this size, as the last
 * ddpm_trainer_lay_out_step() did for whole ones. Nothing else is laid out again. */
ddpm_status ddpm_trainer_lay_out_size(struct ddpm_trainer *trainer, struct ddpm_size size);

/* memory.c: build the step's graph for whole pictures and lay it out; *need is everything the
 * trainer will take. On a device with its own memory, the backward pass recomputes nothing if all
 * that and `beside` bytes are at most half of what is free; the rest is for grids, snapshots and
 * others. */
ddpm_status ddpm_trainer_lay_out_step(struct ddpm_trainer *trainer, uint64_t beside,
                                      uint64_t *need);

/* memory.c: are `need` bytes and `beside` more free? */
bool ddpm_trainer_has_room(const struct ddpm_trainer *trainer, uint64_t need, uint64_t beside);

/* memory.c: lay_out_step with a check. DDPM_ERROR_MEMORY, saying what would fit, if everything the
 * trainer will allocate and `beside` more bytes do not fit. */
ddpm_status ddpm_trainer_lay_out(struct ddpm_trainer *trainer, uint64_t beside);

/* What a laid-out trainer takes, with its networks. */
struct ddpm_memory_plan ddpm_trainer_plan_of(const struct ddpm_trainer *trainer);

/* The slabs of a player's state on the device; NULL where it has none. */
void ddpm_player_slabs(const struct ddpm_player *player, void *out[DDPM_MAX_STATE_SLABS]);

/* Finish a checkpoint being written and release what is kept for the next. */
void ddpm_trainer_close_saver(struct ddpm_trainer *trainer);

/* Fit the network's start to the training pictures, unless it has one, there are too few pictures,
 * or option start says noise. Reads up to DDPM_START_PICTURES pictures. A failure is only logged.
 */
void ddpm_trainer_fit_start(struct ddpm_trainer *trainer);

/* Take the fitted start of the checkpoint in `folder`, or none if it has none. */
ddpm_status ddpm_trainer_read_start(struct ddpm_trainer *trainer, const char *folder);

/* Fails after a resume that failed. */
ddpm_status ddpm_trainer_refuse_broken(const struct ddpm_trainer *trainer);

/* Fails while the result of a queued step has not been taken. */
ddpm_status ddpm_trainer_refuse_pending(const struct ddpm_trainer *trainer, const char *before);

/* After a step with a loss or gradient that is not finite, and with the micro-batch's values in
 * place, find where it began. `items` are the data source's items for this rank's part of the step,
 * or NULL if pictures were given. Always returns a failure. */
ddpm_status ddpm_trainer_diagnose(struct ddpm_trainer *trainer, int64_t micro_batch, double loss,
                                  double norm, const int64_t *items);

#endif

/* Trainers that share their steps with other processes: everything in trainer.h holds for each, and
 * also this. Every rank makes the same calls in the same order.
 *
 * A failure that hits all ranks at once is returned by all of them. One that hits only this rank is
 * held until the next step or agreement, where the others learn of it. */
#ifndef DDPM_TRAINING_RANKS_H
#define DDPM_TRAINING_RANKS_H

#include <ddpm/trainer.h>

#include "ranks/ranks.h"

/* Options that fit into memory and train the same, if those given do not fit. */
struct ddpm_smaller_step {
    int64_t batch_size, accumulate; /* 0: none was found */
    bool low_memory;
};

/* ddpm_trainer_create(), ddpm_trainer_measure() and ddpm_trainer_check_memory() for a trainer among
 * `ranks` (borrowed, must outlive it; NULL: alone). They also read options reduce and shares. The
 * check is for all ranks of a machine together, before any of them has allocated anything; after
 * DDPM_ERROR_MEMORY *smaller (or NULL) is what its text suggests. */
ddpm_status ddpm_trainer_create_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                      const struct ddpm_config *config, struct ddpm_data *data,
                                      struct ddpm_trainer **out);
ddpm_status ddpm_trainer_measure_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                       const struct ddpm_config *config,
                                       struct ddpm_memory_plan *out);
ddpm_status ddpm_trainer_check_memory_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                            const struct ddpm_config *config, uint64_t beside,
                                            struct ddpm_smaller_step *smaller);

/* Before any trainer is created among `ranks`: let the ranks of each machine keep their packed
 * weights in memory that they share, if the options allow it and there is room, also for `beside`
 * more bytes; see packing.h. All ranks call it. If it is not possible, one remark says why, and
 * trainers keep their own. Fails only if the ranks have lost each other. */
ddpm_status ddpm_trainer_share_packed(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                      const struct ddpm_config *config, uint64_t beside);

/* Bytes that every rank sends to others per step, as planned: gradients, and weights if the
 * optimizer is sharded. 0 alone. */
uint64_t ddpm_trainer_bytes_sent(const struct ddpm_trainer *trainer);

/* Copy weights, averages, moments and step from rank 0 to all ranks. */
ddpm_status ddpm_trainer_share_state(struct ddpm_trainer *trainer);

/* Is the optimizer's state divided among ranks (option shard)? */
bool ddpm_trainer_is_divided(const struct ddpm_trainer *trainer);

/* Collect the whole state of this step on rank 0, before it is written, validated or drawn with.
 * Does nothing if it is not divided. */
ddpm_status ddpm_trainer_collect_state(struct ddpm_trainer *trainer);

/* DDPM_ERROR_MISMATCH, on all ranks, if the weights of one differ from rank 0's. */
ddpm_status ddpm_trainer_compare_state(struct ddpm_trainer *trainer);

/* The failure just raised hit only this rank: the next step tells the others. Returns DDPM_OK then,
 * and `status` if the trainer is alone. */
ddpm_status ddpm_trainer_hold(struct ddpm_trainer *trainer, ddpm_status status);

/* Did the last step fail only on this rank, which holds the failure? */
bool ddpm_trainer_holds(const struct ddpm_trainer *trainer);

/* For an agreement of all ranks: returns the held failure, which is then no longer held, or
 * DDPM_OK. */
ddpm_status ddpm_trainer_take_held(struct ddpm_trainer *trainer);

/* A signal that this rank has caught, to be sent with the next step; and the largest that any rank
 * had caught in the last one. */
void ddpm_trainer_note_signal(struct ddpm_trainer *trainer, int signal);
int ddpm_trainer_agreed_signal(const struct ddpm_trainer *trainer);

#endif

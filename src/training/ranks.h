/* Trainers that share their steps with other processes: what trainer.h says holds of each, and what
 * follows besides. Every rank makes the same calls in the same order.
 *
 * A failure that all ranks meet at once is returned by all of them. One that befalls a rank alone
 * is held until the next step or agreement, where the others learn of it. */
#ifndef DDPM_TRAINING_RANKS_H
#define DDPM_TRAINING_RANKS_H

#include <ddpm/trainer.h>

#include "ranks/ranks.h"

/* ddpm_trainer_create(), ddpm_trainer_measure() and ddpm_trainer_check_memory() of a trainer among
 * `ranks` (borrowed, must outlive it; NULL: alone). Options reduce and shares are read, too. The
 * check is for all ranks of a machine together, before any of them has allocated anything. */
ddpm_status ddpm_trainer_create_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                      const struct ddpm_config *config, struct ddpm_data *data,
                                      struct ddpm_trainer **out);
ddpm_status ddpm_trainer_measure_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                       const struct ddpm_config *config,
                                       struct ddpm_memory_plan *out);
ddpm_status ddpm_trainer_check_memory_among(struct ddpm_ranks *ranks, struct ddpm_network *network,
                                            const struct ddpm_config *config, uint64_t beside);

/* Bytes that every rank sends to others in a step, as planned: gradients, and weights where the
 * optimizer is divided. 0 alone. */
uint64_t ddpm_trainer_bytes_sent(const struct ddpm_trainer *trainer);

/* Give all ranks the weights, averages, moments and step of rank 0. */
ddpm_status ddpm_trainer_share_state(struct ddpm_trainer *trainer);

/* Is the optimizer's state divided among ranks (option shard)? */
bool ddpm_trainer_is_divided(const struct ddpm_trainer *trainer);

/* Let rank 0 have the whole state of this step, before it is written, validated or drawn with.
 * Nothing to do where it is not divided. */
ddpm_status ddpm_trainer_collect_state(struct ddpm_trainer *trainer);

/* DDPM_ERROR_MISMATCH, on all ranks, where one's weights have become other than rank 0's. */
ddpm_status ddpm_trainer_compare_state(struct ddpm_trainer *trainer);

/* The failure that was just raised befell this rank alone: the next step tells the others. Returns
 * DDPM_OK where that is so, `status` where the trainer is alone. */
ddpm_status ddpm_trainer_hold(struct ddpm_trainer *trainer, ddpm_status status);

/* Did the last step fail on this rank only, and hold it? */
bool ddpm_trainer_holds(const struct ddpm_trainer *trainer);

/* The same for agreements: the failure that is held, or DDPM_OK. It is held no longer. */
ddpm_status ddpm_trainer_take_held(struct ddpm_trainer *trainer);

/* A signal that this rank has caught, for the next step to tell; and the largest that any had
 * caught in the last one. */
void ddpm_trainer_note_signal(struct ddpm_trainer *trainer, int signal);
int ddpm_trainer_agreed_signal(const struct ddpm_trainer *trainer);

#endif

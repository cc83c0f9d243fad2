/* How processes started by torchrun, or by srun without MPI, find each other: through small files
 * in a folder that all of them see.
 *
 * FILE      the id of NCCL's communicator, and which processes it is for
 * FILE.k    the state of rank k: it has started, it waits, or why it ended
 *
 * Files are always replaced, never changed in place. Files of an earlier job with the same name do
 * no harm: every process draws a random number, and only accepts an id that comes with it. */
#ifndef DDPM_RANKS_RENDEZVOUS_H
#define DDPM_RANKS_RENDEZVOUS_H

#include "ranks/launcher.h"
#include "ranks/nccl.h"

struct ddpm_rendezvous;

/* FILE is $DDPM_RANKS_FILE, or else .ddpm-ranks-JOB in the current folder. Writes FILE.k of this
 * rank. */
ddpm_status ddpm_rendezvous_open(const struct ddpm_tasks *tasks, struct ddpm_rendezvous **out);

/* Rank 0 publishes the id, and again whenever another rank has arrived. The others look for it:
 * *found says whether `id` is set. Neither call waits. */
ddpm_status ddpm_rendezvous_publish(struct ddpm_rendezvous *rendezvous,
                                    const unsigned char id[DDPM_NCCL_ID_BYTES]);
ddpm_status ddpm_rendezvous_find(struct ddpm_rendezvous *rendezvous,
                                 unsigned char id[DDPM_NCCL_ID_BYTES], bool *found);

/* If another rank has ended: DDPM_ERROR_IO with its message. Reads the files at most four times a
 * second. */
ddpm_status ddpm_rendezvous_look(struct ddpm_rendezvous *rendezvous);

/* Returns DDPM_ERROR_IO, with the ranks that have not arrived within `timeout` seconds. */
ddpm_status ddpm_rendezvous_give_up(struct ddpm_rendezvous *rendezvous, double timeout);

/* All ranks have joined: rank 0 removes FILE. */
void ddpm_rendezvous_joined(struct ddpm_rendezvous *rendezvous);

/* Send a note to all other ranks; receive one, as in transport.h. */
ddpm_status ddpm_rendezvous_tell(struct ddpm_rendezvous *rendezvous, int64_t note);
void ddpm_rendezvous_hear(struct ddpm_rendezvous *rendezvous, int *from, int64_t *note);

/* Is rank `rank` still alive? */
bool ddpm_rendezvous_has(struct ddpm_rendezvous *rendezvous, int rank);

/* Tell the others that this rank ends, and why. Only the first call counts. */
void ddpm_rendezvous_end(struct ddpm_rendezvous *rendezvous, const char *why);

/* Remove the files of this rank. */
void ddpm_rendezvous_close(struct ddpm_rendezvous **rendezvous);

#endif

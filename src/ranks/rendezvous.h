/* Where processes meet that were started together without MPI, by srun or torchrun: small files in
 * a folder that all of them see.
 *
 * FILE      the address of NCCL's communicator, and whom it is for
 * FILE.k    what rank k says of itself: that it is there, that it waits, why it ended
 *
 * Files are replaced as a whole. Those of an earlier job under the same name are harmless: every
 * process draws a random number, and takes only an address that repeats its own. */
#ifndef DDPM_RANKS_RENDEZVOUS_H
#define DDPM_RANKS_RENDEZVOUS_H

#include "ranks/launcher.h"
#include "ranks/nccl.h"

struct ddpm_rendezvous;

/* FILE is what DDPM_RANKS_FILE names, else .ddpm-ranks-JOB in the current folder. Writes FILE.k of
 * this rank. */
ddpm_status ddpm_rendezvous_open(const struct ddpm_tasks *tasks, struct ddpm_rendezvous **out);

/* Rank 0: publish the address, and again whenever another rank has come since. The others: *found,
 * with the address. Neither waits. */
ddpm_status ddpm_rendezvous_publish(struct ddpm_rendezvous *rendezvous,
                                    const unsigned char id[DDPM_NCCL_ID_BYTES]);
ddpm_status ddpm_rendezvous_find(struct ddpm_rendezvous *rendezvous,
                                 unsigned char id[DDPM_NCCL_ID_BYTES], bool *found);

/* DDPM_ERROR_IO, with its message, if another rank has ended. Looks at the files at most four times
 * a second. */
ddpm_status ddpm_rendezvous_look(struct ddpm_rendezvous *rendezvous);

/* DDPM_ERROR_IO: who has not come within `timeout` seconds. */
ddpm_status ddpm_rendezvous_give_up(struct ddpm_rendezvous *rendezvous, double timeout);

/* All have joined: the address is no longer needed. */
void ddpm_rendezvous_joined(struct ddpm_rendezvous *rendezvous);

/* A note for all other ranks, and one that has arrived, as transport.h says. */
ddpm_status ddpm_rendezvous_tell(struct ddpm_rendezvous *rendezvous, int64_t note);
void ddpm_rendezvous_hear(struct ddpm_rendezvous *rendezvous, int *from, int64_t *note);

/* Has rank `rank` neither left nor ended? */
bool ddpm_rendezvous_has(struct ddpm_rendezvous *rendezvous, int rank);

/* Say that this rank ends, and why; only the first time counts. */
void ddpm_rendezvous_end(struct ddpm_rendezvous *rendezvous, const char *why);

/* Remove the files of this rank. */
void ddpm_rendezvous_close(struct ddpm_rendezvous **rendezvous);

#endif

/* ddpm train --time: as many steps as fit into a given time. */
#ifndef DDPM_PROGRAM_TRAIN_TIME_H
#define DDPM_PROGRAM_TRAIN_TIME_H

#include "train_run.h"

/* Read "90s", "10m", "2h" or "1h30m" as seconds. */
ddpm_status ddpm_time_read(const char *text, double *seconds);

/* Read --time of a new run into run->seconds, with checks; 0: not given. */
ddpm_status ddpm_train_time_check(const struct ddpm_arguments *arguments,
                                  struct ddpm_train_run *run);

/* Mean seconds per step of the run's trainer, timed for 2 % of the run, but for between 3 and about
 * 60 seconds, which several kinds of steps share. Weights, moments and the position in the pictures
 * move on, so create network and trainer again. Every process of the run must call it; the leader
 * decides when all stop. */
ddpm_status ddpm_train_time_measure(struct ddpm_train_run *run, double *each);

/* Set run->steps and the configuration's steps by run->timed and, if the run begins with patches,
 * run->outlook.patch_cost. Every process of the run must call it; the leader's choice counts. */
ddpm_status ddpm_train_time_choose(struct ddpm_train_run *run);

#endif

/* ddpm train --time: as many steps as fit into a given time. */
#ifndef DDPM_PROGRAM_TRAIN_TIME_H
#define DDPM_PROGRAM_TRAIN_TIME_H

#include "train_run.h"

/* Read "90s", "10m", "2h" or "1h30m" as seconds. */
ddpm_status ddpm_time_read(const char *text, double *seconds);

/* Check --time of a new run, if it was given, and read it into run->seconds; 0: not given. */
ddpm_status ddpm_train_time_check(const struct ddpm_arguments *arguments,
                                  struct ddpm_train_run *run);

/* Time a few steps of the run's trainer and choose run->steps, which the configuration then has as
 * well. Weights, moments and the place in the pictures have moved on: make network and trainer
 * anew. Every process of the run calls it; all choose what the leader chooses. */
ddpm_status ddpm_train_time_choose(const struct ddpm_arguments *arguments,
                                   struct ddpm_train_run *run);

#endif

/* The whole of a run that trains, for the verbs that do: train and distill. */
#ifndef DDPM_PROGRAM_TRAIN_RUN_H
#define DDPM_PROGRAM_TRAIN_RUN_H

#include "options.h"

/* Train as the arguments say; with `distills` a new run begins from the first argument. */
ddpm_status ddpm_train_run(const struct ddpm_arguments *arguments, bool distills);

#endif

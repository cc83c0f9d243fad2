/* How many arguments a verb got, and whether its required options are given. */
#ifndef DDPM_PROGRAM_ARGUMENT_COUNTS_H
#define DDPM_PROGRAM_ARGUMENT_COUNTS_H

#include "options.h"

/* Are there as many arguments as the verb takes, of which `given` were on the command line, and all
 * options that it requires? With the verb's flag, --resume, the only argument is the folder of
 * --out. An error otherwise. */
ddpm_status ddpm_arguments_check_counts(struct ddpm_arguments *arguments, int given);

#endif

/* What `ddpm VERB --help` prints. */
#ifndef DDPM_PROGRAM_VERB_HELP_H
#define DDPM_PROGRAM_VERB_HELP_H

#include "program.h"

/* The help of a verb on stdout: what is required, the options that are needed most and examples; or
 * all options, what it says about them, and the recipes. */
void ddpm_verb_help(const struct ddpm_verb *verb, bool all);

#endif

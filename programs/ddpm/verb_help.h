/* What `ddpm VERB --help` prints. */
#ifndef DDPM_PROGRAM_VERB_HELP_H
#define DDPM_PROGRAM_VERB_HELP_H

#include "program.h"

/* Print the help of a verb on stdout: required and common options with examples; or all options,
 * the notes and the recipes. */
void ddpm_verb_help(const struct ddpm_verb *verb, bool all);

#endif

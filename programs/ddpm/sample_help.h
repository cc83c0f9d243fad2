/* The options of ddpm sample, and the texts of its help. */
#ifndef DDPM_PROGRAM_SAMPLE_HELP_H
#define DDPM_PROGRAM_SAMPLE_HELP_H

#include "program.h"

enum { DDPM_SAMPLE_OPTIONS = 19 };
extern const struct ddpm_verb_option ddpm_sample_options[DDPM_SAMPLE_OPTIONS];
extern const char ddpm_sample_notes[], ddpm_sample_examples[];

#endif

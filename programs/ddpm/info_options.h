/* The options in a configuration file, for ddpm info. */
#ifndef DDPM_PROGRAM_INFO_OPTIONS_H
#define DDPM_PROGRAM_INFO_OPTIONS_H

#include "core/error.h"

/* Print all options of the file and their values. */
ddpm_status ddpm_info_options(const char *path);

/* Print only those that differ from the defaults, because a run has a hundred options and few do;
 * with --verbose all of them. */
ddpm_status ddpm_info_changed_options(const char *path);

#endif

/* What log.csv says, for ddpm info. */
#ifndef DDPM_PROGRAM_INFO_LOG_H
#define DDPM_PROGRAM_INFO_LOG_H

#include "core/error.h"

/* Print the last row, and the mean loss of the last hundred rows. */
ddpm_status ddpm_info_log(const char *path);

/* The same for a log.csv on its own. */
ddpm_status ddpm_info_log_file(const char *path);

#endif

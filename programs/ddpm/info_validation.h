#ifndef DDPM_PROGRAM_INFO_VALIDATION_H
#define DDPM_PROGRAM_INFO_VALIDATION_H

#include "core/error.h"

/* Print the best and the last row of a run's validation.csv. */
ddpm_status ddpm_info_validation(const char *path);

#endif

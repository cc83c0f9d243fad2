/* Paths that do not exist: what the user may have meant. */
#ifndef DDPM_PROGRAM_MISSING_H
#define DDPM_PROGRAM_MISSING_H

#include "core/error.h"

/* Raise DDPM_ERROR_IO "PATH: WHAT", and name the entry of the same folder whose name is nearest,
 * if one is near. */
ddpm_status ddpm_raise_missing(const char *path, const char *what);

/* The same for the model of a verb. A run's missing checkpoint `best` gets a text of its own: such
 * a run has not measured a validation loss. */
ddpm_status ddpm_raise_no_model(const char *path);

#endif

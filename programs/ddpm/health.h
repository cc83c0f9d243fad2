/* What numbers a file holds, and whether they are sound. */
#ifndef DDPM_PROGRAM_HEALTH_H
#define DDPM_PROGRAM_HEALTH_H

#include "core/error.h"

/* Print a .safetensors file: its notes, tensors, parameters, range and root mean square, and
 * whether every value is finite. */
ddpm_status ddpm_print_weights(const char *path);

/* The same of a .npy file. */
ddpm_status ddpm_print_array(const char *path);

#endif

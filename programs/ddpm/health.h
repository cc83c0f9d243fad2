/* What values a file contains, and whether they are sound. */
#ifndef DDPM_PROGRAM_HEALTH_H
#define DDPM_PROGRAM_HEALTH_H

#include <stdint.h>

#include "core/error.h"
#include "data/picture_kind.h"

/* "1 black, 0 white, 0 of one colour, 0 saturated, 3 of pure noise" from the counts of each kind.
 * Written to `buffer`, which is returned. */
#define DDPM_KINDS_TEXT_BYTES 200
const char *ddpm_kinds_text(char buffer[DDPM_KINDS_TEXT_BYTES],
                            const int64_t kinds[DDPM_PICTURE_KINDS]);

/* Print a .safetensors file: metadata, tensors, parameters, range and root mean square, and
 * whether every value is finite. */
ddpm_status ddpm_print_weights(const char *path);

/* The same for a .npy file; for pictures also how many of them are empty. */
ddpm_status ddpm_print_array(const char *path);

#endif

/* What values a file contains, and whether they are sound. */
#ifndef DDPM_PROGRAM_HEALTH_H
#define DDPM_PROGRAM_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"
#include "data/picture_kind.h"

/* "1 black, 3 of pure noise" from the counts of each kind, or "none empty". Written to `buffer`,
 * which is returned. */
#define DDPM_KINDS_TEXT_BYTES 200
const char *ddpm_kinds_text(char buffer[DDPM_KINDS_TEXT_BYTES],
                            const int64_t kinds[DDPM_PICTURE_KINDS]);

/* Is any picture empty? */
bool ddpm_kinds_any(const int64_t kinds[DDPM_PICTURE_KINDS]);

/* Print a .safetensors file: metadata, tensors, parameters, range and root mean square, and
 * whether every value is finite. */
ddpm_status ddpm_print_weights(const char *path);

/* The same for a .npy file; for pictures also how many of them are empty. */
ddpm_status ddpm_print_array(const char *path);

#endif

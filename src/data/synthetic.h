/* Procedural aerial pictures: woods, clearings, fields, rivers, tracks, as seen from above. */
#ifndef DDPM_DATA_SYNTHETIC_H
#define DDPM_DATA_SYNTHETIC_H

#include <stdint.h>

#include "core/error.h"

/* Draw picture `index` of the set named by `seed` into out [height, width, 3], RGB. The same
 * arguments give the same picture on every machine with IEEE arithmetic. Sizes 8 to 4096 each side;
 * DDPM_ERROR_ARGUMENT otherwise. */
ddpm_status ddpm_synthetic_draw(uint8_t *out, int height, int width, uint64_t seed, uint32_t index);

#endif

/* CRC-32 of whole files (zlib's, as in PNG and gzip), to detect damage. */
#ifndef DDPM_FORMATS_CHECKSUM_H
#define DDPM_FORMATS_CHECKSUM_H

#include <stdint.h>

#include <jansson.h>

#include "core/error.h"

struct ddpm_checksum {
    uint64_t bytes;
    uint32_t crc32;
};

ddpm_status ddpm_file_checksum(const char *path, struct ddpm_checksum *out);

/* Is `folder`/`name` the file that `state` describes in "files": {name: {"bytes", "crc32"}}?
 * DDPM_ERROR_FORMAT if it is damaged. */
ddpm_status ddpm_file_check(const json_t *state, const char *folder, const char *name);

#endif

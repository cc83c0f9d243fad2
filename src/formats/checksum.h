/* CRC-32 of whole files (zlib's, the one of PNG and gzip), for noticing damage. */
#ifndef DDPM_FORMATS_CHECKSUM_H
#define DDPM_FORMATS_CHECKSUM_H

#include <stdint.h>

#include "core/error.h"

struct ddpm_checksum {
    uint64_t bytes;
    uint32_t crc32;
};

ddpm_status ddpm_file_checksum(const char *path, struct ddpm_checksum *out);

#endif

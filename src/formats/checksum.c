/* CRC-32 of whole files. */
#include "formats/checksum.h"

#include <zlib.h>

#include "formats/file.h"

ddpm_status ddpm_file_checksum(const char *path, struct ddpm_checksum *out)
{
    struct ddpm_mapping mapping;
    DDPM_TRY(ddpm_mapping_open(&mapping, path));
    out->bytes = mapping.bytes;
    out->crc32 = (uint32_t)crc32_z(0, mapping.data, mapping.bytes);
    ddpm_mapping_close(&mapping);
    return DDPM_OK;
}

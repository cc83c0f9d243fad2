/* CRC-32 of whole files. */
#include "formats/checksum.h"

#include <stdlib.h>

#include <zlib.h>

#include "formats/file.h"
#include "formats/json.h"

#define PIECE ((size_t)16 << 20) /* so much of a file is in memory at once */

ddpm_status ddpm_file_checksum(const char *path, struct ddpm_checksum *out)
{
    struct ddpm_mapping mapping;
    DDPM_TRY(ddpm_mapping_open(&mapping, path));
    uLong crc32 = 0;
    for (size_t first = 0; first < mapping.bytes; first += PIECE) {
        const size_t left = mapping.bytes - first, bytes = left < PIECE ? left : PIECE;
        crc32 = crc32_z(crc32, mapping.data + first, bytes);
        ddpm_mapping_forget(&mapping, first, bytes);
    }
    out->bytes = mapping.bytes;
    out->crc32 = (uint32_t)crc32;
    ddpm_mapping_close(&mapping);
    return DDPM_OK;
}

ddpm_status ddpm_file_check(const json_t *state, const char *folder, const char *name)
{
    struct ddpm_checksum sum;
    json_t *files, *file;
    int64_t bytes, crc32;
    char *path;
    DDPM_TRY(ddpm_json_get_object(state, "files", &files));
    DDPM_TRY(ddpm_json_get_object(files, name, &file));
    DDPM_TRY(ddpm_json_get_integer(file, "bytes", 0, INT64_MAX, &bytes));
    DDPM_TRY(ddpm_json_get_integer(file, "crc32", 0, UINT32_MAX, &crc32));
    DDPM_TRY(ddpm_path_join(&path, folder, name));
    ddpm_status status = ddpm_file_checksum(path, &sum);
    if (status == DDPM_OK && ((int64_t)sum.bytes != bytes || (int64_t)sum.crc32 != crc32))
        status = ddpm_raise(
            DDPM_ERROR_FORMAT,
            "%s is damaged: got %llu bytes with CRC-32 %08x, want %lld with %08x; to use "
            "an older checkpoint, name it, or let the run's checkpoints/latest lead to it",
            path, (unsigned long long)sum.bytes, (unsigned)sum.crc32, (long long)bytes,
            (unsigned)crc32);
    free(path);
    return status;
}

/* CRC-32 of whole files. */
#include "formats/checksum.h"

#include <stdlib.h>

#include <zlib.h>

#include "formats/file.h"
#include "formats/json.h"

ddpm_status ddpm_file_checksum(const char *path, struct ddpm_checksum *out)
{
    struct ddpm_mapping mapping;
    DDPM_TRY(ddpm_mapping_open(&mapping, path));
    out->bytes = mapping.bytes;
    out->crc32 = (uint32_t)crc32_z(0, mapping.data, mapping.bytes);
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

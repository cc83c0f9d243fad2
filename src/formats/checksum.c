/* CRC-32 of whole files. */
#include "formats/checksum.h"

#include <stdlib.h>

#include <zlib.h>

#include "core/memory.h"
#include "formats/file.h"
#include "formats/json.h"

#define PIECE ((size_t)1 << 20) /* bytes of a file in memory at once */

ddpm_status ddpm_file_checksum(const char *path, struct ddpm_checksum *out)
{
    struct ddpm_file_reader reader;
    uint8_t *piece;
    DDPM_TRY(ddpm_new_array((void **)&piece, PIECE, 1, "a piece of a file"));
    ddpm_status status = ddpm_file_reader_open(&reader, path);
    if (status != DDPM_OK) {
        free(piece);
        return status;
    }
    uLong crc32 = 0;
    for (uint64_t first = 0; first < reader.bytes && status == DDPM_OK; first += PIECE) {
        const uint64_t left = reader.bytes - first;
        const size_t bytes = left < PIECE ? (size_t)left : PIECE;
        status = ddpm_file_reader_read(&reader, first, piece, bytes);
        if (status == DDPM_OK)
            crc32 = crc32_z(crc32, piece, bytes);
    }
    out->bytes = reader.bytes;
    out->crc32 = (uint32_t)crc32;
    ddpm_file_reader_close(&reader);
    free(piece);
    return status;
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
            "%s is damaged: got %llu bytes with CRC-32 %08x, want %lld with %08x; to use an older "
            "checkpoint, name it, or make the run's checkpoints/latest point to it",
            path, (unsigned long long)sum.bytes, (unsigned)sum.crc32, (long long)bytes,
            (unsigned)crc32);
    free(path);
    return status;
}

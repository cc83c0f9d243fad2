/* Writing .npy files. The header has room for the largest possible first dimension, so that the
 * count can be filled in at the end. */
#include "formats/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

#define PREFIX_BYTES 10
#define HEADER_ROOM DDPM_NPY_HEADER_BYTES /* 8 dimensions of 19 digits and the dict need 245 */

struct ddpm_npy_writer {
    struct ddpm_file *file;
    enum ddpm_npy_dtype dtype;
    int rank;
    int64_t shape[DDPM_NPY_MAX_RANK];
    size_t item_bytes;
};

/* Write the dict of the header; returns its length. */
static size_t print_dict(char *out, size_t room, enum ddpm_npy_dtype dtype, int rank,
                         const int64_t *shape)
{
    int used = snprintf(out, room, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                        ddpm_npy_dtype_code(dtype));
    for (int i = 0; i < rank; ++i)
        used += snprintf(out + used, room - (size_t)used, "%s%" PRId64 "%s", i ? ", " : "",
                         shape[i], rank == 1 ? "," : "");
    used += snprintf(out + used, room - (size_t)used, "), }");
    return (size_t)used;
}

/* The header's size is a multiple of 64 and does not depend on shape[0]. */
size_t ddpm_npy_header(char out[HEADER_ROOM], enum ddpm_npy_dtype dtype, int rank,
                       const int64_t *shape)
{
    int64_t largest[DDPM_NPY_MAX_RANK] = {INT64_MAX};
    for (int i = 1; i < rank; ++i)
        largest[i] = shape[i];
    size_t room = PREFIX_BYTES + print_dict(out, HEADER_ROOM, dtype, rank, largest) + 1;
    size_t bytes = (room + 63) & ~(size_t)63;
    size_t length = bytes - PREFIX_BYTES;
    memset(out, ' ', HEADER_ROOM);
    size_t used = PREFIX_BYTES +
                  print_dict(out + PREFIX_BYTES, HEADER_ROOM - PREFIX_BYTES, dtype, rank, shape);
    out[used] = ' '; /* overwrites snprintf's 0 byte */
    out[bytes - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(length & 255);
    out[9] = (char)(length >> 8);
    return bytes;
}

static ddpm_status measure_item(struct ddpm_npy_writer *writer)
{
    int64_t bytes = (int64_t)ddpm_npy_dtype_bytes(writer->dtype);
    for (int i = 1; i < writer->rank; ++i)
        if (writer->shape[i] < 0 || __builtin_mul_overflow(bytes, writer->shape[i], &bytes))
            return ddpm_raise(DDPM_ERROR_ARGUMENT,
                              "got %" PRId64
                              " as dimension %d of an array, want 0 or more and less "
                              "than 2^63 bytes in all",
                              writer->shape[i], i);
    writer->item_bytes = (size_t)bytes;
    return DDPM_OK;
}

static ddpm_status write_header(struct ddpm_npy_writer *writer)
{
    char header[HEADER_ROOM];
    size_t bytes = ddpm_npy_header(header, writer->dtype, writer->rank, writer->shape);
    return ddpm_file_size(writer->file) ? ddpm_file_patch(writer->file, 0, header, bytes)
                                        : ddpm_file_write(writer->file, header, bytes);
}

ddpm_status ddpm_npy_writer_create(struct ddpm_npy_writer **out, const char *path,
                                   enum ddpm_npy_dtype dtype, int item_rank,
                                   const int64_t *item_shape)
{
    struct ddpm_npy_writer *writer;
    ddpm_status status;
    *out = NULL;
    if (item_rank < 0 || item_rank > DDPM_NPY_MAX_RANK - 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got items of rank %d, want 0 to %d", item_rank,
                          DDPM_NPY_MAX_RANK - 1);
    DDPM_TRY(DDPM_NEW(&writer, "an array writer"));
    writer->dtype = dtype;
    writer->rank = item_rank + 1;
    for (int i = 0; i < item_rank; ++i)
        writer->shape[i + 1] = item_shape[i];
    DDPM_TRY_GOTO(fail, measure_item(writer));
    DDPM_TRY_GOTO(fail, ddpm_file_create(&writer->file, path));
    DDPM_TRY_GOTO(fail, write_header(writer));
    *out = writer;
    return DDPM_OK;
fail:
    ddpm_npy_writer_abandon(&writer);
    return status;
}

ddpm_status ddpm_npy_writer_append(struct ddpm_npy_writer *writer, const void *data, int64_t items)
{
    size_t bytes;
    if (items < 0 || __builtin_mul_overflow(writer->item_bytes, (size_t)items, &bytes))
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %" PRId64 " items to append, want 0 or more",
                          items);
    DDPM_TRY(ddpm_file_write(writer->file, data, bytes));
    writer->shape[0] += items;
    return DDPM_OK;
}

ddpm_status ddpm_npy_writer_finish(struct ddpm_npy_writer **pointer)
{
    struct ddpm_npy_writer *writer = *pointer;
    *pointer = NULL;
    ddpm_status status = write_header(writer);
    if (status == DDPM_OK)
        status = ddpm_file_commit(&writer->file);
    ddpm_npy_writer_abandon(&writer);
    return status;
}

void ddpm_npy_writer_abandon(struct ddpm_npy_writer **pointer)
{
    struct ddpm_npy_writer *writer = *pointer;
    *pointer = NULL;
    if (!writer)
        return;
    ddpm_file_abandon(&writer->file);
    free(writer);
}

/* An array of rank 0 has no first dimension to grow along. */
static ddpm_status write_scalar(const char *path, enum ddpm_npy_dtype dtype, const void *data)
{
    char header[HEADER_ROOM];
    struct ddpm_file *file;
    ddpm_status status;
    size_t bytes = ddpm_npy_header(header, dtype, 0, NULL);
    DDPM_TRY(ddpm_file_create(&file, path));
    DDPM_TRY_GOTO(fail, ddpm_file_write(file, header, bytes));
    DDPM_TRY_GOTO(fail, ddpm_file_write(file, data, ddpm_npy_dtype_bytes(dtype)));
    return ddpm_file_commit(&file);
fail:
    ddpm_file_abandon(&file);
    return status;
}

ddpm_status ddpm_npy_write(const char *path, enum ddpm_npy_dtype dtype, int rank,
                           const int64_t *shape, const void *data)
{
    struct ddpm_npy_writer *writer;
    ddpm_status status;
    if (rank == 0)
        return write_scalar(path, dtype, data);
    DDPM_TRY(ddpm_npy_writer_create(&writer, path, dtype, rank - 1, shape + 1));
    DDPM_TRY_GOTO(fail, ddpm_npy_writer_append(writer, data, shape[0]));
    return ddpm_npy_writer_finish(&writer);
fail:
    ddpm_npy_writer_abandon(&writer);
    return status;
}

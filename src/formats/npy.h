/* NumPy's .npy files, format versions 1.0, 2.0 and 3.0 (numpy.lib.format).
 *
 *     "\x93NUMPY" | major | minor | header length (u16 in 1.0, u32 after) | Python dict, spaces,
 * '\n' | values
 *
 * The dict has 'descr', 'fortran_order' and 'shape'. Values are little-endian, in C order. */
#ifndef DDPM_FORMATS_NPY_H
#define DDPM_FORMATS_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "formats/file.h"

#define DDPM_NPY_MAX_RANK 8

enum ddpm_npy_dtype {
    DDPM_NPY_U8,  /* |u1 */
    DDPM_NPY_I32, /* <i4 */
    DDPM_NPY_I64, /* <i8 */
    DDPM_NPY_F32, /* <f4 */
    DDPM_NPY_F64, /* <f8 */
    /* Described by ddpm info; elsewhere an error that names the type: */
    DDPM_NPY_BOOL, /* |b1 */
    DDPM_NPY_I8,   /* |i1 */
    DDPM_NPY_U16,  /* <u2 */
    DDPM_NPY_I16,  /* <i2 */
    DDPM_NPY_U32,  /* <u4 */
    DDPM_NPY_U64,  /* <u8 */
};

/* Bytes of one value; "<f4" and so on, as in a file; and "float32" and so on, for messages. */
size_t ddpm_npy_dtype_bytes(enum ddpm_npy_dtype dtype);
const char *ddpm_npy_dtype_code(enum ddpm_npy_dtype dtype);
const char *ddpm_npy_dtype_name(enum ddpm_npy_dtype dtype);

/* An array read from a file. `data` may be unaligned when another program wrote the file; files
 * written here and by NumPy start their values on a multiple of 64 bytes. */
struct ddpm_npy {
    enum ddpm_npy_dtype dtype;
    int rank; /* 0 .. DDPM_NPY_MAX_RANK */
    int64_t shape[DDPM_NPY_MAX_RANK];
    int64_t count; /* product of shape; 1 for rank 0 */
    size_t start;  /* where the values start in the file */
    const void *data;
    size_t bytes;
    struct ddpm_mapping mapping;
};

/* Map a file. DDPM_ERROR_FORMAT for anything that is not exactly one array of these types in C
 * order: bad header, fortran_order, rank, overflowing shape, fewer or more bytes than the shape
 * needs. Close with ddpm_npy_close(). */
ddpm_status ddpm_npy_open(struct ddpm_npy *out, const char *path);

/* The same from the caller's memory; `label` is the prefix of error texts. */
ddpm_status ddpm_npy_parse(struct ddpm_npy *out, const void *data, size_t bytes, const char *label);

/* The same for a file of `bytes` bytes, with only the first `head_bytes` in memory; `data` is then
 * NULL. */
ddpm_status ddpm_npy_parse_head(struct ddpm_npy *out, const void *head, size_t head_bytes,
                                size_t bytes, const char *label);

/* See pictures [N,H,W] as [N,H,W,1]; arrays of other ranks are left as they are. */
void ddpm_npy_add_channel(struct ddpm_npy *npy);

/* Does [N,H,W,C] look like pictures that PyTorch stores, [N,C,H,W]? */
bool ddpm_npy_channels_first(const struct ddpm_npy *npy);

/* Unmap. Does nothing for a zeroed or closed array. */
void ddpm_npy_close(struct ddpm_npy *npy);

/* Write a whole array, atomically. */
ddpm_status ddpm_npy_write(const char *path, enum ddpm_npy_dtype dtype, int rank,
                           const int64_t *shape, const void *data);

/* Make the header of a file with this array, to write before the values; returns its size in bytes.
 * rank at most DDPM_NPY_MAX_RANK. */
#define DDPM_NPY_HEADER_BYTES 512
size_t ddpm_npy_header(char out[DDPM_NPY_HEADER_BYTES], enum ddpm_npy_dtype dtype, int rank,
                       const int64_t *shape);

/* A file that grows along its first dimension, whose size need not be known in advance. */
struct ddpm_npy_writer;

/* Start a file of shape [N, item_shape…]; item_rank 0 .. DDPM_NPY_MAX_RANK - 1. *out is NULL on
 * failure. */
ddpm_status ddpm_npy_writer_create(struct ddpm_npy_writer **out, const char *path,
                                   enum ddpm_npy_dtype dtype, int item_rank,
                                   const int64_t *item_shape);

/* Append `items` contiguous items. */
ddpm_status ddpm_npy_writer_append(struct ddpm_npy_writer *writer, const void *data, int64_t items);

/* Write N to the header and commit the file. Either way *writer is freed and set to NULL. */
ddpm_status ddpm_npy_writer_finish(struct ddpm_npy_writer **writer);

/* Delete what was written and free. *writer may be NULL and is set to NULL. */
void ddpm_npy_writer_abandon(struct ddpm_npy_writer **writer);

#endif

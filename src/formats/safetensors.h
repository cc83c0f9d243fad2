/* safetensors files (the format of https://github.com/huggingface/safetensors).
 *
 *     header length (u64, little-endian) | JSON header, padded by spaces | values of all tensors
 *     {"__metadata__": {"format": "pt", …}, "NAME": {"dtype": "F32", "shape": [2, 3],
 * "data_offsets": [0, 24]}, …}
 *
 * Offsets count from the end of the header. Values are little-endian, in C order, and the tensors
 * fill the file without gap or overlap. Names and shapes are PyTorch's. */
#ifndef DDPM_FORMATS_SAFETENSORS_H
#define DDPM_FORMATS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "formats/file.h"

#define DDPM_SAFETENSORS_MAX_RANK 8
#define DDPM_SAFETENSORS_MAX_HEADER ((size_t)100000000) /* the reference implementation's limit */

/* In the reference implementation's order: tensors in a file are sorted by dtype, last first. */
enum ddpm_safetensors_dtype {
    DDPM_SAFETENSORS_BOOL,
    DDPM_SAFETENSORS_U8,
    DDPM_SAFETENSORS_F16,
    DDPM_SAFETENSORS_BF16,
    DDPM_SAFETENSORS_I32,
    DDPM_SAFETENSORS_F32,
    DDPM_SAFETENSORS_F64,
    DDPM_SAFETENSORS_I64,
};

/* Bytes of one value, and "F32" and so on. */
size_t ddpm_safetensors_dtype_bytes(enum ddpm_safetensors_dtype dtype);
const char *ddpm_safetensors_dtype_name(enum ddpm_safetensors_dtype dtype);

/* One tensor of an open file. */
struct ddpm_safetensors_tensor {
    const char *name;
    enum ddpm_safetensors_dtype dtype;
    int rank; /* 0 .. DDPM_SAFETENSORS_MAX_RANK */
    int64_t shape[DDPM_SAFETENSORS_MAX_RANK];
    int64_t count;    /* product of shape; 1 for rank 0 */
    const void *data; /* may be unaligned */
    size_t bytes;
};

/* A string of __metadata__. */
struct ddpm_safetensors_text {
    const char *key;
    const char *value;
};

/* An open file. All pointers inside live until ddpm_safetensors_close(). */
struct ddpm_safetensors;

/* Map a file and check everything except the values. DDPM_ERROR_FORMAT if it breaks the format,
 * DDPM_ERROR_UNSUPPORTED for an unknown dtype or rank. *out is NULL on failure. */
ddpm_status ddpm_safetensors_open(struct ddpm_safetensors **out, const char *path);

/* The same from the caller's memory; `label` is the prefix of error texts. */
ddpm_status ddpm_safetensors_parse(struct ddpm_safetensors **out, const void *data, size_t bytes,
                                   const char *label);

/* Unmap and free. *file may be NULL and is set to NULL. */
void ddpm_safetensors_close(struct ddpm_safetensors **file);

/* Tensors in the order of their values in the file; index in [0, count). */
size_t ddpm_safetensors_count(const struct ddpm_safetensors *file);
const struct ddpm_safetensors_tensor *ddpm_safetensors_at(const struct ddpm_safetensors *file,
                                                          size_t index);

/* A tensor by name in O(log n), or NULL. */
const struct ddpm_safetensors_tensor *ddpm_safetensors_find(const struct ddpm_safetensors *file,
                                                            const char *name);

/* The value of a key of __metadata__, or NULL; and all of them in file order. */
const char *ddpm_safetensors_metadata(const struct ddpm_safetensors *file, const char *key);
size_t ddpm_safetensors_metadata_count(const struct ddpm_safetensors *file);
struct ddpm_safetensors_text ddpm_safetensors_metadata_at(const struct ddpm_safetensors *file,
                                                          size_t index);

/* All values as fp32: F32 as it is, F16 and BF16 exactly, F64 rounded. DDPM_ERROR_MISMATCH for
 * other dtypes, or if the tensor does not have `count` values. */
ddpm_status ddpm_safetensors_read_f32(const struct ddpm_safetensors_tensor *tensor, float *out,
                                      int64_t count);

/* All values as 64-bit integers, from I64, I32, U8 and BOOL. DDPM_ERROR_MISMATCH as above. */
ddpm_status ddpm_safetensors_read_i64(const struct ddpm_safetensors_tensor *tensor, int64_t *out,
                                      int64_t count);

/* The caller is done with a tensor's values; the system may drop their pages. They can be read
 * again. */
void ddpm_safetensors_forget(const struct ddpm_safetensors *file,
                             const struct ddpm_safetensors_tensor *tensor);

struct ddpm_safetensors_entry;

/* Write all values of `entry` to `file` with ddpm_file_write(), in any number of pieces. */
typedef ddpm_status ddpm_safetensors_produce(void *context,
                                             const struct ddpm_safetensors_entry *entry,
                                             struct ddpm_file *file);

/* One tensor to write: from `data`, or from `produce` if data is NULL. */
struct ddpm_safetensors_entry {
    const char *name; /* UTF-8, not "" and not "__metadata__" */
    enum ddpm_safetensors_dtype dtype;
    int rank;
    int64_t shape[DDPM_SAFETENSORS_MAX_RANK];
    const void *data;
    ddpm_safetensors_produce *produce;
    void *context;
};

/* Write a file, atomically. Tensors are laid out in the reference implementation's order (dtype in
 * descending order, then name), whatever their order here; the same arguments give the same bytes.
 * "format": "pt" goes before `metadata` unless that has a "format". DDPM_ERROR_ARGUMENT for bad or
 * duplicate names, keys and shapes, or if `produce` wrote the wrong number of bytes; errors of
 * `produce` are returned. On any failure PATH is unchanged. */
ddpm_status ddpm_safetensors_write(const char *path, const struct ddpm_safetensors_entry *entries,
                                   size_t count, const struct ddpm_safetensors_text *metadata,
                                   size_t metadata_count);

#endif

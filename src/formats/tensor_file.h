/* Named tensors from a file of weights, whatever wrote it. The first bytes tell the format:
 *
 *     safetensors
 *     PyTorch's zip file (torch.save since 1.6): data.pkl, and one member for each storage
 *     PyTorch's older file: five pickles, then the storages
 *
 * From PyTorch's files we read a state dict, or the one under the key state_dict or model of a
 * dict. Nothing in a file is executed (pickle.h). Zip files need libzip: DDPM_ERROR_UNSUPPORTED in
 * a build without it. */
#ifndef DDPM_FORMATS_TENSOR_FILE_H
#define DDPM_FORMATS_TENSOR_FILE_H

#include "formats/safetensors.h"

/* One tensor of an open file: a view of a row of values. */
struct ddpm_tensor_entry {
    const char *name;
    enum ddpm_safetensors_dtype dtype;
    int rank; /* 0 .. DDPM_SAFETENSORS_MAX_RANK */
    int64_t shape[DDPM_SAFETENSORS_MAX_RANK];
    int64_t strides[DDPM_SAFETENSORS_MAX_RANK]; /* in values */
    int64_t count;                              /* product of shape; 1 for rank 0 */
    const uint8_t *data;                        /* the first value; may be unaligned */
};

/* An open file. All pointers inside live until ddpm_tensor_file_close(). */
struct ddpm_tensor_file;

/* Map a file and check everything except the values. DDPM_ERROR_FORMAT if it is none of these
 * formats or damaged. *out is NULL on failure. */
ddpm_status ddpm_tensor_file_open(struct ddpm_tensor_file **out, const char *path);

/* The same from the caller's memory; `label` is the prefix of error texts. */
ddpm_status ddpm_tensor_file_parse(struct ddpm_tensor_file **out, const void *data, size_t bytes,
                                   const char *label);

/* Unmap and free. *file may be NULL and is set to NULL. */
void ddpm_tensor_file_close(struct ddpm_tensor_file **file);

/* Tensors sorted by name, bytewise; index in [0, count). */
size_t ddpm_tensor_file_count(const struct ddpm_tensor_file *file);
const struct ddpm_tensor_entry *ddpm_tensor_file_at(const struct ddpm_tensor_file *file,
                                                    size_t index);

/* A tensor by name in O(log n), or NULL. */
const struct ddpm_tensor_entry *ddpm_tensor_file_find(const struct ddpm_tensor_file *file,
                                                      const char *name);

/* All values in C order as fp32: F32 as it is, F16 and BF16 exactly, F64 rounded.
 * DDPM_ERROR_MISMATCH for other dtypes, or if the tensor does not have `count` values. */
ddpm_status ddpm_tensor_entry_read_f32(const struct ddpm_tensor_entry *entry, float *out,
                                       int64_t count);

#endif

/* Files of named tensors, told apart by their first bytes. */
#include "formats/tensor_file.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/torch_file.h"

struct ddpm_tensor_file {
    struct ddpm_mapping mapping;
    struct ddpm_safetensors *safetensors;
    struct ddpm_torch_file *torch;
    struct ddpm_tensor_entry *entries; /* by name */
    size_t count;
};

static int compare_names(const void *a, const void *b)
{
    const struct ddpm_tensor_entry *left = a, *right = b;
    return strcmp(left->name, right->name);
}

/* The strides of a row of values in C order. */
static void set_strides(struct ddpm_tensor_entry *entry)
{
    int64_t stride = 1;
    for (int i = entry->rank - 1; i >= 0; --i) {
        entry->strides[i] = stride;
        stride *= entry->shape[i] > 0 ? entry->shape[i] : 1;
    }
}

static ddpm_status list_safetensors(struct ddpm_tensor_file *file)
{
    file->count = ddpm_safetensors_count(file->safetensors);
    DDPM_TRY(ddpm_new_array((void **)&file->entries, file->count, sizeof *file->entries,
                            "a list of tensors"));
    for (size_t i = 0; i < file->count; ++i) {
        const struct ddpm_safetensors_tensor *tensor = ddpm_safetensors_at(file->safetensors, i);
        struct ddpm_tensor_entry *entry = &file->entries[i];
        *entry = (struct ddpm_tensor_entry){
            .name = tensor->name,
            .dtype = tensor->dtype,
            .rank = tensor->rank,
            .count = tensor->count,
            .data = tensor->data,
        };
        memcpy(entry->shape, tensor->shape, sizeof entry->shape);
        set_strides(entry);
    }
    return DDPM_OK;
}

static ddpm_status list_torch(struct ddpm_tensor_file *file)
{
    const struct ddpm_tensor_entry *entries;
    ddpm_torch_entries(file->torch, &entries, &file->count);
    DDPM_TRY(ddpm_new_array((void **)&file->entries, file->count, sizeof *file->entries,
                            "a list of tensors"));
    if (file->count)
        memcpy(file->entries, entries, file->count * sizeof *entries);
    return DDPM_OK;
}

static bool begins_with(const uint8_t *data, size_t bytes, size_t offset, const char *words)
{
    const size_t length = strlen(words);
    return bytes >= offset + length && memcmp(data + offset, words, length) == 0;
}

static ddpm_status read_file(struct ddpm_tensor_file *file, const uint8_t *data, size_t bytes,
                             const char *label)
{
    const bool zip = begins_with(data, bytes, 0, "PK\x03\x04");
    if (zip || begins_with(data, bytes, 0, "\x80\x02")) {
        DDPM_TRY(ddpm_torch_parse(&file->torch, data, bytes, zip, label));
        DDPM_TRY(list_torch(file));
    } else if (begins_with(data, bytes, 8, "{")) {
        DDPM_TRY(ddpm_safetensors_parse(&file->safetensors, data, bytes, label));
        DDPM_TRY(list_safetensors(file));
    } else {
        return ddpm_raise(
            DDPM_ERROR_FORMAT,
            "%s: not a file of tensors, want safetensors or a file written by torch.save", label);
    }
    if (file->count)
        qsort(file->entries, file->count, sizeof *file->entries, compare_names);
    for (size_t i = 1; i < file->count; ++i)
        if (strcmp(file->entries[i - 1].name, file->entries[i].name) == 0)
            return ddpm_raise(DDPM_ERROR_FORMAT, "%s: got two tensors \"%.200s\", want one", label,
                              file->entries[i].name);
    return DDPM_OK;
}

ddpm_status ddpm_tensor_file_parse(struct ddpm_tensor_file **out, const void *data, size_t bytes,
                                   const char *label)
{
    struct ddpm_tensor_file *file;
    *out = NULL;
    DDPM_TRY(DDPM_NEW(&file, "an open file of tensors"));
    ddpm_status status = read_file(file, data, bytes, label);
    if (status != DDPM_OK)
        ddpm_tensor_file_close(&file);
    *out = file;
    return status;
}

ddpm_status ddpm_tensor_file_open(struct ddpm_tensor_file **out, const char *path)
{
    struct ddpm_mapping mapping;
    *out = NULL;
    DDPM_TRY(ddpm_mapping_open(&mapping, path));
    ddpm_status status = ddpm_tensor_file_parse(out, mapping.data, mapping.bytes, path);
    if (status == DDPM_OK)
        (*out)->mapping = mapping;
    else
        ddpm_mapping_close(&mapping);
    return status;
}

void ddpm_tensor_file_close(struct ddpm_tensor_file **pointer)
{
    struct ddpm_tensor_file *file = *pointer;
    *pointer = NULL;
    if (!file)
        return;
    ddpm_safetensors_close(&file->safetensors);
    ddpm_torch_close(&file->torch);
    ddpm_mapping_close(&file->mapping);
    free(file->entries);
    free(file);
}

size_t ddpm_tensor_file_count(const struct ddpm_tensor_file *file)
{
    return file->count;
}

const struct ddpm_tensor_entry *ddpm_tensor_file_at(const struct ddpm_tensor_file *file,
                                                    size_t index)
{
    return &file->entries[index];
}

const struct ddpm_tensor_entry *ddpm_tensor_file_find(const struct ddpm_tensor_file *file,
                                                      const char *name)
{
    const struct ddpm_tensor_entry wanted = {.name = name};
    if (file->count == 0)
        return NULL;
    return bsearch(&wanted, file->entries, file->count, sizeof wanted, compare_names);
}

static bool is_dense(const struct ddpm_tensor_entry *entry)
{
    struct ddpm_tensor_entry dense = *entry;
    set_strides(&dense);
    for (int i = 0; i < entry->rank; ++i)
        if (entry->shape[i] > 1 && entry->strides[i] != dense.strides[i])
            return false;
    return true;
}

ddpm_status ddpm_tensor_entry_read_f32(const struct ddpm_tensor_entry *entry, float *out,
                                       int64_t count)
{
    const int64_t size = (int64_t)ddpm_safetensors_dtype_bytes(entry->dtype);
    struct ddpm_safetensors_tensor tensor = {
        .name = entry->name,
        .dtype = entry->dtype,
        .count = entry->count,
        .data = entry->data,
        .bytes = (size_t)(entry->count * size),
    };
    if (entry->count != count || count == 0 || is_dense(entry))
        return ddpm_safetensors_read_f32(&tensor, out, count);
    int64_t at[DDPM_SAFETENSORS_MAX_RANK] = {0}, offset = 0;
    tensor.count = 1;
    tensor.bytes = (size_t)size;
    for (int64_t i = 0; i < count; ++i) {
        tensor.data = entry->data + offset * size;
        DDPM_TRY(ddpm_safetensors_read_f32(&tensor, &out[i], 1));
        for (int d = entry->rank - 1; d >= 0; --d) {
            offset += entry->strides[d];
            if (++at[d] < entry->shape[d])
                break;
            offset -= at[d] * entry->strides[d];
            at[d] = 0;
        }
    }
    return DDPM_OK;
}

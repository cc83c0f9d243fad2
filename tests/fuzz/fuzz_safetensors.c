/* Fuzz target: a safetensors file in memory; all tensors are looked up by name and converted. The
 * first byte of the input is the length of the header and the rest is the header and the values, so
 * that the fuzzer need not guess eight bytes. If the first byte is 255, a whole file follows. */
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_tensor(const struct ddpm_safetensors *file,
                        const struct ddpm_safetensors_tensor *tensor)
{
    size_t count = (size_t)tensor->count;
    if (ddpm_safetensors_find(file, tensor->name) != tensor ||
        count * ddpm_safetensors_dtype_bytes(tensor->dtype) != tensor->bytes)
        abort();
    float *values = malloc(count * sizeof *values + 1);
    int64_t *integers = malloc(count * sizeof *integers + 1);
    if (values && integers) {
        (void)ddpm_safetensors_read_f32(tensor, values, tensor->count);
        (void)ddpm_safetensors_read_i64(tensor, integers, tensor->count);
    }
    free(values);
    free(integers);
}

static void read_file(const uint8_t *data, size_t size)
{
    struct ddpm_safetensors *file;
    if (ddpm_safetensors_parse(&file, data, size, "input") != DDPM_OK)
        return;
    for (size_t i = 0; i < ddpm_safetensors_count(file); ++i)
        read_tensor(file, ddpm_safetensors_at(file, i));
    for (size_t i = 0; i < ddpm_safetensors_metadata_count(file); ++i)
        if (!ddpm_safetensors_metadata(file, ddpm_safetensors_metadata_at(file, i).key))
            abort();
    ddpm_safetensors_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 255) {
        read_file(data + 1, size - 1);
        return 0;
    }
    uint64_t length = data[0];
    uint8_t *copy = malloc(size + 7);
    if (!copy)
        return 0;
    memcpy(copy, &length, 8);
    memcpy(copy + 8, data + 1, size - 1);
    read_file(copy, size + 7);
    free(copy);
    return 0;
}

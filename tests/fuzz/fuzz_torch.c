/* Fuzz target: a file of tensors in memory, as torch.save writes it in either form; every tensor of
 * numbers is read. */
#include <stdlib.h>

#include "formats/tensor_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ddpm_tensor_file *file;
    volatile float read = 0;
    if (ddpm_tensor_file_parse(&file, data, size, "input") != DDPM_OK)
        return 0;
    for (size_t i = 0; i < ddpm_tensor_file_count(file); ++i) {
        const struct ddpm_tensor_entry *entry = ddpm_tensor_file_at(file, i);
        float *values = malloc((size_t)entry->count * sizeof *values + 1);
        if (ddpm_tensor_file_find(file, entry->name) != entry)
            abort();
        if (values && ddpm_tensor_entry_read_f32(entry, values, entry->count) == DDPM_OK)
            for (int64_t k = 0; k < entry->count; ++k)
                read = read + values[k];
        free(values);
    }
    ddpm_tensor_file_close(&file);
    return 0;
}

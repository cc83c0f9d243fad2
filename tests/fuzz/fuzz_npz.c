/* Fuzz target: a .npz file in memory; the arrays of statistics are read from it. */
#include <stdlib.h>

#include "formats/npz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ddpm_npz_array arrays[] = {{.name = "mu"}, {.name = "sigma"}};
    double sum = 0;
    if (ddpm_npz_parse(data, size, "input", arrays, 2) != DDPM_OK)
        return 0;
    for (int i = 0; i < 2; ++i) {
        int64_t count = 1;
        for (int d = 0; d < arrays[i].rank; ++d)
            count *= arrays[i].shape[d];
        for (int64_t k = 0; k < count; ++k)
            sum += arrays[i].values[k];
        free(arrays[i].values);
    }
    volatile double read = sum;
    (void)read;
    return 0;
}

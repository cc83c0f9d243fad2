/* Fuzz target: a .npy file in memory; all values that it claims to have are read. */
#include <stdlib.h>
#include <string.h>

#include "formats/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ddpm_npy npy;
    if (ddpm_npy_parse(&npy, data, size, "input") != DDPM_OK)
        return 0;
    uint8_t *copy = malloc(npy.bytes + 1);
    if (copy && npy.bytes)
        memcpy(copy, npy.data, npy.bytes);
    free(copy);
    if ((size_t)npy.count * ddpm_npy_dtype_bytes(npy.dtype) != npy.bytes)
        abort();
    ddpm_npy_close(&npy);
    return 0;
}

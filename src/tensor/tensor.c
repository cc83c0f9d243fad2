/* Sizes, names and slow element access of tensors. */
#include "tensor/tensor.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[DDPM_DTYPE_COUNT] = {
    [DDPM_F32] = {"fp32", 4},  [DDPM_BF16] = {"bf16", 2}, [DDPM_F64] = {"fp64", 8},
    [DDPM_I32] = {"int32", 4}, [DDPM_U8] = {"uint8", 1},
};

size_t ddpm_dtype_size(enum ddpm_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *ddpm_dtype_name(enum ddpm_dtype dtype)
{
    return dtypes[dtype].name;
}

void ddpm_store(void *data, enum ddpm_dtype dtype, int64_t i, double value)
{
    switch (dtype) {
    case DDPM_F32:
        ((float *)data)[i] = (float)value;
        break;
    case DDPM_BF16:
        ((uint16_t *)data)[i] = ddpm_float_to_bf16((float)value);
        break;
    case DDPM_F64:
        ((double *)data)[i] = value;
        break;
    case DDPM_I32:
        ((int32_t *)data)[i] = (int32_t)value;
        break;
    case DDPM_U8:
        ((uint8_t *)data)[i] = (uint8_t)value;
        break;
    case DDPM_DTYPE_COUNT:
        break;
    }
}

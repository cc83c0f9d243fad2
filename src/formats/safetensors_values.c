/* Values of safetensors tensors as fp32 and as 64-bit integers. */
#include "formats/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* IEEE half precision: sign, 5 bits of exponent with bias 15, 10 bits of fraction. */
static float from_f16(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float magnitude;
    if (exponent == 31)
        magnitude = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        magnitude = ldexpf((float)fraction, -24);
    else
        magnitude = ldexpf((float)(1024 + fraction), exponent - 25);
    return half >> 15 ? -magnitude : magnitude;
}

/* bfloat16 is the upper half of fp32. */
static float from_bf16(uint16_t upper)
{
    uint32_t bits = (uint32_t)upper << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static ddpm_status check_count(const struct ddpm_safetensors_tensor *tensor, int64_t count)
{
    if (tensor->count == count)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_MISMATCH, "tensor \"%s\": got %" PRId64 " values, want %" PRId64,
                      tensor->name, tensor->count, count);
}

static ddpm_status wrong_dtype(const struct ddpm_safetensors_tensor *tensor, const char *wanted)
{
    return ddpm_raise(DDPM_ERROR_MISMATCH, "tensor \"%s\": got values of type %s, want %s",
                      tensor->name, ddpm_safetensors_dtype_name(tensor->dtype), wanted);
}

ddpm_status ddpm_safetensors_read_f32(const struct ddpm_safetensors_tensor *tensor, float *out,
                                      int64_t count)
{
    const uint8_t *data = tensor->data;
    DDPM_TRY(check_count(tensor, count));
    switch (tensor->dtype) {
    case DDPM_SAFETENSORS_F32:
        if (tensor->bytes)
            memcpy(out, data, tensor->bytes);
        return DDPM_OK;
    case DDPM_SAFETENSORS_F16:
    case DDPM_SAFETENSORS_BF16:
        for (int64_t i = 0; i < count; ++i) {
            uint16_t bits;
            memcpy(&bits, data + 2 * i, sizeof bits);
            out[i] = tensor->dtype == DDPM_SAFETENSORS_F16 ? from_f16(bits) : from_bf16(bits);
        }
        return DDPM_OK;
    case DDPM_SAFETENSORS_F64:
        for (int64_t i = 0; i < count; ++i) {
            double value;
            memcpy(&value, data + 8 * i, sizeof value);
            out[i] = (float)value;
        }
        return DDPM_OK;
    case DDPM_SAFETENSORS_I64:
    case DDPM_SAFETENSORS_I32:
    case DDPM_SAFETENSORS_U8:
    case DDPM_SAFETENSORS_BOOL:
        break;
    }
    return wrong_dtype(tensor, "F32, F64, F16 or BF16");
}

ddpm_status ddpm_safetensors_read_i64(const struct ddpm_safetensors_tensor *tensor, int64_t *out,
                                      int64_t count)
{
    const uint8_t *data = tensor->data;
    DDPM_TRY(check_count(tensor, count));
    switch (tensor->dtype) {
    case DDPM_SAFETENSORS_I64:
        if (tensor->bytes)
            memcpy(out, data, tensor->bytes);
        return DDPM_OK;
    case DDPM_SAFETENSORS_I32:
        for (int64_t i = 0; i < count; ++i) {
            int32_t value;
            memcpy(&value, data + 4 * i, sizeof value);
            out[i] = value;
        }
        return DDPM_OK;
    case DDPM_SAFETENSORS_U8:
    case DDPM_SAFETENSORS_BOOL:
        for (int64_t i = 0; i < count; ++i)
            out[i] = data[i];
        return DDPM_OK;
    case DDPM_SAFETENSORS_F32:
    case DDPM_SAFETENSORS_F64:
    case DDPM_SAFETENSORS_F16:
    case DDPM_SAFETENSORS_BF16:
        break;
    }
    return wrong_dtype(tensor, "I64, I32, U8 or BOOL");
}

/* Conversion between the library's layout and others: NHWC ↔ NCHW, and numbers in [-1,1] ↔
 * bytes. */
#ifndef DDPM_TENSOR_LAYOUT_H
#define DDPM_TENSOR_LAYOUT_H

#include "tensor/tensor.h"

/* Convert in host memory. `nhwc` is dense and has the tensor's dtype; `nchw` is fp32. */
void ddpm_nchw_to_nhwc(const struct ddpm_tensor *shape, const float *nchw, void *nhwc);
void ddpm_nhwc_to_nchw(const struct ddpm_tensor *shape, const void *nhwc, float *nchw);

/* A number as a byte: [-1,1] becomes 0 … 255, rounded half away from zero, clamped. NaN becomes
 * 0. */
uint8_t ddpm_byte_of(float value);

/* Convert fp32 [count, channels, area] to such bytes, [count, area, channels]. */
void ddpm_bytes_of_planes(uint8_t *out, const float *values, int64_t count, int64_t channels,
                          int64_t area);

#endif

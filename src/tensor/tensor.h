/* A tensor is a view of a buffer: dtype, shape and start. It owns nothing.
 *
 * Layout is NHWC. Rank is always four; a vector of F features per image is [B,1,1,F], a flat slab
 * [1,1,1,N]. `pixel_stride` is the distance in elements between two neighbouring pixels: C when
 * dense, more if the tensor is a range of channels inside a wider one (a concatenation without a
 * copy). Rows and images follow without gaps.
 *
 *     element (n,h,w,c) = data + ((n*H + h)*W + w) * pixel_stride + c */
#ifndef DDPM_TENSOR_TENSOR_H
#define DDPM_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum ddpm_dtype { DDPM_F32, DDPM_BF16, DDPM_F64, DDPM_I32, DDPM_U8, DDPM_DTYPE_COUNT };

struct ddpm_tensor {
    void *data;
    enum ddpm_dtype dtype;
    int64_t n, h, w, c;
    int64_t pixel_stride;
};

/* Bytes of one element. */
size_t ddpm_dtype_size(enum ddpm_dtype dtype);

/* "fp32", "bf16", … */
const char *ddpm_dtype_name(enum ddpm_dtype dtype);

/* A dense tensor without data. */
static inline struct ddpm_tensor ddpm_tensor_make(enum ddpm_dtype dtype, int64_t n, int64_t h,
                                                  int64_t w, int64_t c)
{
    return (struct ddpm_tensor){NULL, dtype, n, h, w, c, c};
}

/* An optional argument that was not given has n = 0. */
static inline bool ddpm_tensor_present(const struct ddpm_tensor *t)
{
    return t->n > 0;
}

static inline int64_t ddpm_tensor_pixels(const struct ddpm_tensor *t)
{
    return t->n * t->h * t->w;
}

static inline int64_t ddpm_tensor_count(const struct ddpm_tensor *t)
{
    return ddpm_tensor_pixels(t) * t->c;
}

static inline bool ddpm_tensor_dense(const struct ddpm_tensor *t)
{
    return t->pixel_stride == t->c;
}

/* Bytes from the start of the first element to the end of the last. */
static inline size_t ddpm_tensor_bytes(const struct ddpm_tensor *t)
{
    int64_t pixels = ddpm_tensor_pixels(t);
    return pixels ? (size_t)((pixels - 1) * t->pixel_stride + t->c) * ddpm_dtype_size(t->dtype) : 0;
}

static inline bool ddpm_tensor_same_shape(const struct ddpm_tensor *a, const struct ddpm_tensor *b)
{
    return a->n == b->n && a->h == b->h && a->w == b->w && a->c == b->c;
}

static inline float ddpm_bf16_to_float(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* Round to nearest even; NaN stays NaN. */
static inline uint16_t ddpm_float_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* Read or write element i of a buffer as a double. Slow: for reference kernels and tests. Reading
 * is inline because a convolution reads far more than it writes. */
static inline double ddpm_load(const void *data, enum ddpm_dtype dtype, int64_t i)
{
    switch (dtype) {
    case DDPM_F32:
        return (double)((const float *)data)[i];
    case DDPM_BF16:
        return (double)ddpm_bf16_to_float(((const uint16_t *)data)[i]);
    case DDPM_F64:
        return ((const double *)data)[i];
    case DDPM_I32:
        return ((const int32_t *)data)[i];
    case DDPM_U8:
        return ((const uint8_t *)data)[i];
    case DDPM_DTYPE_COUNT:
        break;
    }
    return 0;
}
void ddpm_store(void *data, enum ddpm_dtype dtype, int64_t i, double value);

#endif

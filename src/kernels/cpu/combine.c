/* Rows of coefficients, and sums of pictures weighted by them: adding noise, targets, x̂_0 and every
 * step of a sampler. Also pictures that take some pixels from one picture and the rest from
 * another, by a mask.
 *
 * Plain C, one source for all levels. Each product and each sum is rounded on its own
 * (-ffp-contract=off), so every processor computes the same bits. */
#include <string.h>

#include "core/threads.h"
#include "kernels/backend.h"
#include "kernels/cpu/levels.h"

/* Sum CHUNK elements of all inputs at a time before writing the output, which may be one of
 * them. */
enum { CHUNK = 256, PIXEL_GRAIN = 4096 };

static ddpm_status gather_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *table = &call->in[0], *t = &call->in[1], *rows = &call->out[0];
    for (int64_t b = 0; b < rows->n; ++b) {
        const int64_t row = ((const int32_t *)t->data)[b * t->pixel_stride];
        memcpy((float *)rows->data + b * rows->pixel_stride,
               (const float *)table->data + row * table->pixel_stride,
               (size_t)rows->c * sizeof(float));
    }
    return DDPM_OK;
}

static bool gather_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 && call->in[1].dtype == DDPM_I32 &&
           call->out[0].dtype == DDPM_F32;
}

static const struct ddpm_kernel gather_rows_kernel = {
    .name = "gather_rows_cpu", .supports = gather_supports, .run = gather_run};
KERNELS_OF_ALL_LEVELS(gather_rows, &gather_rows_kernel);

/* sum += k·x, or sum = k·x for the first input. */
static void add(float *restrict sum, float k, const struct ddpm_tensor *x, int64_t at,
                int64_t count, bool first)
{
    float wide[CHUNK];
    const float *restrict from = wide;
    if (x->dtype == DDPM_F32)
        from = (const float *)x->data + at;
    else
        for (int64_t i = 0; i < count; ++i)
            wide[i] = ddpm_bf16_to_float(((const uint16_t *)x->data)[at + i]);
    if (first)
        for (int64_t i = 0; i < count; ++i)
            sum[i] = k * from[i];
    else
        for (int64_t i = 0; i < count; ++i)
            sum[i] += k * from[i];
}

static void put(const struct ddpm_tensor *y, int64_t at, const float *sum, int64_t count)
{
    if (y->dtype == DDPM_F32)
        memcpy((float *)y->data + at, sum, (size_t)count * sizeof(float));
    else
        for (int64_t i = 0; i < count; ++i)
            ((uint16_t *)y->data)[at + i] = ddpm_float_to_bf16(sum[i]);
}

/* `count` elements of picture b, starting at channel c of pixel p. */
static void combine_chunk(const struct ddpm_call *call, int64_t b, int64_t p, int64_t c,
                          int64_t count)
{
    const struct ddpm_tensor *rows = &call->in[0], *y = &call->out[0];
    const float *row = (const float *)rows->data + b * rows->pixel_stride;
    float sum[CHUNK];
    bool first = true;
    for (int i = 0; i < DDPM_COMBINED; ++i) {
        const struct ddpm_tensor *x = &call->in[1 + i];
        const float k = ddpm_tensor_present(x) ? row[call->attributes.columns[i]] : 0;
        if (k == 0)
            continue;
        add(sum, k, x, p * x->pixel_stride + c, count, first);
        first = false;
    }
    if (first)
        memset(sum, 0, (size_t)count * sizeof *sum);
    if (call->attributes.clip)
        for (int64_t i = 0; i < count; ++i)
            sum[i] = sum[i] < -1 ? -1 : sum[i] > 1 ? 1 : sum[i];
    put(y, p * y->pixel_stride + c, sum, count);
}

static bool all_dense(const struct ddpm_call *call)
{
    for (int i = 1; i <= DDPM_COMBINED; ++i)
        if (ddpm_tensor_present(&call->in[i]) && !ddpm_tensor_dense(&call->in[i]))
            return false;
    return ddpm_tensor_dense(&call->out[0]);
}

/* Over the pixels, one picture at a time; in one piece if the memory is contiguous. */
static void combine_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *y = &call->out[0];
    const int64_t image = y->h * y->w;
    const bool dense = all_dense(call);
    for (int64_t p = begin, next; p < end; p = next) {
        const int64_t b = p / image;
        next = !dense ? p + 1 : (b + 1) * image < end ? (b + 1) * image : end;
        const int64_t length = (next - p) * y->c;
        for (int64_t i = 0; i < length; i += CHUNK)
            combine_chunk(call, b, p, i, length - i < CHUNK ? length - i : CHUNK);
    }
}

static ddpm_status combine_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]), PIXEL_GRAIN,
                      combine_range, (void *)call);
    return DDPM_OK;
}

static bool is_compute(const struct ddpm_tensor *t)
{
    return t->dtype == DDPM_F32 || t->dtype == DDPM_BF16;
}

static bool combine_supports(const struct ddpm_call *call)
{
    for (int i = 1; i <= DDPM_COMBINED; ++i)
        if (ddpm_tensor_present(&call->in[i]) && !is_compute(&call->in[i]))
            return false;
    return call->in[0].dtype == DDPM_F32 && is_compute(&call->out[0]);
}

static const struct ddpm_kernel combine_kernel = {
    .name = "combine_cpu", .supports = combine_supports, .run = combine_run};
KERNELS_OF_ALL_LEVELS(combine, &combine_kernel);

/* Over the pixels: there are few channels, so no blocking. */
static void blend_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *mask = &call->in[0], *a = &call->in[1], *b = &call->in[2],
                             *y = &call->out[0];
    for (int64_t p = begin; p < end; ++p) {
        const float m = ((const float *)mask->data)[p * mask->pixel_stride];
        const float *of_a = (const float *)a->data + p * a->pixel_stride;
        const float *of_b = (const float *)b->data + p * b->pixel_stride;
        float *to = (float *)y->data + p * y->pixel_stride;
        for (int64_t c = 0; c < y->c; ++c)
            to[c] = m == 0 ? of_b[c] : m == 1 ? of_a[c] : m * of_a[c] + (1 - m) * of_b[c];
    }
}

static ddpm_status blend_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]), PIXEL_GRAIN,
                      blend_range, (void *)call);
    return DDPM_OK;
}

static bool blend_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 && call->in[1].dtype == DDPM_F32 &&
           call->in[2].dtype == DDPM_F32 && call->out[0].dtype == DDPM_F32;
}

static const struct ddpm_kernel blend_kernel = {
    .name = "blend_cpu", .supports = blend_supports, .run = blend_run};
KERNELS_OF_ALL_LEVELS(blend, &blend_kernel);

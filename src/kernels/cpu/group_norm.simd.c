/* GroupNorm with one group (Wu & He 2018): y = (a - mean_b)·rstd_b·w[c] + bias[c], with
 * a = activation(x).
 *
 * Pass one gives every chunk its count, mean and M2 = Σ(a - mean)²: blocks in fp32, shifted by a
 * pivot near the mean so that nothing cancels, joined in fp64 by the formula of Chan, Golub &
 * LeVeque (1979). Pass two writes y. Where y is dense fp32, pass one leaves a in it; elsewhere pass
 * two computes the activation again.
 *
 * Scratch: fp64 [B, chunks, 3], then one fp32 block per thread. */
#include <math.h>

#include "kernels/cpu/group_norm.h"

struct moments {
    double count, mean, m2;
};

struct norm_wave {
    const struct ddpm_call *call;
    struct norm_cut cut;
    int64_t first_image;
    bool stored; /* pass one leaves the activated values in y */
};

static void join(struct moments *a, struct moments b)
{
    if (b.count <= 0)
        return;
    const double count = a->count + b.count, delta = b.mean - a->mean;
    a->mean += delta * (b.count / count);
    a->m2 += b.m2 + delta * delta * (a->count * b.count / count);
    a->count = count;
}

/* With eight significant bits, the difference to numbers that are round themselves is exact. */
static float pivot_near(float mean)
{
    return ddpm_bf16_to_float(ddpm_float_to_bf16(mean));
}

static struct moments block_moments(const float *x, int64_t count, float pivot)
{
    const vf shift = vf_set(pivot);
    vf sum[4] = {{0}}, rest[4] = {{0}}, squares[4] = {{0}};
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int k = 0; k < 4; ++k) {
            vf d = vf_load(x + i + k * LANES) - shift;
            squares[k] += d * d;
            /* Kahan's summation: the mean may be small beside the values. */
            vf corrected = d - rest[k], next = sum[k] + corrected;
            rest[k] = (next - sum[k]) - corrected;
            sum[k] = next;
        }
    double s = 0;
    for (int k = 0; k < 4; ++k)
        for (int lane = 0; lane < LANES; ++lane)
            s += (double)sum[k][lane];
    double q = (double)vf_sum((squares[0] + squares[1]) + (squares[2] + squares[3]));
    for (; i < count; ++i) {
        const double d = (double)x[i] - (double)pivot;
        s += d;
        q += d * d;
    }
    const double n = (double)count, m2 = q - s * s / n;
    return (struct moments){n, (double)pivot + s / n, m2 < 0 ? 0 : m2};
}

static float *thread_block(const struct norm_wave *wave, int thread)
{
    const size_t partials = (size_t)(wave->call->in[0].n * wave->cut.chunks);
    char *base = (char *)wave->call->scratch + ddpm_align_up(partials * sizeof(struct moments));
    return (float *)base + thread * wave->cut.buffer;
}

static void statistics_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct norm_wave *wave = context;
    const struct norm_cut *cut = &wave->cut;
    const struct ddpm_tensor *x = &wave->call->in[0];
    float *buffer = thread_block(wave, thread);
    for (int64_t i = begin; i < end; ++i) {
        const int64_t image = wave->first_image + i / cut->chunks, chunk = i % cut->chunks;
        int64_t last = (chunk + 1) * cut->chunk_pixels;
        last = last < cut->pixels ? last : cut->pixels;
        struct moments total = {0, 0, 0};
        for (int64_t p = chunk * cut->chunk_pixels; p < last; p += cut->block_pixels) {
            const int64_t pixels = last - p < cut->block_pixels ? last - p : cut->block_pixels;
            const int64_t pixel = image * cut->pixels + p;
            float *to = wave->stored ? (float *)wave->call->out[0].data + pixel * x->c : buffer;
            const float *a =
                norm_gather(x, pixel, pixels, wave->call->attributes.activation, to, NULL);
            join(&total, block_moments(a, pixels * cut->channels,
                                       pivot_near(total.count > 0 ? (float)total.mean : a[0])));
        }
        ((struct moments *)wave->call->scratch)[image * cut->chunks + chunk] = total;
    }
}

ALWAYS_INLINE void normalize_as(const struct ddpm_call *call, const float *a, int64_t pixel,
                                int64_t pixels, float mean, float rstd, enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *y = &call->out[0];
    const float *w = call->in[1].data, *bias = call->in[2].data;
    const vf shift = vf_set(mean), scale = vf_set(rstd);
    for (int64_t p = 0; p < pixels; ++p)
        for (int64_t c = 0; c < y->c; c += LANES) {
            const int64_t left = y->c - c;
            vf normal = (vf_load_upto(a + p * y->c, c, left, DDPM_F32) - shift) * scale;
            vf result =
                normal * vf_load_upto(w, c, left, DDPM_F32) + vf_load_upto(bias, c, left, DDPM_F32);
            vf_store_upto(y->data, (pixel + p) * y->pixel_stride + c, result, left, dtype);
        }
}

static void write_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct norm_wave *wave = context;
    const struct norm_cut *cut = &wave->cut;
    const struct ddpm_call *call = wave->call;
    const struct ddpm_tensor *from = wave->stored ? &call->out[0] : &call->in[0];
    const enum ddpm_activation activation =
        wave->stored ? DDPM_NO_ACTIVATION : call->attributes.activation;
    float *buffer = thread_block(wave, thread);
    for (int64_t i = begin; i < end; ++i) {
        const int64_t image = wave->first_image + i / cut->chunks, chunk = i % cut->chunks;
        const float *stats = (const float *)call->out[1].data + 2 * image;
        int64_t last = (chunk + 1) * cut->chunk_pixels;
        last = last < cut->pixels ? last : cut->pixels;
        for (int64_t p = chunk * cut->chunk_pixels; p < last; p += cut->block_pixels) {
            const int64_t pixels = last - p < cut->block_pixels ? last - p : cut->block_pixels;
            const int64_t pixel = image * cut->pixels + p;
            const float *a = norm_gather(from, pixel, pixels, activation, buffer, NULL);
            if (call->out[0].dtype == DDPM_F32)
                normalize_as(call, a, pixel, pixels, stats[0], stats[1], DDPM_F32);
            else
                normalize_as(call, a, pixel, pixels, stats[0], stats[1], DDPM_BF16);
        }
    }
}

static void join_chunks(const struct norm_wave *wave, int64_t image)
{
    const struct moments *partial =
        (const struct moments *)wave->call->scratch + image * wave->cut.chunks;
    struct moments total = {0, 0, 0};
    for (int64_t chunk = 0; chunk < wave->cut.chunks; ++chunk)
        join(&total, partial[chunk]);
    float *stats = (float *)wave->call->out[1].data + 2 * image;
    stats[0] = (float)total.mean;
    stats[1] = (float)(1 / sqrt(total.m2 / total.count + (double)wave->call->attributes.eps));
}

static ddpm_status run(const struct ddpm_call *call)
{
    struct norm_wave wave = {.call = call, .cut = norm_cut_of(&call->in[0])};
    const struct ddpm_tensor *y = &call->out[0];
    const int64_t images = call->in[0].n, most = norm_wave_images(call, 1);
    wave.stored = call->attributes.activation != DDPM_NO_ACTIVATION && y->dtype == DDPM_F32 &&
                  ddpm_tensor_dense(y);
    for (int64_t image = 0; image < images; image += most) {
        const int64_t count = images - image < most ? images - image : most;
        wave.first_image = image;
        ddpm_parallel_for(call->device->threads, count * wave.cut.chunks, 1, statistics_range,
                          &wave);
        for (int64_t b = image; b < image + count; ++b)
            join_chunks(&wave, b);
        ddpm_parallel_for(call->device->threads, count * wave.cut.chunks, 1, write_range, &wave);
    }
    return DDPM_OK;
}

static ddpm_status prepare(struct ddpm_call *call)
{
    const struct norm_cut cut = norm_cut_of(&call->in[0]);
    call->scratch_bytes =
        ddpm_align_up((size_t)(call->in[0].n * cut.chunks) * sizeof(struct moments)) +
        (size_t)(call->device->threads * cut.buffer) * sizeof(float);
    return DDPM_OK;
}

static bool supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1) && call->in[1].dtype == DDPM_F32 && call->in[2].dtype == DDPM_F32 &&
           call->out[1].dtype == DDPM_F32;
}

const struct ddpm_kernel SIMD(group_norm) = {
    .name = SIMD_NAME("group_norm"), .supports = supports, .prepare = prepare, .run = run};

/* Gradient of GroupNorm with one group, with x̂ = (a - mean)·rstd, a = activation(x), N = H·W·C:
 *
 *   dbias[c] += Σ_{b,h,w} dy     dw[c] += Σ_{b,h,w} dy·x̂
 *   S1_b = Σ dy·w = Σ_c w[c]·dbias_b[c]     S2_b = Σ dy·w·x̂ = Σ_c w[c]·dw_b[c]
 *   dx = rstd·(dy·w - (S1_b + x̂·S2_b)/N) · activation'(x)
 *
 * Pass one needs the sums per channel only: S1 and S2 follow from them. fp32 sums per chunk, four
 * pixels at a time; everything above a chunk in fp64.
 *
 * Scratch: fp32 [B, chunks, 2, C]; fp64 [B, 2, C]; fp32 [B, 2] = (S1, S2)/N. */
#include "kernels/cpu/group_norm.h"

struct norm_wave {
    const struct ddpm_call *call;
    struct norm_cut cut;
    int64_t first_image;
    float *chunk_sums;
    double *image_sums;
    float *means; /* [B,2]: S1/N, S2/N */
    size_t bytes;
};

/* The next `bytes` of scratch; NULL while only sizes are computed. */
static void *take(struct norm_wave *wave, size_t bytes)
{
    char *base = wave->call->scratch;
    void *part = base ? base + wave->bytes : NULL;
    wave->bytes += ddpm_align_up(bytes);
    return part;
}

static void lay_out(struct norm_wave *wave)
{
    const struct ddpm_tensor *x = &wave->call->in[0];
    const size_t images = (size_t)x->n, channels = (size_t)x->c;
    wave->chunk_sums = take(wave, images * (size_t)wave->cut.chunks * 2 * channels * sizeof(float));
    wave->image_sums = take(wave, images * 2 * channels * sizeof(double));
    wave->means = take(wave, images * 2 * sizeof(float));
}

/* sums[0][c] += Σ dy, sums[1][c] += Σ dy·x̂ over a block. */
ALWAYS_INLINE void add_block(const struct ddpm_call *call, int64_t pixel, int64_t pixels,
                             const float *stats, float *sums, const enum ddpm_activation activation,
                             const enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *x = &call->in[0], *dy = &call->in[3];
    const vf shift = vf_set(stats[0]), scale = vf_set(stats[1]);
    const int64_t channels = x->c, end = pixel + pixels;
    for (int64_t p = pixel; p < end; p += 4) {
        const int64_t rows = end - p < 4 ? end - p : 4;
        for (int64_t c = 0; c < channels; c += LANES) {
            const int64_t left = channels - c;
            vf sum = {0}, product = {0};
            for (int64_t row = p; row < p + rows; ++row) {
                fetch_ahead(dy->data, row * dy->pixel_stride + c, dtype);
                fetch_ahead(x->data, row * x->pixel_stride + c, dtype);
                vf gradient = vf_load_upto(dy->data, row * dy->pixel_stride + c, left, dtype);
                vf a = norm_value(vf_load_upto(x->data, row * x->pixel_stride + c, left, dtype),
                                  activation, dtype);
                sum += gradient;
                product += gradient * (a - shift);
            }
            vf_store_upto(sums, c, vf_load_upto(sums, c, left, DDPM_F32) + sum, left, DDPM_F32);
            vf_store_upto(sums, channels + c,
                          vf_load_upto(sums, channels + c, left, DDPM_F32) + product * scale, left,
                          DDPM_F32);
        }
    }
}

static void sums_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct norm_wave *wave = context;
    const struct norm_cut *cut = &wave->cut;
    const struct ddpm_call *call = wave->call;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t image = wave->first_image + i / cut->chunks, chunk = i % cut->chunks;
        const float *stats = (const float *)call->in[2].data + 2 * image;
        float *sums = wave->chunk_sums + (image * cut->chunks + chunk) * 2 * cut->channels;
        memset(sums, 0, (size_t)(2 * cut->channels) * sizeof *sums);
        int64_t last = (chunk + 1) * cut->chunk_pixels;
        last = last < cut->pixels ? last : cut->pixels;
        const int64_t pixel = chunk * cut->chunk_pixels;
        NORM_DISPATCH(call->in[0].dtype == DDPM_F32, call->attributes.activation, add_block, call,
                      image * cut->pixels + pixel, last - pixel, stats, sums);
    }
}

static void join_chunks(const struct norm_wave *wave, int64_t image)
{
    const int64_t channels = wave->cut.channels, chunks = wave->cut.chunks;
    const float *partial = wave->chunk_sums + image * chunks * 2 * channels;
    const float *w = wave->call->in[1].data;
    double *sums = wave->image_sums + image * 2 * channels;
    for (int64_t c = 0; c < 2 * channels; ++c)
        sums[c] = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
        for (int64_t c = 0; c < 2 * channels; ++c)
            sums[c] += (double)partial[chunk * 2 * channels + c];
    double s1 = 0, s2 = 0;
    for (int64_t c = 0; c < channels; ++c) {
        s1 += sums[c] * (double)w[c];
        s2 += sums[channels + c] * (double)w[c];
    }
    const double n = (double)(wave->cut.pixels * channels);
    wave->means[2 * image] = (float)(s1 / n);
    wave->means[2 * image + 1] = (float)(s2 / n);
}

ALWAYS_INLINE void write_block(const struct norm_wave *wave, int64_t image, int64_t pixel,
                               int64_t pixels, const enum ddpm_activation activation,
                               const enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *x = &wave->call->in[0], *dy = &wave->call->in[3];
    const struct ddpm_tensor *dx = &wave->call->out[0];
    const float *w = wave->call->in[1].data;
    const float *stats = (const float *)wave->call->in[2].data + 2 * image;
    const vf shift = vf_set(stats[0]), rstd = vf_set(stats[1]);
    const vf mean1 = vf_set(wave->means[2 * image] * stats[1]);
    const vf mean2 = vf_set(wave->means[2 * image + 1] * stats[1] * stats[1]);
    for (int64_t p = pixel; p < pixel + pixels; ++p)
        for (int64_t c = 0; c < dx->c; c += LANES) {
            const int64_t left = dx->c - c;
            fetch_ahead(x->data, p * x->pixel_stride + c, dtype);
            fetch_ahead(dy->data, p * dy->pixel_stride + c, dtype);
            fetch_ahead(dx->data, p * dx->pixel_stride + c, dtype);
            vf slope, a = norm_value_with_slope(
                          vf_load_upto(x->data, p * x->pixel_stride + c, left, dtype), &slope,
                          activation, dtype);
            vf gradient = vf_load_upto(dy->data, p * dy->pixel_stride + c, left, dtype) *
                          (rstd * vf_load_upto(w, c, left, DDPM_F32));
            vf result = gradient - (mean1 + (a - shift) * mean2);
            if (activation != DDPM_NO_ACTIVATION)
                result = result * slope;
            vf_store_upto(dx->data, p * dx->pixel_stride + c, result, left, dtype);
        }
}

static void write_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct norm_wave *wave = context;
    const struct norm_cut *cut = &wave->cut;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t image = wave->first_image + i / cut->chunks, chunk = i % cut->chunks;
        int64_t last = (chunk + 1) * cut->chunk_pixels;
        last = last < cut->pixels ? last : cut->pixels;
        const int64_t pixel = chunk * cut->chunk_pixels;
        NORM_DISPATCH(wave->call->in[0].dtype == DDPM_F32, wave->call->attributes.activation,
                      write_block, wave, image, image * cut->pixels + pixel, last - pixel);
    }
}

static void add_parameter_gradients(const struct norm_wave *wave)
{
    const int64_t channels = wave->cut.channels, images = wave->call->in[0].n;
    float *dw = wave->call->out[1].data, *dbias = wave->call->out[2].data;
    const bool fresh_dw = ddpm_call_overwrites(wave->call, 1);
    const bool fresh_dbias = ddpm_call_overwrites(wave->call, 2);
    for (int64_t c = 0; c < channels; ++c) {
        double bias_sum = 0, weight_sum = 0;
        for (int64_t b = 0; b < images; ++b) {
            bias_sum += wave->image_sums[b * 2 * channels + c];
            weight_sum += wave->image_sums[(b * 2 + 1) * channels + c];
        }
        dbias[c] = (fresh_dbias ? 0 : dbias[c]) + (float)bias_sum;
        dw[c] = (fresh_dw ? 0 : dw[c]) + (float)weight_sum;
    }
}

static ddpm_status run(const struct ddpm_call *call)
{
    struct norm_wave wave = {.call = call, .cut = norm_cut_of(&call->in[0])};
    const int64_t images = call->in[0].n, most = norm_wave_images(call, 2);
    lay_out(&wave);
    for (int64_t image = 0; image < images; image += most) {
        const int64_t count = images - image < most ? images - image : most;
        wave.first_image = image;
        ddpm_parallel_for(call->device->threads, count * wave.cut.chunks, 1, sums_range, &wave);
        for (int64_t b = image; b < image + count; ++b)
            join_chunks(&wave, b);
        ddpm_parallel_for(call->device->threads, count * wave.cut.chunks, 1, write_range, &wave);
    }
    add_parameter_gradients(&wave);
    return DDPM_OK;
}

static ddpm_status prepare(struct ddpm_call *call)
{
    struct norm_wave wave = {.call = call, .cut = norm_cut_of(&call->in[0])};
    lay_out(&wave);
    call->scratch_bytes = wave.bytes;
    return DDPM_OK;
}

static bool supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1) && call->in[3].dtype == call->in[0].dtype &&
           call->in[1].dtype == DDPM_F32 && call->in[2].dtype == DDPM_F32 &&
           call->out[1].dtype == DDPM_F32 && call->out[2].dtype == DDPM_F32;
}

static const struct ddpm_kernel group_norm_backward_kernel = {
    .name = SIMD_NAME("group_norm_backward"), .supports = supports, .prepare = prepare, .run = run};
KERNELS_OF(group_norm_backward, &group_norm_backward_kernel);

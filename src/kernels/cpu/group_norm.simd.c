/* GroupNorm with one group (Wu & He 2018): y = (a - mean_b)·rstd_b·w[c] + bias[c], with a =
 * activation(x).
 *
 * The first pass computes every chunk's moments, the second writes y. If y is dense, the first pass
 * stores a in it. If y is not dense, or if there is no first pass because the statistics are given,
 * the second pass computes the activation. Either way a is rounded to y's dtype before it is
 * normalised.
 *
 * Scratch: struct moments [B, chunks]. */
#include "kernels/cpu/group_norm.h"
#include "kernels/cpu/moments.h"

struct norm_wave {
    const struct ddpm_call *call;
    struct norm_cut cut;
    int64_t first_image;
    const float *stats;
    bool stored; /* the first pass stores the activated values in y */
};

/* Sums of a block's differences from the pivot. */
struct block_sums {
    vf sum[4], rest[4], squares[4];
    double tail_sum, tail_squares;
};

ALWAYS_INLINE void add_vector(struct block_sums *sums, int k, vf d, const enum ddpm_dtype dtype)
{
    sums->squares[k] += d * d;
    if (dtype == DDPM_BF16) {
        sums->sum[k] += d;
        return;
    }
    /* Kahan summation: the mean may be small compared with the values. */
    vf corrected = d - sums->rest[k], next = sums->sum[k] + corrected;
    sums->rest[k] = (next - sums->sum[k]) - corrected;
    sums->sum[k] = next;
}

/* Add a block's moments to *total; store the activated values in `keep` unless it is NULL. */
ALWAYS_INLINE void add_block(const struct ddpm_tensor *x, int64_t pixel, int64_t pixels, void *keep,
                             struct moments *total, const enum ddpm_activation activation,
                             const enum ddpm_dtype dtype)
{
    const int64_t step = ddpm_tensor_dense(x) ? pixels : 1, count = step * x->c;
    vf first =
        norm_value(vf_load_part_as(x->data, pixel * x->pixel_stride, 1, dtype), activation, dtype);
    const float pivot = moments_pivot(total->count > 0 ? (float)total->mean : first[0]);
    const vf shift = vf_set(pivot);
    struct block_sums sums = {0};
    for (int64_t p = 0; p < pixels; p += step) {
        const int64_t at = (pixel + p) * x->pixel_stride;
        int64_t i = 0;
        for (; i + 4 * LANES <= count; i += 4 * LANES)
            _Pragma("GCC unroll 4") for (int k = 0; k < 4; ++k)
            {
                fetch_ahead(x->data, at + i + k * LANES, dtype);
                vf a =
                    norm_value(vf_load_as(x->data, at + i + k * LANES, dtype), activation, dtype);
                if (keep)
                    fetch_ahead(keep, p * x->c + i + k * LANES, dtype);
                if (keep)
                    vf_store_as(keep, p * x->c + i + k * LANES, a, dtype);
                add_vector(&sums, k, a - shift, dtype);
            }
        for (; i < count; i += LANES) {
            const int64_t left = count - i < LANES ? count - i : LANES;
            vf a = norm_value(vf_load_part_as(x->data, at + i, left, dtype), activation, dtype);
            if (keep)
                vf_store_part_as(keep, p * x->c + i, a, left, dtype);
            for (int64_t lane = 0; lane < left; ++lane) {
                const double d = (double)a[lane] - (double)pivot;
                sums.tail_sum += d;
                sums.tail_squares += d * d;
            }
        }
    }
    double s = sums.tail_sum, q = sums.tail_squares, n = (double)(pixels * x->c);
    for (int k = 0; k < 4; ++k)
        for (int lane = 0; lane < LANES; ++lane)
            s += (double)sums.sum[k][lane];
    q += (double)vf_sum((sums.squares[0] + sums.squares[1]) + (sums.squares[2] + sums.squares[3]));
    moments_join(total, moments_of_block(n, pivot, s, q));
}

static void statistics_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct norm_wave *wave = context;
    const struct norm_cut *cut = &wave->cut;
    const struct ddpm_tensor *x = &wave->call->in[0];
    for (int64_t i = begin; i < end; ++i) {
        const int64_t image = wave->first_image + i / cut->chunks, chunk = i % cut->chunks;
        int64_t last = (chunk + 1) * cut->chunk_pixels;
        last = last < cut->pixels ? last : cut->pixels;
        struct moments total = {0, 0, 0};
        for (int64_t p = chunk * cut->chunk_pixels; p < last; p += cut->block_pixels) {
            const int64_t pixels = last - p < cut->block_pixels ? last - p : cut->block_pixels;
            const int64_t pixel = image * cut->pixels + p;
            char *keep = wave->call->out[0].data;
            keep = wave->stored ? keep + pixel * x->c * (int64_t)ddpm_dtype_size(x->dtype) : NULL;
            NORM_DISPATCH(x->dtype == DDPM_F32, wave->call->attributes.activation, add_block, x,
                          pixel, pixels, keep, &total);
        }
        ((struct moments *)wave->call->scratch)[image * cut->chunks + chunk] = total;
    }
}

ALWAYS_INLINE void normalize(const struct ddpm_call *call, const struct ddpm_tensor *from,
                             int64_t pixel, int64_t pixels, const float *stats,
                             const enum ddpm_activation activation, const enum ddpm_dtype dtype)
{
    const struct ddpm_tensor *y = &call->out[0];
    const float *w = call->in[1].data, *bias = call->in[2].data;
    const vf shift = vf_set(stats[0]), scale = vf_set(stats[1]);
    for (int64_t p = pixel; p < pixel + pixels; ++p)
        for (int64_t c = 0; c < y->c; c += LANES) {
            const int64_t left = y->c - c;
            fetch_ahead(from->data, p * from->pixel_stride + c, dtype);
            vf a = norm_value(vf_load_upto(from->data, p * from->pixel_stride + c, left, dtype),
                              activation, dtype);
            if (activation != DDPM_NO_ACTIVATION && dtype == DDPM_BF16)
                a = vf_from_bf16(vf_to_bf16(a));
            vf result = (a - shift) * (scale * vf_load_upto(w, c, left, DDPM_F32)) +
                        vf_load_upto(bias, c, left, DDPM_F32);
            vf_store_upto(y->data, p * y->pixel_stride + c, result, left, dtype);
        }
}

static void write_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct norm_wave *wave = context;
    const struct norm_cut *cut = &wave->cut;
    const struct ddpm_call *call = wave->call;
    const struct ddpm_tensor *from = wave->stored ? &call->out[0] : &call->in[0];
    const enum ddpm_activation activation =
        wave->stored ? DDPM_NO_ACTIVATION : call->attributes.activation;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t image = wave->first_image + i / cut->chunks, chunk = i % cut->chunks;
        const float *stats = wave->stats + 2 * image;
        int64_t last = (chunk + 1) * cut->chunk_pixels;
        last = last < cut->pixels ? last : cut->pixels;
        const int64_t pixel = chunk * cut->chunk_pixels;
        NORM_DISPATCH(from->dtype == DDPM_F32, activation, normalize, call, from,
                      image * cut->pixels + pixel, last - pixel, stats);
    }
}

static void join_chunks(const struct norm_wave *wave, int64_t image)
{
    const struct moments *partial =
        (const struct moments *)wave->call->scratch + image * wave->cut.chunks;
    moments_finish(partial, wave->cut.chunks, wave->call->attributes.eps,
                   (float *)wave->call->out[1].data + 2 * image);
}

static ddpm_status run(const struct ddpm_call *call)
{
    struct norm_wave wave = {.call = call, .cut = norm_cut_of(&call->in[0])};
    const struct ddpm_tensor *y = &call->out[0];
    const int64_t images = call->in[0].n, most = norm_wave_images(call, 1);
    if (ddpm_tensor_present(&call->in[3])) {
        wave.stats = call->in[3].data;
        ddpm_parallel_for(call->device->threads, images * wave.cut.chunks, 1, write_range, &wave);
        return DDPM_OK;
    }
    wave.stats = call->out[1].data;
    wave.stored = call->attributes.activation != DDPM_NO_ACTIVATION && ddpm_tensor_dense(y);
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
    call->scratch_bytes = (size_t)(call->in[0].n * cut.chunks) * sizeof(struct moments);
    return DDPM_OK;
}

static bool supports(const struct ddpm_call *call)
{
    const bool given = ddpm_tensor_present(&call->in[3]);
    return same_dtype(call, 1) && call->in[1].dtype == DDPM_F32 && call->in[2].dtype == DDPM_F32 &&
           (given ? &call->in[3] : &call->out[1])->dtype == DDPM_F32;
}

static const struct ddpm_kernel group_norm_kernel = {
    .name = SIMD_NAME("group_norm"), .supports = supports, .prepare = prepare, .run = run};
KERNELS_OF(group_norm, &group_norm_kernel);

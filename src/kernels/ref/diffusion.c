/* Operations around the network: input pictures, random draws, sums of pictures, the loss. */
#include <math.h>

#include "core/random.h"
#include "kernels/ref/ref.h"

/* Which pixel of a picture moves to (h, w) when it is mirrored, then rotated. */
static int64_t turned_from(const struct ddpm_tensor *x, int flip, int64_t n, int64_t h, int64_t w)
{
    const int turns = flip >> 1;
    if (turns & 1) { /* in a square: row w from the top, column h from the right */
        const int64_t row = w;
        w = x->w - 1 - h;
        h = row;
    }
    if (turns & 2) {
        h = x->h - 1 - h;
        w = x->w - 1 - w;
    }
    return ref_pixel(x, n, h, flip & 1 ? x->w - 1 - w : w);
}

/* x = 2·p/255 - 1, mirrored left to right if bit 0 of flip is set, then rotated counterclockwise by
 * flip >> 1 quarter turns.
 * in: p uint8 [B,H,W,C], flip uint8 [B,1,1,1]; out: x [B,H,W,C] */
ddpm_status ddpm_ref_normalize_pictures(const struct ddpm_call *call)
{
    const struct ddpm_tensor *pictures = &call->in[0], *flip = &call->in[1], *x = &call->out[0];
    for (int64_t n = 0; n < x->n; ++n) {
        for (int64_t h = 0; h < x->h; ++h) {
            for (int64_t w = 0; w < x->w; ++w) {
                int64_t from = turned_from(x, (int)ref_get(flip, n, 0), n, h, w);
                for (int64_t c = 0; c < x->c; ++c)
                    ref_set(x, ref_pixel(x, n, h, w), c, 2 * ref_get(pictures, from, c) / 255 - 1);
            }
        }
    }
    return DDPM_OK;
}

static double squared_distance(const struct ddpm_tensor *a, const struct ddpm_tensor *b,
                               int64_t picture)
{
    double sum = 0;
    for (int64_t p = picture * a->h * a->w; p < (picture + 1) * a->h * a->w; ++p)
        for (int64_t c = 0; c < a->c; ++c)
            sum += (ref_get(a, p, c) - ref_get(b, p, c)) * (ref_get(a, p, c) - ref_get(b, p, c));
    return sum;
}

/* y[n] = b[n] if that is nearer to x[n] than a[n], else a[n]. in: x, a, b [B,H,W,C]; out: y */
ddpm_status ddpm_ref_nearest(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *a = &call->in[1], *b = &call->in[2];
    const struct ddpm_tensor *y = &call->out[0];
    for (int64_t n = 0; n < y->n; ++n) {
        const bool second = squared_distance(x, b, n) < squared_distance(x, a, n);
        for (int64_t p = n * y->h * y->w; p < (n + 1) * y->h * y->w; ++p)
            for (int64_t c = 0; c < y->c; ++c)
                ref_set(y, p, c, ref_get(second ? b : a, p, c));
    }
    return DDPM_OK;
}

/* t[b] = below(philox(seed; 0, sample_b, step_b, stream).v[0], T); per_batch: all as image 0.
 * in: counters int32 [B,1,1,2] = (sample, step); out: t int32 [B,1,1,1] */
ddpm_status ddpm_ref_draw_timesteps(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *counters = &call->in[0], *t = &call->out[0];
    for (int64_t n = 0; n < t->n; ++n) {
        int64_t image = a->per_batch ? 0 : n;
        uint32_t sample = (uint32_t)(int32_t)ref_get(counters, image, 0);
        uint32_t step = (uint32_t)(int32_t)ref_get(counters, image, 1);
        uint32_t bits = ddpm_philox(a->seed, 0, sample, step, a->stream).v[0];
        ref_set(t, n, 0, ddpm_below(bits, (uint32_t)a->timesteps));
    }
    return DDPM_OK;
}

static uint64_t ref_seed(const struct ddpm_tensor *counters, int64_t n)
{
    const uint32_t low = (uint32_t)(int32_t)ref_get(counters, n, 2);
    const uint32_t high = (uint32_t)(int32_t)ref_get(counters, n, 3);
    return (uint64_t)high << 32 | low;
}

/* z[b] = ddpm_fill_normal(seed, stream, step_b, sample_b), in the order of the elements: four from
 * each block. in: counters int32 [B,1,1,2] = (sample, step) or [B,1,1,4] with the seed; out: z
 * [B,H,W,C] */
ddpm_status ddpm_ref_draw_normal(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *counters = &call->in[0], *z = &call->out[0];
    const int64_t image = z->h * z->w;
    for (int64_t n = 0; n < z->n; ++n) {
        uint32_t sample = (uint32_t)(int32_t)ref_get(counters, n, 0);
        uint32_t step = (uint32_t)(int32_t)ref_get(counters, n, 1);
        const uint64_t seed = counters->c == 4 ? ref_seed(counters, n) : a->seed;
        for (int64_t i = 0; i < image * z->c; ++i) {
            float four[4];
            ddpm_normal4(ddpm_philox(seed, (uint32_t)(i / 4), sample, step, a->stream), four);
            ref_set(z, n * image + i / z->c, i % z->c, (double)four[i % 4]);
        }
    }
    return DDPM_OK;
}

/* rows[b] = table[t[b]]. in: table [T,1,1,K], t int32 [B,1,1,1]; out: rows [B,1,1,K] */
ddpm_status ddpm_ref_gather_rows(const struct ddpm_call *call)
{
    const struct ddpm_tensor *table = &call->in[0], *t = &call->in[1], *rows = &call->out[0];
    for (int64_t n = 0; n < rows->n; ++n)
        for (int64_t c = 0; c < rows->c; ++c)
            ref_set(rows, n, c, ref_get(table, (int64_t)ref_get(t, n, 0), c));
    return DDPM_OK;
}

/* y[b] = Σ_i rows[b][columns[i]]·x_i, clamped to [-1,1] if clip. An x whose coefficient is 0 is not
 * read. in: rows [B,1,1,K], x_0 … [B,H,W,C] or absent; out: y [B,H,W,C] (may be any x) */
ddpm_status ddpm_ref_combine(const struct ddpm_call *call)
{
    const struct ddpm_tensor *rows = &call->in[0], *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p) {
        for (int64_t c = 0; c < y->c; ++c) {
            double sum = 0;
            for (int i = 0; i < DDPM_COMBINED; ++i) {
                const struct ddpm_tensor *x = &call->in[1 + i];
                if (!ddpm_tensor_present(x))
                    continue;
                double k = ref_get(rows, p / (y->h * y->w), call->attributes.columns[i]);
                if (k != 0)
                    sum += k * ref_get(x, p, c);
            }
            if (call->attributes.clip)
                sum = sum < -1 ? -1 : sum > 1 ? 1 : sum;
            ref_set(y, p, c, sum);
        }
    }
    return DDPM_OK;
}

/* y = m·a + (1-m)·b; an input with factor 0 is not read.
 * in: mask [B,H,W,1], a, b [B,H,W,C]; out: y [B,H,W,C] (may be a or b) */
ddpm_status ddpm_ref_blend(const struct ddpm_call *call)
{
    const struct ddpm_tensor *mask = &call->in[0], *a = &call->in[1], *b = &call->in[2],
                             *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p) {
        const double m = ref_get(mask, p, 0);
        for (int64_t c = 0; c < y->c; ++c) {
            const double of_a = m != 0 ? m * ref_get(a, p, c) : 0;
            const double of_b = m != 1 ? (1 - m) * ref_get(b, p, c) : 0;
            ref_set(y, p, c, of_a + of_b);
        }
    }
    return DDPM_OK;
}

/* The weight of picture n's loss. */
static double weight_of(const struct ddpm_call *call, int64_t n)
{
    return ddpm_tensor_present(&call->in[2]) ? ref_get(&call->in[2], n, 0) : 1;
}

/* loss[b] = weight[b] · mean over H,W,C of (p-ε)² or |p-ε|.
 * in: p, ε [B,H,W,C], weight [B,1,1,1] or absent; out: loss [B,1,1,1] */
ddpm_status ddpm_ref_loss(const struct ddpm_call *call)
{
    const struct ddpm_tensor *prediction = &call->in[0], *noise = &call->in[1],
                             *loss = &call->out[0];
    const int64_t image = prediction->h * prediction->w;
    for (int64_t n = 0; n < loss->n; ++n) {
        double sum = 0;
        for (int64_t p = n * image; p < (n + 1) * image; ++p) {
            for (int64_t c = 0; c < prediction->c; ++c) {
                double difference = ref_get(prediction, p, c) - ref_get(noise, p, c);
                sum += call->attributes.loss == DDPM_LOSS_L2 ? difference * difference
                                                             : fabs(difference);
            }
        }
        ref_set(loss, n, 0, sum / (double)(image * prediction->c) * weight_of(call, n));
    }
    return DDPM_OK;
}

/* dp = weight[b]·scale/(B·H·W·C) · 2(p-ε) (l2) or sign(p-ε), 0 at 0 (l1).
 * in: p, ε [B,H,W,C], weight [B,1,1,1] or absent; out: dp [B,H,W,C] */
ddpm_status ddpm_ref_loss_backward(const struct ddpm_call *call)
{
    const struct ddpm_tensor *prediction = &call->in[0], *noise = &call->in[1],
                             *gradient = &call->out[0];
    const double scale = (double)call->attributes.scale / (double)ddpm_tensor_count(gradient);
    for (int64_t p = 0; p < ddpm_tensor_pixels(gradient); ++p) {
        const double weight = weight_of(call, p / (gradient->h * gradient->w));
        for (int64_t c = 0; c < gradient->c; ++c) {
            double difference = ref_get(prediction, p, c) - ref_get(noise, p, c);
            double sign = difference > 0 ? 1 : difference < 0 ? -1 : difference;
            ref_set(gradient, p, c,
                    scale * weight *
                        (call->attributes.loss == DDPM_LOSS_L2 ? 2 * difference : sign));
        }
    }
    return DDPM_OK;
}

/* weight[b] = e^-u, slopes[b] = scale/B·(1 - loss[b]·e^-u).
 * in: loss, u [B,1,1,1]; out: weight, slopes [B,1,1,1] */
ddpm_status ddpm_ref_uncertainty(const struct ddpm_call *call)
{
    const int64_t batch = call->in[0].n;
    for (int64_t n = 0; n < batch; ++n) {
        const double weight = exp(-ref_get(&call->in[1], n, 0));
        ref_set(&call->out[0], n, 0, weight);
        ref_set(&call->out[1], n, 0,
                (double)call->attributes.scale / (double)batch *
                    (1 - ref_get(&call->in[0], n, 0) * weight));
    }
    return DDPM_OK;
}

/* r = √(m + eps²): loss[b] = weight·(r - eps), slopes[b] = ±weight·factor·scale/(B·r).
 * in: m [B,1,1,1], rows [B,1,1,2]; out: loss [B,1,1,1], slopes [B,1,1,2] */
ddpm_status ddpm_ref_pseudo_huber(const struct ddpm_call *call)
{
    const struct ddpm_tensor *rows = &call->in[1], *loss = &call->out[0], *slopes = &call->out[1];
    const double eps = (double)call->attributes.eps;
    for (int64_t n = 0; n < loss->n; ++n) {
        const double root = sqrt(ref_get(&call->in[0], n, 0) + eps * eps);
        const double weight = ref_get(rows, n, 1);
        const double slope = weight * ref_get(rows, n, 0) * (double)call->attributes.scale /
                             ((double)loss->n * root);
        ref_set(loss, n, 0, weight * (root - eps));
        ref_set(slopes, n, 0, slope);
        ref_set(slopes, n, 1, -slope);
    }
    return DDPM_OK;
}

/* What surrounds the network: pictures in, random draws, the forward process, the loss, and the
 * reverse step (Ho et al. 2020, equation 4 and algorithms 1 and 2). */
#include <math.h>

#include "core/random.h"
#include "kernels/ref/ref.h"

/* x = 2·p/255 - 1, mirrored where flip is 1.
 * in: p uint8 [B,H,W,C], flip uint8 [B,1,1,1]; out: x [B,H,W,C] */
ddpm_status ddpm_ref_normalize_pictures(const struct ddpm_call *call)
{
    const struct ddpm_tensor *pictures = &call->in[0], *flip = &call->in[1], *x = &call->out[0];
    for (int64_t n = 0; n < x->n; ++n) {
        const bool mirrored = ref_get(flip, n, 0) > 0;
        for (int64_t h = 0; h < x->h; ++h) {
            for (int64_t w = 0; w < x->w; ++w) {
                int64_t from = ref_pixel(x, n, h, mirrored ? x->w - 1 - w : w);
                for (int64_t c = 0; c < x->c; ++c)
                    ref_set(x, ref_pixel(x, n, h, w), c, 2 * ref_get(pictures, from, c) / 255 - 1);
            }
        }
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

/* z[b] = ddpm_fill_normal(seed, stream, step_b, sample_b), in the order of the elements: four from
 * each block. in: counters int32 [B,1,1,2] = (sample, step); out: z [B,H,W,C] */
ddpm_status ddpm_ref_draw_normal(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const struct ddpm_tensor *counters = &call->in[0], *z = &call->out[0];
    const int64_t image = z->h * z->w;
    for (int64_t n = 0; n < z->n; ++n) {
        uint32_t sample = (uint32_t)(int32_t)ref_get(counters, n, 0);
        uint32_t step = (uint32_t)(int32_t)ref_get(counters, n, 1);
        for (int64_t i = 0; i < image * z->c; ++i) {
            float four[4];
            ddpm_normal4(ddpm_philox(a->seed, (uint32_t)(i / 4), sample, step, a->stream), four);
            ref_set(z, n * image + i / z->c, i % z->c, (double)four[i % 4]);
        }
    }
    return DDPM_OK;
}

/* x_t = √ᾱ_t·x_0 + √(1-ᾱ_t)·ε.
 * in: x_0, ε [B,H,W,C], t int32 [B,1,1,1], table [T,1,1,2] = (√ᾱ, √(1-ᾱ)); out: x_t [B,H,W,C] */
ddpm_status ddpm_ref_q_sample(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x0 = &call->in[0], *noise = &call->in[1], *t = &call->in[2],
                             *table = &call->in[3], *xt = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(xt); ++p) {
        int64_t row = (int64_t)ref_get(t, p / (xt->h * xt->w), 0);
        for (int64_t c = 0; c < xt->c; ++c)
            ref_set(xt, p, c,
                    ref_get(table, row, 0) * ref_get(x0, p, c) +
                        ref_get(table, row, 1) * ref_get(noise, p, c));
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

/* By the row of `table` for t (enum ddpm_reverse_column):
 *   as it is:  x' = X·x - EPS·ε̂ + SIGMA·z
 *   clipped:   x̂_0 = clip(X0_X·x - X0_EPS·ε̂, -1, 1),  x' = MEAN_X0·x̂_0 + MEAN_X·x + SIGMA·z
 * in: x, ε̂, z [B,H,W,C], t int32 [B,1,1,1], table [T,1,1,COLUMNS]; out: x' (may be x) */
ddpm_status ddpm_ref_reverse_step(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->in[0], *noise = &call->in[1], *z = &call->in[2],
                             *t = &call->in[3], *table = &call->in[4], *y = &call->out[0];
    for (int64_t p = 0; p < ddpm_tensor_pixels(y); ++p) {
        double k[DDPM_REVERSE_COLUMNS];
        int64_t row = (int64_t)ref_get(t, p / (y->h * y->w), 0);
        for (int column = 0; column < DDPM_REVERSE_COLUMNS; ++column)
            k[column] = ref_get(table, row, column);
        for (int64_t c = 0; c < y->c; ++c) {
            double now = ref_get(x, p, c), predicted = ref_get(noise, p, c), mean;
            if (call->attributes.clip) {
                double x0 = k[DDPM_REVERSE_X0_X] * now - k[DDPM_REVERSE_X0_EPS] * predicted;
                x0 = x0 < -1 ? -1 : x0 > 1 ? 1 : x0;
                mean = k[DDPM_REVERSE_MEAN_X0] * x0 + k[DDPM_REVERSE_MEAN_X] * now;
            } else {
                mean = k[DDPM_REVERSE_X] * now - k[DDPM_REVERSE_EPS] * predicted;
            }
            ref_set(y, p, c, mean + k[DDPM_REVERSE_SIGMA] * ref_get(z, p, c));
        }
    }
    return DDPM_OK;
}

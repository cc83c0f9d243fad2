/* Self-attention over the pixels of a picture (Vaswani et al. 2017). */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "kernels/ref/ref.h"

/* One head of one picture. */
struct head {
    const struct ddpm_tensor *x; /* q, k and v side by side */
    int64_t first, pixels;       /* of the picture */
    int64_t channel, width, all; /* the head's first channel and width; channels of all heads */
    double scale;                /* 1/√width */
};

static struct head head_of(const struct ddpm_call *call, int64_t channels, int64_t index)
{
    const struct ddpm_tensor *x = &call->in[0];
    const int64_t heads = call->attributes.heads, width = channels / heads;
    return (struct head){.x = x,
                         .first = index / heads * x->h * x->w,
                         .pixels = x->h * x->w,
                         .channel = index % heads * width,
                         .width = width,
                         .all = channels,
                         .scale = 1 / sqrt((double)width)};
}

/* Channel c of pixel p's query (0), key (1) or value (2). */
static double part(const struct head *h, int which, int64_t p, int64_t c)
{
    return ref_get(h->x, h->first + p, which * h->all + h->channel + c);
}

/* weights[j] = softmax over j of q_i·k_j/√width */
static void weigh(const struct head *h, int64_t i, double *weights)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < h->pixels; ++j) {
        weights[j] = 0;
        for (int64_t c = 0; c < h->width; ++c)
            weights[j] += h->scale * part(h, 0, i, c) * part(h, 1, j, c);
        most = fmax(most, weights[j]);
    }
    for (int64_t j = 0; j < h->pixels; ++j)
        sum += weights[j] = exp(weights[j] - most);
    for (int64_t j = 0; j < h->pixels; ++j)
        weights[j] /= sum;
}

/* y_i = Σ_j softmax_j(q_i·k_j/√width)·v_j. in: x [B,H,W,3C] = (q, k, v); out: y [B,H,W,C] */
ddpm_status ddpm_ref_attention(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    double *weights;
    DDPM_TRY(ddpm_new_array((void **)&weights, (size_t)(y->h * y->w), sizeof *weights, "weights"));
    for (int64_t index = 0; index < y->n * call->attributes.heads; ++index) {
        const struct head h = head_of(call, y->c, index);
        for (int64_t i = 0; i < h.pixels; ++i) {
            weigh(&h, i, weights);
            for (int64_t c = 0; c < h.width; ++c) {
                double sum = 0;
                for (int64_t j = 0; j < h.pixels; ++j)
                    sum += weights[j] * part(&h, 2, j, c);
                ref_set(y, h.first + i, h.channel + c, sum);
            }
        }
    }
    free(weights);
    return DDPM_OK;
}

/* Add query i's part to the gradients d [pixels][3·width] of its head. `slopes` has room for
 * [pixels]. */
static void add_query(const struct head *h, const struct ddpm_tensor *dy, int64_t i,
                      const double *weights, double *slopes, double *d)
{
    double mean = 0;
    for (int64_t j = 0; j < h->pixels; ++j) {
        slopes[j] = 0;
        for (int64_t c = 0; c < h->width; ++c)
            slopes[j] += ref_get(dy, h->first + i, h->channel + c) * part(h, 2, j, c);
        mean += weights[j] * slopes[j];
    }
    for (int64_t j = 0; j < h->pixels; ++j) {
        const double slope = h->scale * weights[j] * (slopes[j] - mean);
        for (int64_t c = 0; c < h->width; ++c) {
            d[i * 3 * h->width + c] += slope * part(h, 1, j, c);
            d[(j * 3 + 1) * h->width + c] += slope * part(h, 0, i, c);
            d[(j * 3 + 2) * h->width + c] += weights[j] * ref_get(dy, h->first + i, h->channel + c);
        }
    }
}

/* in: x, dy; out: dx [B,H,W,3C] */
ddpm_status ddpm_ref_attention_backward(const struct ddpm_call *call)
{
    const struct ddpm_tensor *dy = &call->in[1], *dx = &call->out[0];
    const int64_t pixels = dy->h * dy->w, width = dy->c / call->attributes.heads;
    double *weights;
    DDPM_TRY(ddpm_new_array((void **)&weights, (size_t)(pixels * (2 + 3 * width)), sizeof *weights,
                            "weights"));
    double *slopes = weights + pixels, *d = slopes + pixels;
    for (int64_t index = 0; index < dy->n * call->attributes.heads; ++index) {
        const struct head h = head_of(call, dy->c, index);
        memset(d, 0, (size_t)(pixels * 3 * width) * sizeof *d);
        for (int64_t i = 0; i < pixels; ++i) {
            weigh(&h, i, weights);
            add_query(&h, dy, i, weights, slopes, d);
        }
        for (int64_t p = 0; p < pixels; ++p)
            for (int64_t c = 0; c < 3 * width; ++c)
                ref_set(dx, h.first + p, c / width * dy->c + h.channel + c % width,
                        d[p * 3 * width + c]);
    }
    free(weights);
    return DDPM_OK;
}

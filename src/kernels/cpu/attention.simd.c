/* Self-attention over the pixels of a picture, forward and backward; ops.inc has the formulas.
 *
 * A unit of work is one head of one picture. It gathers its q, k and v as fp32, k and v both by
 * pixel and by channel, so that every inner loop reads consecutive memory: products of a query with
 * all keys over pixels, sums of all values over channels. Only one query's weights are kept at a
 * time, so memory grows with the number of pixels, not with its square. */
#include <math.h>

#include "kernels/cpu/element.h"
#include "kernels/cpu/simd_math.h"

/* One head of one picture, and its part of the scratch. */
struct head {
    const struct ddpm_call *call;
    int64_t first, pixels, row; /* row: pixels, rounded up to a multiple of a vector */
    int64_t channel, width, all;
    float scale;
    float *q, *k, *v, *dy;      /* [pixels][width] */
    float *turned_k, *turned_v; /* [width][row] */
    float *weights, *slopes;    /* [row] */
    float *dq, *dk, *dv;        /* [pixels][width] */
};

enum { BY_PIXEL = 7, TURNED = 2, ROWS = 2 };

static int64_t room(int64_t count)
{
    return (count + 15) / 16 * 16;
}

static int64_t head_numbers(int64_t pixels, int64_t width)
{
    return BY_PIXEL * room(pixels * width) + (TURNED * width + ROWS) * room(pixels);
}

/* out: y or dy has the combined width of all heads. */
static ddpm_status prepare(struct ddpm_call *call, const struct ddpm_tensor *y)
{
    const int64_t numbers = head_numbers(y->h * y->w, y->c / call->attributes.heads);
    call->scratch_bytes = (size_t)(call->device->threads * numbers) * sizeof(float);
    return DDPM_OK;
}

static struct head head_of(const struct ddpm_call *call, const struct ddpm_tensor *y, int64_t index,
                           int thread)
{
    const int64_t heads = call->attributes.heads, width = y->c / heads, pixels = y->h * y->w;
    const int64_t each = room(pixels * width);
    struct head h = {.call = call,
                     .first = index / heads * pixels,
                     .pixels = pixels,
                     .row = room(pixels),
                     .channel = index % heads * width,
                     .width = width,
                     .all = y->c,
                     .scale = (float)(1 / sqrt((double)width))};
    h.q = (float *)call->scratch + thread * head_numbers(pixels, width);
    h.k = h.q + each;
    h.v = h.k + each;
    h.dy = h.v + each;
    h.dq = h.dy + each;
    h.dk = h.dq + each;
    h.dv = h.dk + each;
    h.turned_k = h.dv + each;
    h.turned_v = h.turned_k + width * h.row;
    h.weights = h.turned_v + width * h.row;
    h.slopes = h.weights + h.row;
    return h;
}

static void gather(const struct head *h, const struct ddpm_tensor *t, int64_t channel, float *to)
{
    for (int64_t p = 0; p < h->pixels; ++p)
        for (int64_t c = 0; c < h->width; c += LANES) {
            const int64_t left = h->width - c;
            const vf value = vf_load_upto(t->data, (h->first + p) * t->pixel_stride + channel + c,
                                          left, t->dtype);
            vf_store_upto(to, p * h->width + c, value, left, DDPM_F32);
        }
}

static void scatter(const struct head *h, const float *from, int64_t channel,
                    const struct ddpm_tensor *t)
{
    for (int64_t p = 0; p < h->pixels; ++p)
        for (int64_t c = 0; c < h->width; c += LANES) {
            const int64_t left = h->width - c;
            const vf value = vf_load_upto(from, p * h->width + c, left, DDPM_F32);
            vf_store_upto(t->data, (h->first + p) * t->pixel_stride + channel + c, value, left,
                          t->dtype);
        }
}

/* [width][row] from [pixels][width]; 0 after the last pixel. */
static void turn(const struct head *h, const float *from, float *to)
{
    memset(to, 0, (size_t)(h->width * h->row) * sizeof *to);
    for (int64_t p = 0; p < h->pixels; ++p)
        for (int64_t c = 0; c < h->width; ++c)
            to[c * h->row + p] = from[p * h->width + c];
}

static void add_scaled(float factor, const float *restrict x, int64_t count, float *restrict y)
{
    for (int64_t i = 0; i < count; ++i)
        y[i] += factor * x[i];
}

/* to[j] = factor·Σ_c one[c]·turned[c][j] */
static void multiply_all(const struct head *h, const float *one, const float *turned, float factor,
                         float *to)
{
    memset(to, 0, (size_t)h->row * sizeof *to);
    for (int64_t c = 0; c < h->width; ++c)
        add_scaled(factor * one[c], turned + c * h->row, h->row, to);
}

static float sum_of(const float *x, int64_t count)
{
    float lanes[LANES];
    vf sum = {0};
    for (int64_t i = 0; i < count; i += LANES)
        sum += vf_load(x + i);
    vf_store(lanes, sum);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i)
            lanes[i] += lanes[i + width];
    return lanes[0];
}

/* The weights of query i; 0 after the last pixel. */
static void weigh(const struct head *h, int64_t i)
{
    multiply_all(h, h->q + i * h->width, h->turned_k, h->scale, h->weights);
    float most = h->weights[0];
    for (int64_t j = 1; j < h->pixels; ++j)
        most = h->weights[j] > most ? h->weights[j] : most;
    for (int64_t j = 0; j < h->row; j += LANES)
        vf_store(h->weights + j, vf_exp(vf_load(h->weights + j) - vf_set(most)));
    memset(h->weights + h->pixels, 0, (size_t)(h->row - h->pixels) * sizeof(float));
    const float inverse = 1 / sum_of(h->weights, h->row);
    for (int64_t j = 0; j < h->row; ++j)
        h->weights[j] *= inverse;
}

static void begin(const struct head *h)
{
    const struct ddpm_tensor *x = &h->call->in[0];
    gather(h, x, h->channel, h->q);
    gather(h, x, h->all + h->channel, h->k);
    gather(h, x, 2 * h->all + h->channel, h->v);
    turn(h, h->k, h->turned_k);
}

/* y replaces dq. */
static void forward_range(void *context, int64_t begin_at, int64_t end, int thread)
{
    const struct ddpm_call *call = context;
    for (int64_t index = begin_at; index < end; ++index) {
        const struct head h = head_of(call, &call->out[0], index, thread);
        begin(&h);
        memset(h.dq, 0, (size_t)(h.pixels * h.width) * sizeof *h.dq);
        for (int64_t i = 0; i < h.pixels; ++i) {
            weigh(&h, i);
            for (int64_t j = 0; j < h.pixels; ++j)
                add_scaled(h.weights[j], h.v + j * h.width, h.width, h.dq + i * h.width);
        }
        scatter(&h, h.dq, h.channel, &call->out[0]);
    }
}

static void add_query(const struct head *h, int64_t i)
{
    const float *q = h->q + i * h->width, *dy = h->dy + i * h->width;
    float *dq = h->dq + i * h->width;
    float mean = 0;
    weigh(h, i);
    multiply_all(h, dy, h->turned_v, 1, h->slopes);
    for (int64_t j = 0; j < h->pixels; ++j)
        mean += h->weights[j] * h->slopes[j];
    for (int64_t j = 0; j < h->pixels; ++j) {
        const float slope = h->scale * h->weights[j] * (h->slopes[j] - mean);
        add_scaled(slope, h->k + j * h->width, h->width, dq);
        add_scaled(slope, q, h->width, h->dk + j * h->width);
        add_scaled(h->weights[j], dy, h->width, h->dv + j * h->width);
    }
}

static void backward_range(void *context, int64_t begin_at, int64_t end, int thread)
{
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *dy = &call->in[1], *dx = &call->out[0];
    for (int64_t index = begin_at; index < end; ++index) {
        const struct head h = head_of(call, dy, index, thread);
        const size_t bytes = (size_t)(h.pixels * h.width) * sizeof *h.dq;
        begin(&h);
        turn(&h, h.v, h.turned_v);
        gather(&h, dy, h.channel, h.dy);
        memset(h.dq, 0, bytes);
        memset(h.dk, 0, bytes);
        memset(h.dv, 0, bytes);
        for (int64_t i = 0; i < h.pixels; ++i)
            add_query(&h, i);
        scatter(&h, h.dq, h.channel, dx);
        scatter(&h, h.dk, h.all + h.channel, dx);
        scatter(&h, h.dv, 2 * h.all + h.channel, dx);
    }
}

static ddpm_status forward_prepare(struct ddpm_call *call)
{
    return prepare(call, &call->out[0]);
}

static ddpm_status backward_prepare(struct ddpm_call *call)
{
    return prepare(call, &call->in[1]);
}

static ddpm_status forward_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, call->out[0].n * call->attributes.heads, 1,
                      forward_range, (void *)call);
    return DDPM_OK;
}

static ddpm_status backward_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, call->out[0].n * call->attributes.heads, 1,
                      backward_range, (void *)call);
    return DDPM_OK;
}

static bool forward_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 1);
}

static bool backward_supports(const struct ddpm_call *call)
{
    return same_dtype(call, 2);
}

static const struct ddpm_kernel forward_kernel = {.name = SIMD_NAME("attention"),
                                                  .supports = forward_supports,
                                                  .prepare = forward_prepare,
                                                  .run = forward_run};
KERNELS_OF(attention, &forward_kernel);
static const struct ddpm_kernel backward_kernel = {.name = SIMD_NAME("attention_backward"),
                                                   .supports = backward_supports,
                                                   .prepare = backward_prepare,
                                                   .run = backward_run};
KERNELS_OF(attention_backward, &backward_kernel);

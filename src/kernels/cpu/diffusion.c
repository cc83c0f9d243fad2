/* What surrounds the network, on the CPU: pictures in, random draws, the loss, and the embedding of
 * t. Sums of pictures are in combine.c.
 *
 * These are a few numbers per pixel, against millions of operations in the network. So this is
 * plain C, one source for all levels, with a parallel loop over pixels or images if there is enough
 * to share. The formulas are in ops.inc. */
#include "kernels/cpu/levels.h"

#include <math.h>

#include "core/random.h"
#include "core/threads.h"
#include "kernels/backend.h"

enum { PIXEL_GRAIN = 4096 };

static inline float load(const struct ddpm_tensor *t, int64_t i)
{
    return t->dtype == DDPM_F32 ? ((const float *)t->data)[i]
                                : ddpm_bf16_to_float(((const uint16_t *)t->data)[i]);
}

static inline void store(const struct ddpm_tensor *t, int64_t i, float value)
{
    if (t->dtype == DDPM_F32)
        ((float *)t->data)[i] = value;
    else
        ((uint16_t *)t->data)[i] = ddpm_float_to_bf16(value);
}

static bool is_compute(const struct ddpm_tensor *t)
{
    return t->dtype == DDPM_F32 || t->dtype == DDPM_BF16;
}

static void for_pixels(const struct ddpm_call *call, ddpm_range_function *range)
{
    ddpm_parallel_for(call->device->threads, ddpm_tensor_pixels(&call->out[0]), PIXEL_GRAIN, range,
                      (void *)call);
}

static double timestep(const struct ddpm_tensor *t, int64_t b)
{
    const int64_t at = b * t->pixel_stride;
    return t->dtype == DDPM_I32 ? (double)((const int32_t *)t->data)[at]
                                : (double)((const float *)t->data)[at];
}

static ddpm_status embedding_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    const int64_t half = y->c / 2;
    const double step = -log(call->attributes.theta) / (double)(half - 1);
    for (int64_t b = 0; b < y->n; ++b) {
        const double t = timestep(&call->in[0], b);
        for (int64_t i = 0; i < half; ++i) {
            const double angle = t * exp((double)i * step);
            store(y, b * y->pixel_stride + i, (float)sin(angle));
            store(y, b * y->pixel_stride + half + i, (float)cos(angle));
        }
    }
    return DDPM_OK;
}

static bool embedding_supports(const struct ddpm_call *call)
{
    return (call->in[0].dtype == DDPM_I32 || call->in[0].dtype == DDPM_F32) &&
           is_compute(&call->out[0]);
}

static const struct ddpm_kernel timestep_embedding_kernel = {
    .name = "timestep_embedding_cpu", .supports = embedding_supports, .run = embedding_run};
KERNELS_OF_ALL_LEVELS(timestep_embedding, &timestep_embedding_kernel);

/* Over the rows of the pictures. */
static void coordinates_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *corners = &call->in[0], *y = &call->out[0];
    const int64_t height = call->attributes.picture_h, width = call->attributes.picture_w;
    for (int64_t row = begin; row < end; ++row) {
        const int32_t *corner =
            ddpm_tensor_present(corners)
                ? (const int32_t *)corners->data + row / y->h * corners->pixel_stride
                : (const int32_t[]){0, 0};
        const float vertical = (float)(2 * (corner[0] + row % y->h) + 1 - height) / (float)height;
        for (int64_t w = 0; w < y->w; ++w) {
            const int64_t at = (row * y->w + w) * y->pixel_stride;
            store(y, at, vertical);
            store(y, at + 1, (float)(2 * (corner[1] + w) + 1 - width) / (float)width);
        }
    }
}

static ddpm_status coordinates_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *y = &call->out[0];
    ddpm_parallel_for(call->device->threads, y->n * y->h, 16, coordinates_range, (void *)call);
    return DDPM_OK;
}

static bool coordinates_supports(const struct ddpm_call *call)
{
    return (!ddpm_tensor_present(&call->in[0]) || call->in[0].dtype == DDPM_I32) &&
           is_compute(&call->out[0]);
}

static const struct ddpm_kernel coordinates_kernel = {
    .name = "coordinates_cpu", .supports = coordinates_supports, .run = coordinates_run};
KERNELS_OF_ALL_LEVELS(coordinates, &coordinates_kernel);

/* The source pixel for (h, w); see ops.inc. */
static int64_t turned_from(const struct ddpm_tensor *x, unsigned flip, int64_t h, int64_t w)
{
    const unsigned turns = flip >> 1;
    int64_t row = turns & 1 ? w : h, column = turns & 1 ? x->w - 1 - h : w;
    if (turns & 2) {
        row = x->h - 1 - row;
        column = x->w - 1 - column;
    }
    return row * x->w + (flip & 1 ? x->w - 1 - column : column);
}

/* Over the rows of the pictures: each row is a row or a column of the source, in either
 * direction. */
static void normalize_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *p = &call->in[0], *flip = &call->in[1], *x = &call->out[0];
    for (int64_t row = begin; row < end; ++row) {
        const unsigned how = ((const uint8_t *)flip->data)[row / x->h];
        const int64_t first = turned_from(x, how, row % x->h, 0);
        const int64_t step = turned_from(x, how, row % x->h, 1) - first;
        const int64_t begun = row / x->h * x->h * x->w + first;
        for (int64_t w = 0; w < x->w; ++w) {
            const uint8_t *from = (const uint8_t *)p->data + (begun + w * step) * p->pixel_stride;
            for (int64_t c = 0; c < x->c; ++c)
                store(x, (row * x->w + w) * x->pixel_stride + c,
                      (float)(2 * from[c]) / 255.0f - 1.0f);
        }
    }
}

static ddpm_status normalize_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *x = &call->out[0];
    ddpm_parallel_for(call->device->threads, x->n * x->h, 16, normalize_range, (void *)call);
    return DDPM_OK;
}

static bool normalize_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_U8 && call->in[1].dtype == DDPM_U8 &&
           is_compute(&call->out[0]);
}

static const struct ddpm_kernel normalize_pictures_kernel = {
    .name = "normalize_pictures_cpu", .supports = normalize_supports, .run = normalize_run};
KERNELS_OF_ALL_LEVELS(normalize_pictures, &normalize_pictures_kernel);

static ddpm_status draw_timesteps_run(const struct ddpm_call *call)
{
    const struct ddpm_attributes *a = &call->attributes;
    const int32_t *counters = call->in[0].data;
    int32_t *t = call->out[0].data;
    for (int64_t b = 0; b < call->out[0].n; ++b) {
        const int32_t *counter = counters + 2 * (a->per_batch ? 0 : b);
        const struct ddpm_random4 bits =
            ddpm_philox(a->seed, 0, (uint32_t)counter[0], (uint32_t)counter[1], a->stream);
        t[b] = (int32_t)ddpm_below(bits.v[0], (uint32_t)a->timesteps);
    }
    return DDPM_OK;
}

static const struct ddpm_kernel draw_timesteps_kernel = {.name = "draw_timesteps_cpu",
                                                         .run = draw_timesteps_run};
KERNELS_OF_ALL_LEVELS(draw_timesteps, &draw_timesteps_kernel);

/* Gives the same bits as ddpm_fill_normal(): four numbers from each Philox block of an image. The
 * loop runs over the blocks of all images. */
static int64_t blocks_per_image(const struct ddpm_tensor *z)
{
    return (z->h * z->w * z->c + 3) / 4;
}

static void draw_normal_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *z = &call->out[0];
    const struct ddpm_tensor *counters = &call->in[0];
    const int64_t blocks = blocks_per_image(z), count = z->h * z->w * z->c;
    for (int64_t i = begin; i < end; ++i) {
        const int64_t image = i / blocks, block = i % blocks;
        const int32_t *counter = (const int32_t *)counters->data + image * counters->pixel_stride;
        const uint64_t seed = counters->c == 4
                                  ? (uint64_t)(uint32_t)counter[3] << 32 | (uint32_t)counter[2]
                                  : call->attributes.seed;
        float four[4];
        ddpm_normal4(ddpm_philox(seed, (uint32_t)block, (uint32_t)counter[0], (uint32_t)counter[1],
                                 call->attributes.stream),
                     four);
        for (int64_t k = 0; k < 4 && 4 * block + k < count; ++k) {
            const int64_t element = image * count + 4 * block + k;
            store(z, element / z->c * z->pixel_stride + element % z->c, four[k]);
        }
    }
}

static bool draw_normal_supports(const struct ddpm_call *call)
{
    return is_compute(&call->out[0]);
}

static ddpm_status draw_normal_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *z = &call->out[0];
    ddpm_parallel_for(call->device->threads, z->n * blocks_per_image(z), PIXEL_GRAIN,
                      draw_normal_range, (void *)call);
    return DDPM_OK;
}

static const struct ddpm_kernel draw_normal_kernel = {
    .name = "draw_normal_cpu", .supports = draw_normal_supports, .run = draw_normal_run};
KERNELS_OF_ALL_LEVELS(draw_normal, &draw_normal_kernel);

/* The weight of picture b's loss. */
static double weight_of(const struct ddpm_call *call, int64_t b)
{
    const struct ddpm_tensor *weight = &call->in[2];
    return ddpm_tensor_present(weight)
               ? (double)((const float *)weight->data)[b * weight->pixel_stride]
               : 1;
}

/* Over the images: one sum each, in the order of the elements. */
static void loss_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *p = &call->in[0], *noise = &call->in[1];
    const bool squared = call->attributes.loss == DDPM_LOSS_L2;
    const int64_t pixels = p->h * p->w;
    for (int64_t b = begin; b < end; ++b) {
        double sum = 0;
        for (int64_t pixel = b * pixels; pixel < (b + 1) * pixels; ++pixel)
            for (int64_t c = 0; c < p->c; ++c) {
                const double difference = (double)load(p, pixel * p->pixel_stride + c) -
                                          (double)load(noise, pixel * noise->pixel_stride + c);
                sum += squared ? difference * difference : fabs(difference);
            }
        ((float *)call->out[0].data)[b] =
            (float)(sum / (double)(pixels * p->c) * weight_of(call, b));
    }
}

static ddpm_status loss_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, call->in[0].n, 1, loss_range, (void *)call);
    return DDPM_OK;
}

static bool weight_fits(const struct ddpm_call *call)
{
    return !ddpm_tensor_present(&call->in[2]) || call->in[2].dtype == DDPM_F32;
}

static bool loss_supports(const struct ddpm_call *call)
{
    return is_compute(&call->in[0]) && is_compute(&call->in[1]) && weight_fits(call) &&
           call->out[0].dtype == DDPM_F32;
}

static const struct ddpm_kernel loss_kernel = {
    .name = "loss_cpu", .supports = loss_supports, .run = loss_run};
KERNELS_OF_ALL_LEVELS(loss, &loss_kernel);

static void loss_backward_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *p = &call->in[0], *noise = &call->in[1], *dp = &call->out[0];
    const bool squared = call->attributes.loss == DDPM_LOSS_L2;
    const double all =
        (double)call->attributes.scale / (double)ddpm_tensor_count(dp) * (squared ? 2 : 1);
    for (int64_t pixel = begin; pixel < end; ++pixel) {
        const float scale = (float)(all * weight_of(call, pixel / (p->h * p->w)));
        for (int64_t c = 0; c < dp->c; ++c) {
            const float difference =
                load(p, pixel * p->pixel_stride + c) - load(noise, pixel * noise->pixel_stride + c);
            const float sign = difference > 0 ? 1.0f : difference < 0 ? -1.0f : difference;
            store(dp, pixel * dp->pixel_stride + c, scale * (squared ? difference : sign));
        }
    }
}

static ddpm_status loss_backward_run(const struct ddpm_call *call)
{
    for_pixels(call, loss_backward_range);
    return DDPM_OK;
}

static bool loss_backward_supports(const struct ddpm_call *call)
{
    return is_compute(&call->in[0]) && is_compute(&call->in[1]) && weight_fits(call) &&
           is_compute(&call->out[0]);
}

static const struct ddpm_kernel loss_backward_kernel = {
    .name = "loss_backward_cpu", .supports = loss_backward_supports, .run = loss_backward_run};
KERNELS_OF_ALL_LEVELS(loss_backward, &loss_backward_kernel);

/* So few numbers that no threads are used. */
static ddpm_status pseudo_huber_run(const struct ddpm_call *call)
{
    const struct ddpm_tensor *m = &call->in[0], *rows = &call->in[1];
    const double eps = (double)call->attributes.eps;
    const double scale = (double)call->attributes.scale / (double)m->n;
    for (int64_t b = 0; b < m->n; ++b) {
        const float *row = (const float *)rows->data + b * rows->pixel_stride;
        float *slopes = (float *)call->out[1].data + 2 * b;
        const double root = sqrt((double)((const float *)m->data)[b] + eps * eps);
        ((float *)call->out[0].data)[b] = (float)((double)row[1] * (root - eps));
        slopes[0] = (float)((double)row[1] * (double)row[0] * scale / root);
        slopes[1] = -slopes[0];
    }
    return DDPM_OK;
}

static bool pseudo_huber_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 && call->in[1].dtype == DDPM_F32 &&
           call->out[0].dtype == DDPM_F32 && call->out[1].dtype == DDPM_F32;
}

static const struct ddpm_kernel pseudo_huber_kernel = {
    .name = "pseudo_huber_cpu", .supports = pseudo_huber_supports, .run = pseudo_huber_run};
KERNELS_OF_ALL_LEVELS(pseudo_huber, &pseudo_huber_kernel);

static ddpm_status uncertainty_run(const struct ddpm_call *call)
{
    const float *loss = call->in[0].data, *u = call->in[1].data;
    float *weight = call->out[0].data, *slopes = call->out[1].data;
    const double scale = (double)call->attributes.scale / (double)call->in[0].n;
    for (int64_t b = 0; b < call->in[0].n; ++b) {
        const double factor = exp(-(double)u[b]);
        weight[b] = (float)factor;
        slopes[b] = (float)(scale * (1 - (double)loss[b] * factor));
    }
    return DDPM_OK;
}

static const struct ddpm_kernel uncertainty_kernel = {
    .name = "uncertainty_cpu", .supports = pseudo_huber_supports, .run = uncertainty_run};
KERNELS_OF_ALL_LEVELS(uncertainty, &uncertainty_kernel);

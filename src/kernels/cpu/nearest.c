/* The nearer of two draws of noise: picture by picture, in fp64, so that every processor makes the
 * same choice. */
#include "core/threads.h"
#include "kernels/backend.h"
#include "kernels/cpu/levels.h"

static const float *pixel_of(const struct ddpm_tensor *t, int64_t p)
{
    return (const float *)t->data + p * t->pixel_stride;
}

static double distance(const struct ddpm_tensor *x, const struct ddpm_tensor *z, int64_t picture)
{
    const int64_t pixels = x->h * x->w;
    double sum = 0;
    for (int64_t p = picture * pixels; p < (picture + 1) * pixels; ++p) {
        const float *a = pixel_of(x, p), *b = pixel_of(z, p);
        for (int64_t c = 0; c < x->c; ++c)
            sum += ((double)a[c] - (double)b[c]) * ((double)a[c] - (double)b[c]);
    }
    return sum;
}

static void nearest_range(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct ddpm_call *call = context;
    const struct ddpm_tensor *x = &call->in[0], *y = &call->out[0];
    const int64_t pixels = x->h * x->w;
    for (int64_t b = begin; b < end; ++b) {
        const bool second = distance(x, &call->in[2], b) < distance(x, &call->in[1], b);
        const struct ddpm_tensor *chosen = &call->in[second ? 2 : 1];
        for (int64_t p = b * pixels; chosen->data != y->data && p < (b + 1) * pixels; ++p)
            memcpy((float *)y->data + p * y->pixel_stride, pixel_of(chosen, p),
                   (size_t)x->c * sizeof(float));
    }
}

static ddpm_status nearest_run(const struct ddpm_call *call)
{
    ddpm_parallel_for(call->device->threads, call->out[0].n, 1, nearest_range, (void *)call);
    return DDPM_OK;
}

static bool nearest_supports(const struct ddpm_call *call)
{
    return call->in[0].dtype == DDPM_F32 && call->in[1].dtype == DDPM_F32 &&
           call->in[2].dtype == DDPM_F32 && call->out[0].dtype == DDPM_F32;
}

static const struct ddpm_kernel nearest_kernel = {
    .name = "nearest_cpu", .supports = nearest_supports, .run = nearest_run};
KERNELS_OF_ALL_LEVELS(nearest, &nearest_kernel);

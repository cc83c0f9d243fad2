/* Executing the plans of the stand-in for cuDNN, see fake_cudnn.c. */
#include "fake_cudnn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_PACK = 8 };

/* For tests: how often the two right engines ran; does the first of them crash? Do plans from texts
 * fail to run, or plans that were made with another handle? */
EXPORT int fake_cudnn_right_runs, fake_cudnn_second_right_runs;
EXPORT int fake_cudnn_crashes, fake_cudnn_stalls, fake_cudnn_wants_its_handle;

/* A tensor with its memory: the caller's, or our own if it is virtual. */
struct operand {
    const struct descriptor *tensor;
    void *data;
};

struct execution {
    const struct descriptor *pack;
    struct operand virtuals[MAX_PACK];
    int virtual_count;
};

static int64_t dimension(const struct operand *o, int index)
{
    return number(o->tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, index);
}

static int64_t stride_of(const struct operand *o, int index)
{
    return number(o->tensor, CUDNN_ATTR_TENSOR_STRIDES, index);
}

static struct operand operand(struct execution *e, const struct descriptor *tensor)
{
    struct operand o = {tensor, NULL};
    const int64_t uid = number(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, 0);
    const struct attribute *uids = find(e->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const struct attribute *places = find(e->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    for (int64_t i = 0; i < uids->count; ++i)
        if (((const int64_t *)uids->values)[i] == uid)
            o.data = ((void **)places->values)[i];
    for (int i = 0; i < e->virtual_count; ++i)
        if (e->virtuals[i].tensor == tensor)
            o.data = e->virtuals[i].data;
    if (!o.data) {
        o.data = calloc((size_t)(dimension(&o, 0) * stride_of(&o, 0)), sizeof(float));
        e->virtuals[e->virtual_count++] = o;
    }
    return o;
}

static int64_t place(const struct operand *o, int64_t n, int64_t c, int64_t h, int64_t w)
{
    /* Sizes of 1 are broadcast, for biases. */
    return (dimension(o, 0) > 1 ? n * stride_of(o, 0) : 0) + c * stride_of(o, 1) +
           (dimension(o, 2) > 1 ? h * stride_of(o, 2) : 0) +
           (dimension(o, 3) > 1 ? w * stride_of(o, 3) : 0);
}

static bool is_bf16(const struct operand *o)
{
    return enumerator(o->tensor, CUDNN_ATTR_TENSOR_DATA_TYPE) == CUDNN_DATA_BFLOAT16;
}

static float get(const struct operand *o, int64_t at)
{
    if (!is_bf16(o))
        return ((const float *)o->data)[at];
    uint32_t word = (uint32_t)((const uint16_t *)o->data)[at] << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

static void put(const struct operand *o, int64_t at, float value)
{
    uint32_t word;
    if (!is_bf16(o)) {
        ((float *)o->data)[at] = value;
        return;
    }
    memcpy(&word, &value, sizeof word);
    word += 0x7fff + (word >> 16 & 1); /* to nearest even */
    ((uint16_t *)o->data)[at] = (uint16_t)(word >> 16);
}

/* A tensor's values with one dimension innermost, so that sums run over memory in order. */
struct dense {
    double *values;
    int64_t stride[4]; /* of n, c, h, w */
};

static struct dense dense_zeros(const struct operand *o, bool first_innermost)
{
    const int64_t n = dimension(o, 0), c = dimension(o, 1), h = dimension(o, 2),
                  w = dimension(o, 3);
    struct dense d = {calloc((size_t)(n * c * h * w), sizeof *d.values), {h * w * c, 1, w * c, c}};
    if (first_innermost)
        d = (struct dense){d.values, {1, n, w * c * n, c * n}};
    return d;
}

static double *dense_at(const struct dense *d, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return d->values + n * d->stride[0] + c * d->stride[1] + h * d->stride[2] + w * d->stride[3];
}

static struct dense dense_values(const struct operand *o, bool first_innermost)
{
    struct dense d = dense_zeros(o, first_innermost);
    for (int64_t n = 0; n < dimension(o, 0); ++n)
        for (int64_t h = 0; h < dimension(o, 2); ++h)
            for (int64_t w = 0; w < dimension(o, 3); ++w)
                for (int64_t c = 0; c < dimension(o, 1); ++c)
                    *dense_at(&d, n, c, h, w) = (double)get(o, place(o, n, c, h, w));
    return d;
}

static void store_sums(const struct operand *o, const struct dense *sums, float wrong)
{
    for (int64_t n = 0; n < dimension(o, 0); ++n)
        for (int64_t h = 0; h < dimension(o, 2); ++h)
            for (int64_t w = 0; w < dimension(o, 3); ++w)
                for (int64_t c = 0; c < dimension(o, 1); ++c)
                    put(o, place(o, n, c, h, w), (float)*dense_at(sums, n, c, h, w) + wrong);
}

/* sums[i] += factor·values[i] */
static void add_multiple(double *restrict sums, double factor, const double *restrict values,
                         int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        sums[i] += factor * values[i];
}

/* One pixel of y, one tap (r, s) of the filter, and the pixel of x under it. */
struct tap {
    double *x, *y;
    int64_t r, s;
};

static void add_tap(int output, const struct tap *at, const struct dense *w, int64_t channels,
                    int64_t filters)
{
    if (output == 2) {
        for (int64_t c = 0; c < channels; ++c)
            add_multiple(at->y, at->x[c], dense_at(w, 0, c, at->r, at->s), filters);
        return;
    }
    for (int64_t k = 0; k < filters; ++k) {
        double *row = dense_at(w, k, 0, at->r, at->s);
        add_multiple(output == 0 ? at->x : row, at->y[k], output == 0 ? row : at->x, channels);
    }
}

/* The three directions are one sum over pixels of y and taps: into x, w or y, whichever is the
 * output. */
static void convolve(struct execution *e, const struct descriptor *op, const int names[4],
                     int output, float wrong)
{
    struct operand t[3]; /* x, w, y */
    struct dense d[3];
    const struct descriptor *geometry = child(op, (cudnnBackendAttributeName_t)names[3], 0);
    const int64_t stride = number(geometry, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 0);
    const int64_t padding = number(geometry, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 0);
    for (int i = 0; i < 3; ++i) {
        t[i] = operand(e, child(op, (cudnnBackendAttributeName_t)names[i], 0));
        d[i] = i == output ? dense_zeros(&t[i], false) : dense_values(&t[i], i == 1 && output == 2);
    }
    const int64_t height = dimension(&t[0], 2), width = dimension(&t[0], 3),
                  channels = dimension(&t[0], 1), filters = dimension(&t[2], 1);
    for (int64_t n = 0; n < dimension(&t[2], 0); ++n)
        for (int64_t oh = 0; oh < dimension(&t[2], 2); ++oh)
            for (int64_t ow = 0; ow < dimension(&t[2], 3); ++ow)
                for (int64_t r = 0; r < dimension(&t[1], 2); ++r)
                    for (int64_t s = 0; s < dimension(&t[1], 3); ++s) {
                        const int64_t h = oh * stride + r - padding, w = ow * stride + s - padding;
                        if (h < 0 || w < 0 || h >= height || w >= width)
                            continue;
                        const struct tap at = {dense_at(&d[0], n, 0, h, w),
                                               dense_at(&d[2], n, 0, oh, ow), r, s};
                        add_tap(output, &at, &d[1], channels, filters);
                    }
    store_sums(&t[output], &d[output], wrong);
    for (int i = 0; i < 3; ++i)
        free(d[i].values);
}

static void pointwise(struct execution *e, const struct descriptor *op)
{
    const struct descriptor *b = child(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, 0);
    struct operand x = operand(e, child(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, 0));
    struct operand y = operand(e, child(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, 0));
    struct operand second = x;
    if (b)
        second = operand(e, b);
    for (int64_t n = 0; n < dimension(&y, 0); ++n)
        for (int64_t c = 0; c < dimension(&y, 1); ++c)
            for (int64_t h = 0; h < dimension(&y, 2); ++h)
                for (int64_t w = 0; w < dimension(&y, 3); ++w)
                    put(&y, place(&y, n, c, h, w),
                        get(&x, place(&x, n, c, h, w)) +
                            (b ? get(&second, place(&second, n, c, h, w)) : 0.0f));
}

/* ---- running in a stream ---- */

/* A plan and a copy of what it runs on: the caller's goes when the call returns. */
struct job {
    const struct descriptor *plan;
    struct descriptor *pack;
};

static struct job *job_of(const struct descriptor *plan, const struct descriptor *pack)
{
    struct job *job = calloc(1, sizeof *job);
    cudnnBackendDescriptor_t copy = NULL;
    cudnnBackendCreateDescriptor(pack->type, &copy);
    for (int i = 0; i < pack->count; ++i)
        cudnnBackendSetAttribute(copy, pack->attributes[i].name, pack->attributes[i].type,
                                 pack->attributes[i].count, pack->attributes[i].values);
    *job = (struct job){plan, copy};
    return job;
}

static void release_job(void *argument)
{
    struct job *job = argument;
    cudnnBackendDestroyDescriptor(job->pack);
    free(job);
}

static void run_job(void *argument)
{
    static const int names[3][4] = {
        {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC}};
    const struct job *job = argument;
    struct execution e = {.pack = job->pack};
    const struct descriptor *config = child(job->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0);
    const float wrong = config->engine == ENGINE_WRONG ? 1.0f : 0.0f;
    memset(*(void **)find(job->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE)->values, 0xff, WORKSPACE);
    if (config->engine == ENGINE_RIGHT && fake_cudnn_crashes)
        abort();
    fake_cudnn_right_runs += config->engine == ENGINE_RIGHT;
    fake_cudnn_second_right_runs += config->engine == ENGINE_SECOND;
    if (config->engine == ENGINE_SECOND)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    for (int64_t i = 0; i < op_count(config->graph); ++i) {
        const struct descriptor *op = child(config->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i);
        if (op->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
            convolve(&e, op, names[0], 2, wrong);
        else if (op->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
            convolve(&e, op, names[1], 0, wrong);
        else if (op->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR)
            convolve(&e, op, names[2], 1, wrong);
        else
            pointwise(&e, op);
    }
    for (int i = 0; i < e.virtual_count; ++i)
        free(e.virtuals[i].data);
}

/* Put a job into a stream of the emulated device, which then owns it. */
static void submit(cudaStream_t stream, struct job *job)
{
    void (*submit_to)(void *, void (*)(void *), void (*)(void *), void *);
    void *emulator = dlopen(getenv("DDPM_CUDA_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
    void *address = emulator ? dlsym(emulator, "emulator_submit") : NULL;
    if (!address) {
        fprintf(stderr, "fake_cudnn: no emulator_submit in DDPM_CUDA_PLUGIN\n");
        abort();
    }
    memcpy(&submit_to, &address, sizeof address);
    submit_to(stream, run_job, release_job, job);
    dlclose(emulator);
}

EXPORT cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                         cudnnBackendDescriptor_t pack)
{
    const struct descriptor *config = child(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0);
    void *workspace = *(void **)find(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE)->values;
    if (!handle || config->engine == ENGINE_NONDETERMINISTIC || !workspace ||
        (uintptr_t)workspace % 256 != 0 ||
        (fake_cudnn_stalls && find(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION)) ||
        (fake_cudnn_wants_its_handle &&
         child(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, 0) != (struct descriptor *)handle))
        return CUDNN_STATUS_BAD_PARAM;
    submit(((struct handle *)handle)->stream, job_of(plan, pack));
    return CUDNN_STATUS_SUCCESS;
}

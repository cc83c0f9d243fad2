/* cuDNN's graphs, engines and plans, see cudnn.h.
 *
 *     tensors → operations → operation graph → heuristics → engine configurations → plans
 *
 * Everything is a "backend descriptor" with attributes: the same five functions create, fill and
 * finalize it. If cuDNN rejects something, that is not a failure here: there is just one plan fewer
 * to choose from. */
#define _GNU_SOURCE
#include "kernels/cuda/cudnn.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cudnn.h>

#if CUDNN_VERSION < 90800 || CUDNN_MAJOR != 9
#error "want headers of cuDNN 9.8 or a later 9.x"
#endif

/* The functions that are used, by name. */
#define FUNCTIONS(F)                                                                               \
    F(cudnnGetVersion)                                                                             \
    F(cudnnGetErrorString)                                                                         \
    F(cudnnCreate)                                                                                 \
    F(cudnnDestroy)                                                                                \
    F(cudnnSetStream)                                                                              \
    F(cudnnBackendCreateDescriptor)                                                                \
    F(cudnnBackendDestroyDescriptor)                                                               \
    F(cudnnBackendSetAttribute)                                                                    \
    F(cudnnBackendGetAttribute)                                                                    \
    F(cudnnBackendFinalize)                                                                        \
    F(cudnnBackendExecute)

/* The largest number of descriptors for one convolution's graph and heuristics, without plans. */
enum { MAX_DESCRIPTORS = 32, MAX_CONFIGS = 64, MAX_KNOBS = 64 };
enum uid { UID_X = 1, UID_W, UID_Y, UID_BIAS, UID_RESIDUAL, UID_VIRTUAL };

/* The descriptors of one convolution; kept while its plans live. */
struct problem {
    struct problem *next;
    cudnnBackendDescriptor_t descriptors[MAX_DESCRIPTORS];
    int count;
    cudnnBackendDescriptor_t configs[MAX_CONFIGS];
    int config_count;
    bool failed; /* sticky, so that descriptors are built without a check after every line */
};

struct plan_node {
    struct plan_node *next;
    struct ddpm_cudnn_plan plan;
};

struct ddpm_cudnn {
    void *library;
    cudnnHandle_t handle;                /* NULL: deviceless */
    cudnnBackendDescriptor_t properties; /* for the device, if there is no handle */
    struct problem *problems;
    struct plan_node *plans;
#define MEMBER(name) __typeof__(&(name)) name##_;
    FUNCTIONS(MEMBER)
#undef MEMBER
};

/* ---- the library ---- */

static bool load(struct ddpm_cudnn *cudnn)
{
    const char *name = getenv("DDPM_CUDNN");
    if (name && !strcmp(name, "off"))
        return false;
    cudnn->library = dlopen(name && *name ? name : "libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!cudnn->library) {
        ddpm_log(DDPM_LOG_INFO, "cuDNN is not used: %s", dlerror());
        return false;
    }
    void *symbol;
#define LOAD(name)                                                                                 \
    if (!(symbol = dlsym(cudnn->library, #name))) {                                                \
        ddpm_log(DDPM_LOG_WARNING, "cuDNN is not used: it has no " #name);                         \
        return false;                                                                              \
    }                                                                                              \
    memcpy(&cudnn->name##_, &symbol, sizeof symbol);
    FUNCTIONS(LOAD)
#undef LOAD
    size_t version = cudnn->cudnnGetVersion_();
    if (version / 10000 == CUDNN_MAJOR)
        return true;
    ddpm_log(DDPM_LOG_WARNING, "cuDNN is not used: got version %zu, want 9", version);
    return false;
}

void ddpm_cudnn_open(void *stream, struct ddpm_cudnn **out)
{
    struct ddpm_cudnn *cudnn = calloc(1, sizeof *cudnn);
    *out = NULL;
    if (!cudnn || !load(cudnn)) {
        ddpm_cudnn_close(&cudnn);
        return;
    }
    cudnnStatus_t status = cudnn->cudnnCreate_(&cudnn->handle);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnSetStream_(cudnn->handle, stream);
    if (status != CUDNN_STATUS_SUCCESS) {
        ddpm_log(DDPM_LOG_WARNING, "cuDNN is not used: %s", cudnn->cudnnGetErrorString_(status));
        ddpm_cudnn_close(&cudnn);
        return;
    }
    *out = cudnn;
}

ddpm_status ddpm_cudnn_set_stream(struct ddpm_cudnn *cudnn, void *stream)
{
    const cudnnStatus_t status = cudnn->cudnnSetStream_(cudnn->handle, stream);
    if (status == CUDNN_STATUS_SUCCESS)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_DEVICE, "cuDNN's stream: %s", cudnn->cudnnGetErrorString_(status));
}

void ddpm_cudnn_close(struct ddpm_cudnn **cudnn)
{
    struct ddpm_cudnn *closing = *cudnn;
    *cudnn = NULL;
    if (!closing)
        return;
    while (closing->plans) {
        struct plan_node *node = closing->plans;
        closing->plans = node->next;
        closing->cudnnBackendDestroyDescriptor_(node->plan.descriptor);
        free(node);
    }
    while (closing->problems) {
        struct problem *problem = closing->problems;
        closing->problems = problem->next;
        for (int i = problem->config_count - 1; i >= 0; --i)
            closing->cudnnBackendDestroyDescriptor_(problem->configs[i]);
        for (int i = problem->count - 1; i >= 0; --i)
            closing->cudnnBackendDestroyDescriptor_(problem->descriptors[i]);
        free(problem);
    }
    if (closing->properties)
        closing->cudnnBackendDestroyDescriptor_(closing->properties);
    if (closing->handle)
        closing->cudnnDestroy_(closing->handle);
    /* The library stays loaded, because it registers things that do not survive unloading. */
    free(closing);
}

size_t ddpm_cudnn_version(const struct ddpm_cudnn *cudnn)
{
    return cudnn ? cudnn->cudnnGetVersion_() : 0;
}

/* ---- descriptors ---- */

static cudnnBackendDescriptor_t make(struct ddpm_cudnn *cudnn, struct problem *problem,
                                     cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t descriptor = NULL;
    if (problem->failed || problem->count == MAX_DESCRIPTORS ||
        cudnn->cudnnBackendCreateDescriptor_(type, &descriptor) != CUDNN_STATUS_SUCCESS) {
        problem->failed = true;
        return NULL;
    }
    problem->descriptors[problem->count++] = descriptor;
    return descriptor;
}

static void set(struct ddpm_cudnn *cudnn, struct problem *problem, cudnnBackendDescriptor_t to,
                cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                const void *values)
{
    if (!problem->failed &&
        cudnn->cudnnBackendSetAttribute_(to, name, type, count, values) != CUDNN_STATUS_SUCCESS)
        problem->failed = true;
}

static void set_descriptor(struct ddpm_cudnn *cudnn, struct problem *problem,
                           cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value)
{
    set(cudnn, problem, to, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finalize(struct ddpm_cudnn *cudnn, struct problem *problem,
                     cudnnBackendDescriptor_t descriptor)
{
    if (!problem->failed && cudnn->cudnnBackendFinalize_(descriptor) != CUDNN_STATUS_SUCCESS)
        problem->failed = true;
}

/* Sizes are in the order N, C, H, W whatever the layout; the strides say that channels are
 * adjacent. */
static cudnnBackendDescriptor_t tensor(struct ddpm_cudnn *cudnn, struct problem *problem,
                                       int64_t uid, cudnnDataType_t type, const int64_t nhwc[4],
                                       int64_t pixel_stride)
{
    const int64_t n = nhwc[0], h = nhwc[1], w = nhwc[2], c = nhwc[3], alignment = 16;
    const int64_t sizes[4] = {n, c, h, w};
    const int64_t strides[4] = {h * w * pixel_stride, 1, w * pixel_stride, pixel_stride};
    const bool is_virtual = uid >= UID_VIRTUAL;
    cudnnBackendDescriptor_t t = make(cudnn, problem, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(cudnn, problem, t, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(cudnn, problem, t, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, sizes);
    set(cudnn, problem, t, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(cudnn, problem, t, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    set(cudnn, problem, t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(cudnn, problem, t, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    finalize(cudnn, problem, t);
    return t;
}

static cudnnBackendDescriptor_t geometry(struct ddpm_cudnn *cudnn, struct problem *problem,
                                         const struct ddpm_cudnn_convolution *c)
{
    const int64_t two = 2, padding[2] = {c->padding, c->padding}, dilation[2] = {1, 1};
    const int64_t stride[2] = {c->stride, c->stride};
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnBackendDescriptor_t g = make(cudnn, problem, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(cudnn, problem, g, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two);
    set(cudnn, problem, g, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(cudnn, problem, g, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(cudnn, problem, g, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
    set(cudnn, problem, g, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, padding);
    set(cudnn, problem, g, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation);
    set(cudnn, problem, g, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    finalize(cudnn, problem, g);
    return g;
}

/* ---- operations ---- */

/* What each of the three directions calls its tensors. */
static const struct direction {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t x, w, y, geometry, alpha, beta;
} forward = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
  backward_data = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
  backward_weight = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};

static cudnnBackendDescriptor_t convolution(struct ddpm_cudnn *cudnn, struct problem *problem,
                                            const struct direction *direction,
                                            const struct ddpm_cudnn_convolution *c,
                                            cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
                                            cudnnBackendDescriptor_t y)
{
    const float one = 1.0f, zero = 0.0f;
    cudnnBackendDescriptor_t shape = geometry(cudnn, problem, c);
    cudnnBackendDescriptor_t op = make(cudnn, problem, direction->type);
    set_descriptor(cudnn, problem, op, direction->x, x);
    set_descriptor(cudnn, problem, op, direction->w, w);
    set_descriptor(cudnn, problem, op, direction->y, y);
    set_descriptor(cudnn, problem, op, direction->geometry, shape);
    set(cudnn, problem, op, direction->alpha, CUDNN_TYPE_FLOAT, 1, &one);
    set(cudnn, problem, op, direction->beta, CUDNN_TYPE_FLOAT, 1, &zero);
    finalize(cudnn, problem, op);
    return op;
}

/* y = a + b, or y = a in y's type if b is NULL. */
static cudnnBackendDescriptor_t pointwise(struct ddpm_cudnn *cudnn, struct problem *problem,
                                          cudnnBackendDescriptor_t a, cudnnBackendDescriptor_t b,
                                          cudnnBackendDescriptor_t y)
{
    const cudnnPointwiseMode_t mode = b ? CUDNN_POINTWISE_ADD : CUDNN_POINTWISE_IDENTITY;
    const cudnnDataType_t precision = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t f = make(cudnn, problem, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(cudnn, problem, f, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(cudnn, problem, f, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &precision);
    finalize(cudnn, problem, f);
    cudnnBackendDescriptor_t op =
        make(cudnn, problem, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(cudnn, problem, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, f);
    set_descriptor(cudnn, problem, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, a);
    if (b)
        set_descriptor(cudnn, problem, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_descriptor(cudnn, problem, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    finalize(cudnn, problem, op);
    return op;
}

/* The operations of a form; returns how many. */
static int operations(struct ddpm_cudnn *cudnn, struct problem *p,
                      const struct ddpm_cudnn_convolution *c, cudnnBackendDescriptor_t ops[3])
{
    const cudnnDataType_t type = c->dtype == DDPM_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const int64_t x_size[4] = {c->n, c->h, c->w, c->c};
    const int64_t y_size[4] = {c->n, c->out_h, c->out_w, c->k};
    const int64_t w_size[4] = {c->k, c->kernel_h, c->kernel_w, c->c};
    const int64_t bias_size[4] = {1, 1, 1, c->k};
    const bool weight = c->form == DDPM_CUDNN_WEIGHT;
    cudnnBackendDescriptor_t x = tensor(cudnn, p, UID_X, type, x_size, c->x_stride);
    cudnnBackendDescriptor_t y = tensor(cudnn, p, UID_Y, type, y_size, c->y_stride);
    cudnnBackendDescriptor_t w =
        tensor(cudnn, p, UID_W, weight ? CUDNN_DATA_FLOAT : type, w_size, c->c);
    switch (c->form) {
    case DDPM_CUDNN_PLAIN:
        ops[0] = convolution(cudnn, p, &forward, c, x, w, y);
        return 1;
    case DDPM_CUDNN_DATA:
        ops[0] = convolution(cudnn, p, &backward_data, c, x, w, y);
        return 1;
    case DDPM_CUDNN_WEIGHT:
        if (type == CUDNN_DATA_FLOAT) {
            ops[0] = convolution(cudnn, p, &backward_weight, c, x, w, y);
            return 1;
        }
        /* No engine writes fp32 from bf16 by default, but the sums are fp32 and can be kept as
         * such. */
        cudnnBackendDescriptor_t sums =
            tensor(cudnn, p, UID_VIRTUAL, CUDNN_DATA_FLOAT, w_size, c->c);
        ops[0] = convolution(cudnn, p, &backward_weight, c, x, sums, y);
        ops[1] = pointwise(cudnn, p, sums, NULL, w);
        return 2;
    case DDPM_CUDNN_FUSED:
        break;
    }
    cudnnBackendDescriptor_t bias = tensor(cudnn, p, UID_BIAS, CUDNN_DATA_FLOAT, bias_size, c->k);
    cudnnBackendDescriptor_t sums = tensor(cudnn, p, UID_VIRTUAL, CUDNN_DATA_FLOAT, y_size, c->k);
    ops[0] = convolution(cudnn, p, &forward, c, x, w, sums);
    if (!c->residual_stride) {
        ops[1] = pointwise(cudnn, p, sums, bias, y);
        return 2;
    }
    cudnnBackendDescriptor_t residual =
        tensor(cudnn, p, UID_RESIDUAL, type, y_size, c->residual_stride);
    cudnnBackendDescriptor_t biased =
        tensor(cudnn, p, UID_VIRTUAL + 1, CUDNN_DATA_FLOAT, y_size, c->k);
    ops[1] = pointwise(cudnn, p, sums, bias, biased);
    ops[2] = pointwise(cudnn, p, biased, residual, y);
    return 3;
}

/* ---- engines ---- */

/* Append the configurations that one kind of heuristics proposes. */
static void propose(struct ddpm_cudnn *cudnn, struct problem *problem,
                    cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode)
{
    cudnnBackendDescriptor_t heuristics = make(cudnn, problem, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(cudnn, problem, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(cudnn, problem, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!cudnn->handle)
        set_descriptor(cudnn, problem, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
                       cudnn->properties);
    if (problem->failed || cudnn->cudnnBackendFinalize_(heuristics) != CUDNN_STATUS_SUCCESS)
        return;
    int64_t found = 0;
    const int room = MAX_CONFIGS - problem->config_count;
    const int most = mode == CUDNN_HEUR_MODE_FALLBACK && room > 8 ? 8 : room > 40 ? 40 : room;
    cudnnBackendDescriptor_t *configs = problem->configs + problem->config_count;
    for (int i = 0; i < most; ++i) {
        if (cudnn->cudnnBackendCreateDescriptor_(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[i]) !=
            CUDNN_STATUS_SUCCESS) {
            problem->failed = true;
            return;
        }
        ++problem->config_count;
    }
    if (cudnn->cudnnBackendGetAttribute_(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &found,
                                         configs) != CUDNN_STATUS_SUCCESS)
        found = 0;
    for (int64_t i = most; i > found; --i)
        cudnn->cudnnBackendDestroyDescriptor_(problem->configs[--problem->config_count]);
}

static bool has(const int *notes, int64_t count, int note)
{
    for (int64_t i = 0; i < count; ++i)
        if (notes[i] == note)
            return true;
    return false;
}

static bool acceptable(const int *notes, int64_t count, enum ddpm_dtype dtype)
{
    static const int refused[] = {
        CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC,
        CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
        CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
        CUDNN_NUMERICAL_NOTE_FFT,
        CUDNN_NUMERICAL_NOTE_WINOGRAD,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13,
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; ++i)
        if (has(notes, count, refused[i]))
            return false;
    return dtype == DDPM_BF16 || !has(notes, count, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
}

static void append(char name[DDPM_CUDNN_NAME_BYTES], const char *format, ...)
{
    size_t used = strlen(name);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name + used, DDPM_CUDNN_NAME_BYTES - used, format, arguments);
    va_end(arguments);
}

/* Settings of a configuration, "_2=6_13=0": type and value of each knob. */
static void name_knobs(struct ddpm_cudnn *cudnn, cudnnBackendDescriptor_t config,
                       char name[DDPM_CUDNN_NAME_BYTES])
{
    cudnnBackendDescriptor_t knobs[MAX_KNOBS];
    int made = 0;
    int64_t count = 0, one;
    while (made < MAX_KNOBS &&
           cudnn->cudnnBackendCreateDescriptor_(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
                                                &knobs[made]) == CUDNN_STATUS_SUCCESS)
        ++made;
    if (cudnn->cudnnBackendGetAttribute_(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, made, &count,
                                         knobs) != CUDNN_STATUS_SUCCESS)
        count = 0;
    for (int64_t i = 0; i < count; ++i) {
        cudnnBackendKnobType_t type = CUDNN_KNOB_TYPE_COUNTS;
        int64_t value = -1;
        cudnn->cudnnBackendGetAttribute_(knobs[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                         CUDNN_TYPE_KNOB_TYPE, 1, &one, &type);
        cudnn->cudnnBackendGetAttribute_(knobs[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                                         CUDNN_TYPE_INT64, 1, &one, &value);
        append(name, "_%d=%lld", (int)type, (long long)value);
    }
    while (made > 0)
        cudnn->cudnnBackendDestroyDescriptor_(knobs[--made]);
}

/* What is known about a configuration before a plan is made from it. */
struct config_info {
    char name[DDPM_CUDNN_NAME_BYTES];
    bool compiled;
};

/* False if the engine must not be used. */
static bool look_at(struct ddpm_cudnn *cudnn, cudnnBackendDescriptor_t config,
                    const struct ddpm_cudnn_convolution *c, struct config_info *info)
{
    static const char *const forms[] = {"plain", "fused", "data", "weight"};
    cudnnBackendDescriptor_t engine = NULL;
    int64_t index = -1, one = 0, numerical_count = 0, behavior_count = 0;
    int numerical[32], behavior[32]; /* of enumerations, which are ints */
    bool good = cudnn->cudnnBackendCreateDescriptor_(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) ==
                CUDNN_STATUS_SUCCESS;
    good =
        good &&
        cudnn->cudnnBackendGetAttribute_(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one,
                                         &engine) == CUDNN_STATUS_SUCCESS &&
        cudnn->cudnnBackendGetAttribute_(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64,
                                         1, &one, &index) == CUDNN_STATUS_SUCCESS &&
        cudnn->cudnnBackendGetAttribute_(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                         CUDNN_TYPE_NUMERICAL_NOTE, 32, &numerical_count,
                                         numerical) == CUDNN_STATUS_SUCCESS &&
        cudnn->cudnnBackendGetAttribute_(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                         CUDNN_TYPE_BEHAVIOR_NOTE, 32, &behavior_count,
                                         behavior) == CUDNN_STATUS_SUCCESS &&
        acceptable(numerical, numerical_count, c->dtype);
    if (good) {
        snprintf(info->name, sizeof info->name, "%s%lld", forms[c->form], (long long)index);
        name_knobs(cudnn, config, info->name);
        info->compiled = has(behavior, behavior_count, CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
    }
    if (engine)
        cudnn->cudnnBackendDestroyDescriptor_(engine);
    return good;
}

/* A plan from what `from` describes: an engine configuration, or the text of a plan. */
static struct ddpm_cudnn_plan *make_plan(struct ddpm_cudnn *cudnn, const char *name,
                                         enum ddpm_cudnn_form form,
                                         cudnnBackendAttributeName_t attribute,
                                         cudnnBackendAttributeType_t type, int64_t count,
                                         const void *from)
{
    struct plan_node *node = calloc(1, sizeof *node);
    cudnnBackendDescriptor_t plan = NULL;
    int64_t workspace = 0, one = 0;
    if (!node || cudnn->cudnnBackendCreateDescriptor_(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
                                                      &plan) != CUDNN_STATUS_SUCCESS) {
        free(node);
        return NULL;
    }
    /* The device first: cuDNN 9.19 crashes on a text without it. */
    cudnnStatus_t status =
        cudnn->handle ? cudnn->cudnnBackendSetAttribute_(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
                                                         CUDNN_TYPE_HANDLE, 1, &cudnn->handle)
                      : cudnn->cudnnBackendSetAttribute_(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                                                         CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                                         &cudnn->properties);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendSetAttribute_(plan, attribute, type, count, from);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendFinalize_(plan);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendGetAttribute_(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                                  CUDNN_TYPE_INT64, 1, &one, &workspace);
    if (status != CUDNN_STATUS_SUCCESS) {
        ddpm_log(DDPM_LOG_DEBUG, "cuDNN's %s: %s", name, cudnn->cudnnGetErrorString_(status));
        cudnn->cudnnBackendDestroyDescriptor_(plan);
        free(node);
        return NULL;
    }
    snprintf(node->plan.name, sizeof node->plan.name, "%s", name);
    node->plan.form = form;
    node->plan.workspace_bytes = (size_t)workspace;
    node->plan.descriptor = plan;
    node->next = cudnn->plans;
    cudnn->plans = node;
    return &node->plan;
}

/* The configurations that cuDNN proposes for a convolution; NULL if it supports none. */
static struct problem *ask(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *wanted)
{
    struct problem *problem = calloc(1, sizeof *problem);
    cudnnBackendDescriptor_t ops[3] = {NULL, NULL, NULL};
    if (!problem)
        return NULL;
    problem->next = cudnn->problems;
    cudnn->problems = problem;
    int op_count = operations(cudnn, problem, wanted, ops);
    cudnnBackendDescriptor_t graph = make(cudnn, problem, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(cudnn, problem, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
        op_count, ops);
    if (cudnn->handle)
        set(cudnn, problem, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
            &cudnn->handle);
    finalize(cudnn, problem, graph);
    if (problem->failed)
        return NULL;
    propose(cudnn, problem, graph, CUDNN_HEUR_MODE_A);
    propose(cudnn, problem, graph, CUDNN_HEUR_MODE_FALLBACK);
    return problem;
}

int ddpm_cudnn_names(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *wanted,
                     int most, int compiled, char (*names)[DDPM_CUDNN_NAME_BYTES])
{
    const struct problem *problem = ask(cudnn, wanted);
    int count = 0;
    for (int i = 0; problem && i < problem->config_count && count < most; ++i) {
        struct config_info info;
        bool again = false; /* the two kinds of heuristics may propose the same */
        if (!look_at(cudnn, problem->configs[i], wanted, &info) || (info.compiled && compiled == 0))
            continue;
        for (int j = 0; j < count; ++j)
            again = again || !strcmp(names[j], info.name);
        if (again)
            continue;
        compiled -= info.compiled;
        memcpy(names[count++], info.name, sizeof info.name);
    }
    return count;
}

int ddpm_cudnn_plans(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *wanted,
                     const char *name, int most, int compiled, struct ddpm_cudnn_plan **plans)
{
    struct problem *problem = ask(cudnn, wanted);
    int count = 0;
    if (!problem)
        return 0;
    for (int i = 0; i < problem->config_count && count < most; ++i) {
        struct config_info info;
        bool again = false; /* the two kinds of heuristics may propose the same */
        if (!look_at(cudnn, problem->configs[i], wanted, &info) ||
            (name && strcmp(name, info.name) != 0) || (info.compiled && compiled == 0))
            continue;
        for (int j = 0; j < count; ++j)
            again = again || !strcmp(plans[j]->name, info.name);
        if (again)
            continue;
        compiled -= info.compiled;
        plans[count] =
            make_plan(cudnn, info.name, wanted->form, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &problem->configs[i]);
        if (plans[count])
            plans[count++]->compiled = info.compiled;
    }
    return count;
}

/* ---- plans as text ----
 *
 * cuDNN's JSON of a plan contains the graph, the device, the engine with its settings and, if the
 * engine compiles, the machine code of its kernels. Observed with 9.19 without a GPU, for a
 * described H100 and a stand-in for the driver that accepts any code: texts of fused bf16
 * convolutions and of fp32 gradients of bf16 weights are 40 to 190 KB long. Plans made from them
 * are ready in 1 to 16 ms (the first in a new process takes up to 0.12 s, including loading
 * libraries) instead of 0.4 to 0.9 s, need the same workspace, and print the same text again. cuDNN
 * rejects a text that is truncated, or of another version or device, but does not notice a flipped
 * bit in the code. A loaded plan lists more settings than the one it was made from, so its name
 * cannot be derived from it. Engines that do not compile have texts of 2 KB, but loading those
 * saves no time. Not tested: whether a loaded plan runs, and any of this with a handle instead of a
 * described device. */

char *ddpm_cudnn_print_plan(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_plan *plan,
                            size_t *bytes)
{
    int64_t count = 0;
    if (cudnn->cudnnBackendGetAttribute_(plan->descriptor,
                                         CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                         CUDNN_TYPE_CHAR, 0, &count, NULL) != CUDNN_STATUS_SUCCESS)
        return NULL;
    char *text = count > 0 ? calloc(1, (size_t)count + 1) : NULL;
    if (text && cudnn->cudnnBackendGetAttribute_(
                    plan->descriptor, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                    CUDNN_TYPE_CHAR, count, &count, text) != CUDNN_STATUS_SUCCESS) {
        free(text);
        return NULL;
    }
    *bytes = (size_t)count;
    return text;
}

struct ddpm_cudnn_plan *ddpm_cudnn_load_plan(struct ddpm_cudnn *cudnn, const char *name,
                                             enum ddpm_cudnn_form form, const char *text,
                                             size_t bytes)
{
    return make_plan(cudnn, name, form, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                     CUDNN_TYPE_CHAR, (int64_t)bytes, text);
}

/* ---- running ---- */

ddpm_status ddpm_cudnn_run(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_plan *plan,
                           const struct ddpm_cudnn_pointers *pointers)
{
    int64_t uids[5] = {UID_X, UID_W, UID_Y, UID_BIAS, UID_RESIDUAL};
    const void *places[5] = {pointers->x, pointers->w, pointers->y, pointers->bias,
                             pointers->residual};
    /* Only the fused form has a bias and a residual. */
    int64_t count = plan->form != DDPM_CUDNN_FUSED ? 3 : pointers->residual ? 5 : 4;
    cudnnBackendDescriptor_t pack = NULL;
    cudnnStatus_t status =
        cudnn->cudnnBackendCreateDescriptor_(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendSetAttribute_(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                                                  CUDNN_TYPE_INT64, count, uids);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendSetAttribute_(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                                  CUDNN_TYPE_VOID_PTR, count, places);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendSetAttribute_(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                                                  CUDNN_TYPE_VOID_PTR, 1, &pointers->workspace);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendFinalize_(pack);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnn->cudnnBackendExecute_(cudnn->handle, plan->descriptor, pack);
    if (pack)
        cudnn->cudnnBackendDestroyDescriptor_(pack);
    if (status == CUDNN_STATUS_SUCCESS)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_DEVICE, "cuDNN's %s did not run: %s", plan->name,
                      cudnn->cudnnGetErrorString_(status));
}

/* ---- without a device ---- */

void ddpm_cudnn_open_deviceless(const char *properties, struct ddpm_cudnn **out)
{
    *out = NULL;
    struct ddpm_cudnn *cudnn = calloc(1, sizeof *cudnn);
    bool good = cudnn && load(cudnn) &&
                cudnn->cudnnBackendCreateDescriptor_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR,
                                                     &cudnn->properties) == CUDNN_STATUS_SUCCESS;
    good = good &&
           cudnn->cudnnBackendSetAttribute_(
               cudnn->properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
               (int64_t)strlen(properties) + 1, properties) == CUDNN_STATUS_SUCCESS &&
           cudnn->cudnnBackendFinalize_(cudnn->properties) == CUDNN_STATUS_SUCCESS;
    if (!good)
        ddpm_cudnn_close(&cudnn);
    *out = cudnn;
}

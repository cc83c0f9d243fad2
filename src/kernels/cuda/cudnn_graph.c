/* A convolution in cuDNN's words: tensors, operations, their graph, and the engine configurations
 * that its heuristics propose. */
#include "kernels/cuda/cudnn_library.h"

#include <stdlib.h>

/* ---- descriptors ---- */

static cudnnBackendDescriptor_t make(struct ddpm_cudnn *cudnn, struct ddpm_cudnn_problem *problem,
                                     cudnnBackendDescriptorType_t type)
{
    cudnnBackendDescriptor_t descriptor = NULL;
    if (problem->failed || problem->count == DDPM_CUDNN_DESCRIPTORS ||
        cudnn->cudnnBackendCreateDescriptor_(type, &descriptor) != CUDNN_STATUS_SUCCESS) {
        problem->failed = true;
        return NULL;
    }
    problem->descriptors[problem->count++] = descriptor;
    return descriptor;
}

static void set(struct ddpm_cudnn *cudnn, struct ddpm_cudnn_problem *problem,
                cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    if (!problem->failed &&
        cudnn->cudnnBackendSetAttribute_(to, name, type, count, values) != CUDNN_STATUS_SUCCESS)
        problem->failed = true;
}

static void set_descriptor(struct ddpm_cudnn *cudnn, struct ddpm_cudnn_problem *problem,
                           cudnnBackendDescriptor_t to, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value)
{
    set(cudnn, problem, to, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finalize(struct ddpm_cudnn *cudnn, struct ddpm_cudnn_problem *problem,
                     cudnnBackendDescriptor_t descriptor)
{
    if (!problem->failed && cudnn->cudnnBackendFinalize_(descriptor) != CUDNN_STATUS_SUCCESS)
        problem->failed = true;
}

/* Sizes are in the order N, C, H, W whatever the layout; the strides say that channels are
 * adjacent. */
static cudnnBackendDescriptor_t tensor(struct ddpm_cudnn *cudnn, struct ddpm_cudnn_problem *problem,
                                       int64_t uid, cudnnDataType_t type, const int64_t nhwc[4],
                                       int64_t pixel_stride)
{
    const int64_t n = nhwc[0], h = nhwc[1], w = nhwc[2], c = nhwc[3], alignment = 16;
    const int64_t sizes[4] = {n, c, h, w};
    const int64_t strides[4] = {h * w * pixel_stride, 1, w * pixel_stride, pixel_stride};
    const bool is_virtual = uid >= DDPM_CUDNN_UID_VIRTUAL;
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

static cudnnBackendDescriptor_t geometry(struct ddpm_cudnn *cudnn,
                                         struct ddpm_cudnn_problem *problem,
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

static cudnnBackendDescriptor_t
convolution(struct ddpm_cudnn *cudnn, struct ddpm_cudnn_problem *problem,
            const struct direction *direction, const struct ddpm_cudnn_convolution *c,
            cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w, cudnnBackendDescriptor_t y)
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
static cudnnBackendDescriptor_t pointwise(struct ddpm_cudnn *cudnn,
                                          struct ddpm_cudnn_problem *problem,
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
static int operations(struct ddpm_cudnn *cudnn, struct ddpm_cudnn_problem *p,
                      const struct ddpm_cudnn_convolution *c, cudnnBackendDescriptor_t ops[3])
{
    const cudnnDataType_t type = c->dtype == DDPM_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    const int64_t x_size[4] = {c->n, c->h, c->w, c->c};
    const int64_t y_size[4] = {c->n, c->out_h, c->out_w, c->k};
    const int64_t w_size[4] = {c->k, c->kernel_h, c->kernel_w, c->c};
    const int64_t bias_size[4] = {1, 1, 1, c->k};
    const bool weight = c->form == DDPM_CUDNN_WEIGHT;
    cudnnBackendDescriptor_t x = tensor(cudnn, p, DDPM_CUDNN_UID_X, type, x_size, c->x_stride);
    cudnnBackendDescriptor_t y = tensor(cudnn, p, DDPM_CUDNN_UID_Y, type, y_size, c->y_stride);
    cudnnBackendDescriptor_t w =
        tensor(cudnn, p, DDPM_CUDNN_UID_W, weight ? CUDNN_DATA_FLOAT : type, w_size, c->c);
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
            tensor(cudnn, p, DDPM_CUDNN_UID_VIRTUAL, CUDNN_DATA_FLOAT, w_size, c->c);
        ops[0] = convolution(cudnn, p, &backward_weight, c, x, sums, y);
        ops[1] = pointwise(cudnn, p, sums, NULL, w);
        return 2;
    case DDPM_CUDNN_FUSED:
        break;
    }
    cudnnBackendDescriptor_t bias =
        tensor(cudnn, p, DDPM_CUDNN_UID_BIAS, CUDNN_DATA_FLOAT, bias_size, c->k);
    cudnnBackendDescriptor_t sums =
        tensor(cudnn, p, DDPM_CUDNN_UID_VIRTUAL, CUDNN_DATA_FLOAT, y_size, c->k);
    ops[0] = convolution(cudnn, p, &forward, c, x, w, sums);
    if (!c->residual_stride) {
        ops[1] = pointwise(cudnn, p, sums, bias, y);
        return 2;
    }
    cudnnBackendDescriptor_t residual =
        tensor(cudnn, p, DDPM_CUDNN_UID_RESIDUAL, type, y_size, c->residual_stride);
    cudnnBackendDescriptor_t biased =
        tensor(cudnn, p, DDPM_CUDNN_UID_VIRTUAL + 1, CUDNN_DATA_FLOAT, y_size, c->k);
    ops[1] = pointwise(cudnn, p, sums, bias, biased);
    ops[2] = pointwise(cudnn, p, biased, residual, y);
    return 3;
}

/* ---- heuristics ---- */

/* Append the configurations that one kind of heuristics proposes. */
static void propose(struct ddpm_cudnn *cudnn, struct ddpm_cudnn_problem *problem,
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
    const int room = DDPM_CUDNN_CONFIGS - problem->config_count;
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

struct ddpm_cudnn_problem *ddpm_cudnn_ask(struct ddpm_cudnn *cudnn,
                                          const struct ddpm_cudnn_convolution *wanted)
{
    struct ddpm_cudnn_problem *problem = calloc(1, sizeof *problem);
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

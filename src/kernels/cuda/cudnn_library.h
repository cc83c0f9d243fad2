/* What the files that talk to cuDNN share: the library's functions, and the descriptors of one
 * convolution. cudnn.c loads the library and runs plans, cudnn_graph.c describes convolutions,
 * cudnn_plans.c makes plans. */
#ifndef DDPM_KERNELS_CUDA_CUDNN_LIBRARY_H
#define DDPM_KERNELS_CUDA_CUDNN_LIBRARY_H

#include "kernels/cuda/cudnn.h"

#include <cudnn.h>

#if CUDNN_VERSION < 90800 || CUDNN_MAJOR != 9
#error "want headers of cuDNN 9.8 or a later 9.x"
#endif

/* The functions that are used, by name. */
#define DDPM_CUDNN_FUNCTIONS(F)                                                                    \
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
enum { DDPM_CUDNN_DESCRIPTORS = 32, DDPM_CUDNN_CONFIGS = 64 };

/* What a graph calls its tensors. */
enum ddpm_cudnn_uid {
    DDPM_CUDNN_UID_X = 1,
    DDPM_CUDNN_UID_W,
    DDPM_CUDNN_UID_Y,
    DDPM_CUDNN_UID_BIAS,
    DDPM_CUDNN_UID_RESIDUAL,
    DDPM_CUDNN_UID_VIRTUAL
};

/* The descriptors of one convolution; kept while its plans live. */
struct ddpm_cudnn_problem {
    struct ddpm_cudnn_problem *next;
    cudnnBackendDescriptor_t descriptors[DDPM_CUDNN_DESCRIPTORS];
    int count;
    cudnnBackendDescriptor_t configs[DDPM_CUDNN_CONFIGS];
    int config_count;
    bool failed; /* sticky, so that descriptors are built without a check after every line */
};

struct ddpm_cudnn_plan_node {
    struct ddpm_cudnn_plan_node *next;
    struct ddpm_cudnn_plan plan;
};

struct ddpm_cudnn {
    void *library;
    cudnnHandle_t handle;                /* NULL: deviceless */
    cudnnBackendDescriptor_t properties; /* for the device, if there is no handle */
    struct ddpm_cudnn_problem *problems;
    struct ddpm_cudnn_plan_node *plans;
#define DDPM_CUDNN_MEMBER(name) __typeof__(&(name)) name##_;
    DDPM_CUDNN_FUNCTIONS(DDPM_CUDNN_MEMBER)
#undef DDPM_CUDNN_MEMBER
};

/* The configurations that cuDNN proposes for a convolution; NULL if it supports none. */
struct ddpm_cudnn_problem *ddpm_cudnn_ask(struct ddpm_cudnn *cudnn,
                                          const struct ddpm_cudnn_convolution *wanted);

#endif

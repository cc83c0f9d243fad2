/* What the two files of the stand-in for cuDNN share: descriptors are lists of attributes. */
#ifndef DDPM_TESTS_FAKE_CUDNN_H
#define DDPM_TESTS_FAKE_CUDNN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cudnn.h>

enum { MAX_ATTRIBUTES = 16, WORKSPACE = 512 };
enum { ENGINE_NONDETERMINISTIC, ENGINE_WRONG, ENGINE_RIGHT, ENGINE_SECOND, ENGINES };

/* cudnnHandle_t points to one of these. */
struct handle {
    atomic_int users; /* threads that make plans with it */
    cudaStream_t stream;
};

struct attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    void *values;
};

/* cudnnBackendDescriptor_t points to one of these. */
struct descriptor {
    cudnnBackendDescriptorType_t type;
    struct attribute attributes[MAX_ATTRIBUTES];
    int count;
    struct descriptor *graph; /* of a configuration */
    int engine;               /* of a configuration or engine */
    bool remembered;          /* outlives its owner */
};

#define EXPORT __attribute__((visibility("default")))

static inline const struct attribute *find(const struct descriptor *d,
                                           cudnnBackendAttributeName_t name)
{
    for (int i = 0; i < d->count; ++i)
        if (d->attributes[i].name == name)
            return &d->attributes[i];
    return NULL;
}

static inline struct descriptor *child(const struct descriptor *d, cudnnBackendAttributeName_t name,
                                       int64_t index)
{
    const struct attribute *a = find(d, name);
    return a && index < a->count ? ((struct descriptor **)a->values)[index] : NULL;
}

static inline int64_t number(const struct descriptor *d, cudnnBackendAttributeName_t name,
                             int index)
{
    return ((const int64_t *)find(d, name)->values)[index];
}

static inline int enumerator(const struct descriptor *d, cudnnBackendAttributeName_t name)
{
    return *(const int *)find(d, name)->values;
}

static inline int64_t op_count(const struct descriptor *graph)
{
    return find(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS)->count;
}

#endif

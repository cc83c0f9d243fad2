/* A stand-in for cuDNN on the emulated device: the part of its graph interface that
 * src/kernels/cuda/cudnn*.c use. fake_cudnn_execute.c computes in fp64, by plain loops over the
 * strides that the tensors declare.
 *
 * Its heuristics propose four engines: one that says it is not deterministic and must not be used,
 * one with wrong results, which must be detected, and two correct ones. For graphs of several
 * operations the engines say that they compile; the last one is only proposed for single
 * operations, and is slow. Plans run in the stream of the device's handle, and can be recorded.
 *
 * The text of a plan names a configuration that this process remembers. */
#include "fake_cudnn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_REMEMBERED = 256 };

/* For tests: how many plans were compiled, and how many came from texts; are texts rejected? */
EXPORT atomic_int fake_cudnn_compiled, fake_cudnn_loaded, fake_cudnn_refuses;
/* How many plans were made, how many at once at most, and how many ms does each take? Does making
 * the first right one for this type of operation end the process? How many handles are open? */
EXPORT atomic_int fake_cudnn_made, fake_cudnn_most_at_once, fake_cudnn_milliseconds;
EXPORT atomic_int fake_cudnn_dies_at, fake_cudnn_handles;

static struct descriptor *remembered[MAX_REMEMBERED]; /* configurations */
static int remembered_count;

static size_t size_of(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
        return 1;
    default: /* enumerations and fp32 */
        return 4;
    }
}

/* ---- the interface ---- */

EXPORT size_t cudnnGetVersion(void)
{
    return 91000;
}

EXPORT const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS ? "no error" : "error of the fake cuDNN";
}

EXPORT cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    *handle = calloc(1, sizeof(struct handle));
    ++fake_cudnn_handles;
    return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    free(handle);
    --fake_cudnn_handles;
    return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    if (!handle || !stream)
        return CUDNN_STATUS_BAD_PARAM;
    ((struct handle *)handle)->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                                  cudnnBackendDescriptor_t *out)
{
    struct descriptor *d = calloc(1, sizeof *d);
    d->type = type;
    *out = d;
    return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor)
{
    struct descriptor *d = descriptor;
    if (d->remembered)
        return CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < d->count; ++i)
        free(d->attributes[i].values);
    free(d);
    return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                              cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t count,
                                              const void *values)
{
    struct descriptor *d = descriptor;
    if (d->count == MAX_ATTRIBUTES || count < 1 || find(d, name))
        return CUDNN_STATUS_BAD_PARAM;
    struct attribute *a = &d->attributes[d->count++];
    a->name = name;
    a->type = type;
    a->count = count;
    a->values = malloc((size_t)count * size_of(type));
    memcpy(a->values, values, (size_t)count * size_of(type));
    return CUDNN_STATUS_SUCCESS;
}

/* With everything it refers to. */
static void remember(struct descriptor *d)
{
    d->remembered = true;
    for (int i = 0; i < d->count; ++i)
        for (int64_t k = 0; k < d->attributes[i].count; ++k)
            if (d->attributes[i].type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
                remember(((struct descriptor **)d->attributes[i].values)[k]);
    if (d->graph)
        remember(d->graph);
}

#define PLAN_TEXT "{\"fake\":%3d,\"engine\":%d}"
enum { PLAN_TEXT_BYTES = 23 };

/* The plan's text, or only its length. */
static void print_plan(const struct descriptor *plan, int64_t room, int64_t *count, char *text)
{
    char whole[64];
    struct descriptor *config = child(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0);
    *count = PLAN_TEXT_BYTES;
    if (room < PLAN_TEXT_BYTES || remembered_count == MAX_REMEMBERED)
        return;
    remember(config);
    snprintf(whole, sizeof whole, PLAN_TEXT, remembered_count, config->engine);
    memcpy(text, whole, PLAN_TEXT_BYTES);
    remembered[remembered_count++] = config;
}

/* Give a plan made from a text the configuration that the text names. */
static cudnnStatus_t load_plan(struct descriptor *plan, const struct attribute *text)
{
    char whole[64] = "", again[64] = "";
    int index = -1, engine = -1;
    if (text->count == PLAN_TEXT_BYTES)
        memcpy(whole, text->values, PLAN_TEXT_BYTES);
    if (sscanf(whole, PLAN_TEXT, &index, &engine) == 2)
        snprintf(again, sizeof again, PLAN_TEXT, index, engine);
    if (fake_cudnn_refuses || index < 0 || index >= remembered_count || strcmp(whole, again) != 0 ||
        remembered[index]->engine != engine)
        return CUDNN_STATUS_BAD_PARAM;
    ++fake_cudnn_loaded;
    return cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &remembered[index]);
}

/* Threads may do this at the same time, but not with the same handle. */
static void make_plan(struct descriptor *plan)
{
    static atomic_int making;
    struct handle *handle = (struct handle *)child(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, 0);
    const struct descriptor *config = child(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0);
    const int at_once = ++making;
    int most = fake_cudnn_most_at_once;
    if (++handle->users != 1 ||
        (config->engine == ENGINE_RIGHT &&
         (int)child(config->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, 0)->type == fake_cudnn_dies_at))
        abort();
    while (at_once > most &&
           !atomic_compare_exchange_weak(&fake_cudnn_most_at_once, &most, at_once))
        ;
    nanosleep(&(struct timespec){.tv_nsec = 1000000L * fake_cudnn_milliseconds}, NULL);
    fake_cudnn_compiled += op_count(config->graph) > 1;
    ++fake_cudnn_made;
    --handle->users;
    --making;
}

/* Like cuDNN, it must know the device before it reads a text. */
static cudnnStatus_t finalize_plan(struct descriptor *plan)
{
    const struct attribute *text = find(plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
    if (!find(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE))
        return CUDNN_STATUS_BAD_PARAM;
    if (text)
        return load_plan(plan, text);
    make_plan(plan);
    return CUDNN_STATUS_SUCCESS;
}

EXPORT cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor)
{
    struct descriptor *d = descriptor;
    if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
        return finalize_plan(d);
    if (d->type != CUDNN_BACKEND_TENSOR_DESCRIPTOR)
        return CUDNN_STATUS_SUCCESS;
    bool dense = number(d, CUDNN_ATTR_TENSOR_STRIDES, 1) == 1;
    return dense && number(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 0) == 16 ? CUDNN_STATUS_SUCCESS
                                                                         : CUDNN_STATUS_BAD_PARAM;
}

EXPORT cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                              cudnnBackendAttributeName_t name,
                                              cudnnBackendAttributeType_t type, int64_t room,
                                              int64_t *count, void *values)
{
    struct descriptor *d = descriptor;
    (void)type;
    *count = 1;
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
        *count = 0;
        if (enumerator(d, CUDNN_ATTR_ENGINEHEUR_MODE) != CUDNN_HEUR_MODE_A)
            return CUDNN_STATUS_SUCCESS;
        for (; *count < ENGINES && *count < room; ++*count) {
            struct descriptor *config = ((struct descriptor **)values)[*count];
            config->graph = child(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, 0);
            if (*count == ENGINE_SECOND && op_count(config->graph) > 1)
                break;
            config->engine = (int)*count;
        }
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINECFG_ENGINE: {
        struct descriptor *engine = *(struct descriptor **)values;
        engine->engine = d->engine;
        engine->graph = d->graph;
        return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES:
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE:
        *(int *)values = CUDNN_KNOB_TYPE_TILE_SIZE;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE:
        *(int64_t *)values = 7;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        *(int64_t *)values = d->engine;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        *count = d->engine == ENGINE_NONDETERMINISTIC;
        *(int *)values = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
        *count = op_count(d->graph) > 1;
        *(int *)values = CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *(int64_t *)values = WORKSPACE;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION:
        print_plan(d, room, count, values);
        return CUDNN_STATUS_SUCCESS;
    default:
        return CUDNN_STATUS_BAD_PARAM;
    }
}

/* Plans of cuDNN's engines. If cuDNN rejects something, that is not a failure here: there is just
 * one plan fewer to choose from. */
#include "kernels/cuda/cudnn_library.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KNOBS = 64 };

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
    struct ddpm_cudnn_plan_node *node = calloc(1, sizeof *node);
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

int ddpm_cudnn_names(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_convolution *wanted,
                     int most, int compiled, char (*names)[DDPM_CUDNN_NAME_BYTES])
{
    const struct ddpm_cudnn_problem *problem = ddpm_cudnn_ask(cudnn, wanted);
    int count = 0;
    for (int i = 0; problem && i < problem->config_count && count < most; ++i) {
        struct config_info info;
        bool again = false; /* the two kinds of heuristics may propose the same one */
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
    struct ddpm_cudnn_problem *problem = ddpm_cudnn_ask(cudnn, wanted);
    int count = 0;
    if (!problem)
        return 0;
    for (int i = 0; i < problem->config_count && count < most; ++i) {
        struct config_info info;
        bool again = false; /* the two kinds of heuristics may propose the same one */
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

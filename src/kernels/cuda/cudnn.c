/* cuDNN's library and running its plans, see cudnn.h.
 *
 *     tensors → operations → operation graph → heuristics → engine configurations → plans
 *
 * Everything is a "backend descriptor" with attributes: the same five functions create, fill and
 * finalize it. */
#define _GNU_SOURCE
#include "kernels/cuda/cudnn_library.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

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
    DDPM_CUDNN_FUNCTIONS(LOAD)
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
        struct ddpm_cudnn_plan_node *node = closing->plans;
        closing->plans = node->next;
        closing->cudnnBackendDestroyDescriptor_(node->plan.descriptor);
        free(node);
    }
    while (closing->problems) {
        struct ddpm_cudnn_problem *problem = closing->problems;
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

/* ---- running ---- */

ddpm_status ddpm_cudnn_run(struct ddpm_cudnn *cudnn, const struct ddpm_cudnn_plan *plan,
                           const struct ddpm_cudnn_pointers *pointers)
{
    int64_t uids[5] = {DDPM_CUDNN_UID_X, DDPM_CUDNN_UID_W, DDPM_CUDNN_UID_Y, DDPM_CUDNN_UID_BIAS,
                       DDPM_CUDNN_UID_RESIDUAL};
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

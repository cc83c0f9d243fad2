/* Loading the CUDA backend's shared library. */
#include "kernels/plugin.h"

#include "core/plugin.h"

static const struct ddpm_host host = {.raise = ddpm_raise, .log = ddpm_log};

static const struct ddpm_plugin cuda = {
    .file = "libddpm_cuda.so",
    .variable = "DDPM_CUDA_PLUGIN",
    .name = "CUDA plug-in",
    .lack = "no CUDA backend",
    .remedy = "install ddpm-cuda or build it",
};

ddpm_status ddpm_plugin_load_cuda(const struct ddpm_backend **out)
{
    void *library = NULL;
    ddpm_plugin_backend *entry;
    *out = NULL;
    /* Never closed: devices and their threads may outlive any single user. */
    DDPM_TRY(ddpm_plugin_open(&cuda, &library));
    DDPM_TRY(ddpm_plugin_find(&cuda, library, "ddpm_cuda_backend", &entry));
    *out = entry(DDPM_PLUGIN_ABI, &host);
    if (!*out)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s was built for another version of this program, want interface %u; "
                          "build both from the same source",
                          cuda.file, DDPM_PLUGIN_ABI);
    return DDPM_OK;
}

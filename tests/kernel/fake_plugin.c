/* A plug-in backend to test loading: it never has a device, and with DDPM_FAKE_PLUGIN=old it claims
 * to be built for another interface. */
#include <stdlib.h>

#include "kernels/backend.h"

static const struct ddpm_host *host;

static ddpm_status open_fake(const struct ddpm_device_options *options, struct ddpm_device **out)
{
    (void)out;
    return host->raise(DDPM_ERROR_UNSUPPORTED, "no device number %d", options->index);
}

static const struct ddpm_backend backend = {.name = "fake", .open = open_fake};

__attribute__((visibility("default"))) ddpm_plugin_backend ddpm_cuda_backend;

const struct ddpm_backend *ddpm_cuda_backend(unsigned abi, const struct ddpm_host *given)
{
    const char *mode = getenv("DDPM_FAKE_PLUGIN");
    host = given;
    return abi == DDPM_PLUGIN_ABI && !(mode && !strcmp(mode, "old")) ? &backend : NULL;
}

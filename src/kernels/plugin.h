/* Backends in their own shared libraries, loaded at run time. */
#ifndef DDPM_KERNELS_PLUGIN_H
#define DDPM_KERNELS_PLUGIN_H

#include "kernels/backend.h"

/* The CUDA backend, loaded on the first call and kept for the life of the process. The places to
 * look are $DDPM_CUDA_PLUGIN (only there, if it is set), next to the library or program that this
 * code is part of, ddpm/ in the installed library folder, and where the system's loader looks.
 * DDPM_ERROR_UNSUPPORTED if there is none or it has another version. */
ddpm_status ddpm_plugin_load_cuda(const struct ddpm_backend **out);

#endif

/* Backends that live in shared libraries of their own, loaded at run time. */
#ifndef DDPM_KERNELS_PLUGIN_H
#define DDPM_KERNELS_PLUGIN_H

#include "kernels/backend.h"

/* The CUDA backend, loaded on the first call and kept for the life of the process. Searched at
 * $DDPM_CUDA_PLUGIN (only there when that is set), then next to the library or program this code is
 * part of, then in the installed library folder's ddpm/, then where the system's loader looks.
 * DDPM_ERROR_UNSUPPORTED when there is none, or it is of another version. */
ddpm_status ddpm_plugin_load_cuda(const struct ddpm_backend **out);

#endif

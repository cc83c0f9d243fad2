/* Where the plug-in keeps the functions of the host that loaded it. */
#ifndef DDPM_KERNELS_CUDA_HOST_H
#define DDPM_KERNELS_CUDA_HOST_H

#include "kernels/backend.h"

/* Call it before anything else in the plug-in. Borrowed. */
void ddpm_cuda_set_host(const struct ddpm_host *functions);

#endif

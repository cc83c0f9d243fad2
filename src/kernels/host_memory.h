/* Memory functions of the backends that compute on the host: members of struct ddpm_backend, see
 * there. Kernels run synchronously, so everything is ordered already. */
#ifndef DDPM_KERNELS_HOST_MEMORY_H
#define DDPM_KERNELS_HOST_MEMORY_H

#include "kernels/backend.h"

ddpm_status ddpm_host_allocate(struct ddpm_device *device, size_t bytes, const char *what,
                               void **out);
void ddpm_host_release(struct ddpm_device *device, void *memory);
size_t ddpm_host_available(struct ddpm_device *device);
/* upload, download and copy. The ranges must not overlap. */
ddpm_status ddpm_host_copy(struct ddpm_device *device, void *to, const void *from, size_t bytes);
ddpm_status ddpm_host_zero(struct ddpm_device *device, void *to, size_t bytes);
ddpm_status ddpm_host_synchronize(struct ddpm_device *device);

/* These members, for a backend's initialiser. */
#define DDPM_HOST_MEMORY_ROWS                                                                      \
    .host_memory = true, .allocate = ddpm_host_allocate, .release = ddpm_host_release,             \
    .available = ddpm_host_available, .upload = ddpm_host_copy, .download = ddpm_host_copy,        \
    .copy = ddpm_host_copy, .zero = ddpm_host_zero, .synchronize = ddpm_host_synchronize

#endif

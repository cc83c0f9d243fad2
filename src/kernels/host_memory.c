/* Memory of the backends that compute on the host. */
#include "kernels/host_memory.h"

#include <stdio.h>
#include <string.h>

#include "core/memory.h"

ddpm_status ddpm_host_allocate(struct ddpm_device *device, size_t bytes, const char *what,
                               void **out)
{
    (void)device;
    return ddpm_new_aligned(out, bytes, what);
}

void ddpm_host_release(struct ddpm_device *device, void *memory)
{
    (void)device;
    ddpm_free_aligned(memory);
}

size_t ddpm_host_available(struct ddpm_device *device)
{
    (void)device;
    FILE *file = fopen("/proc/meminfo", "r");
    if (!file)
        return 0;
    char line[128];
    unsigned long long kilobytes = 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %llu", &kilobytes) == 1)
            break;
    fclose(file);
    return (size_t)kilobytes * 1024;
}

ddpm_status ddpm_host_copy(struct ddpm_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (bytes)
        memcpy(to, from, bytes);
    return DDPM_OK;
}

ddpm_status ddpm_host_zero(struct ddpm_device *device, void *to, size_t bytes)
{
    (void)device;
    if (bytes)
        memset(to, 0, bytes);
    return DDPM_OK;
}

ddpm_status ddpm_host_synchronize(struct ddpm_device *device)
{
    (void)device;
    return DDPM_OK;
}

/* Memory of the backends that compute on the host. */
#include "kernels/host_memory.h"

#include <string.h>

#include "core/limits.h"
#include "core/memory.h"
#include "core/threads.h"

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
    return ddpm_memory_available("", ddpm_aligned_bytes());
}

#define CHUNK ((size_t)1 << 20)

struct transfer {
    char *to;
    const char *from; /* NULL: zeros */
    size_t bytes;
};

static void transfer_chunks(void *context, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const struct transfer *transfer = context;
    size_t first = (size_t)begin * CHUNK, last = (size_t)end * CHUNK;
    last = last < transfer->bytes ? last : transfer->bytes;
    if (transfer->from)
        memcpy(transfer->to + first, transfer->from + first, last - first);
    else
        memset(transfer->to + first, 0, last - first);
}

static void transfer_all(struct ddpm_device *device, struct transfer transfer)
{
    ddpm_parallel_for(device->threads, (int64_t)((transfer.bytes + CHUNK - 1) / CHUNK), 1,
                      transfer_chunks, &transfer);
}

ddpm_status ddpm_host_copy(struct ddpm_device *device, void *to, const void *from, size_t bytes)
{
    transfer_all(device, (struct transfer){to, from, bytes});
    return DDPM_OK;
}

ddpm_status ddpm_host_zero(struct ddpm_device *device, void *to, size_t bytes)
{
    transfer_all(device, (struct transfer){to, NULL, bytes});
    return DDPM_OK;
}

ddpm_status ddpm_host_synchronize(struct ddpm_device *device)
{
    (void)device;
    return DDPM_OK;
}

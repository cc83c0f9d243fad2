/* Memory of the backends that compute on the host. */
#include "kernels/host_memory.h"

#include <stdio.h>
#include <string.h>

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

/* The number after `key` in a file of lines, or 0 with *found false. */
static size_t read_number(const char *path, const char *key, bool *found)
{
    char line[256];
    unsigned long long number = 0;
    const size_t length = strlen(key);
    FILE *file = fopen(path, "r");
    *found = false;
    while (file && !*found && fgets(line, sizeof line, file))
        *found = strncmp(line, key, length) == 0 && sscanf(line + length, "%llu", &number) == 1;
    if (file)
        fclose(file);
    return (size_t)number;
}

/* What the control group (version 2) of this process leaves it, or SIZE_MAX. */
static size_t left_in_group(void)
{
    char line[512], path[640];
    size_t names = 0;
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && !names && fgets(line, sizeof line, file))
        if (strncmp(line, "0::/", 4) == 0)
            names = strcspn(line, "\n");
    if (file)
        fclose(file);
    if (!names)
        return SIZE_MAX;
    const char *name = line + 3;
    const int length = (int)names - 3;
    bool limited, known;
    snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/memory.max", length, name);
    const size_t limit = read_number(path, "", &limited); /* "max": none */
    snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/memory.current", length, name);
    size_t used = read_number(path, "", &known);
    snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/memory.stat", length, name);
    const size_t cache = read_number(path, "inactive_file ", &known);
    if (!limited)
        return SIZE_MAX;
    used -= cache < used ? cache : used;
    return used < limit ? limit - used : 0;
}

/* Pages that this process has been promised and not written yet are free for the system, not for
 * the next plan. */
size_t ddpm_host_available(struct ddpm_device *device)
{
    (void)device;
    bool known;
    size_t free_bytes = 1024 * read_number("/proc/meminfo", "MemAvailable:", &known);
    if (!known)
        return 0;
    const size_t in_group = left_in_group();
    free_bytes = free_bytes < in_group ? free_bytes : in_group;
    const size_t resident = 1024 * read_number("/proc/self/status", "RssAnon:", &known);
    const size_t promised = ddpm_aligned_bytes();
    const size_t waiting = known && promised > resident ? promised - resident : 0;
    return free_bytes > waiting ? free_bytes - waiting : 1; /* 0 would say: not known */
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

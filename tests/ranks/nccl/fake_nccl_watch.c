/* Faults set by the environment, and a log of the calls; see fake_nccl.c. */
#include "fake_nccl_watch.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fake_nccl_fault(int rank, const char *name)
{
    const char *text = getenv("FAKE_NCCL_FAULT"), *struck = getenv("FAKE_NCCL_RANK");
    const size_t length = strlen(name);
    if (!text || strncmp(text, name, length) != 0 || rank != (struck ? atoi(struck) : 0))
        return -1;
    return text[length] == ':' ? atoi(text + length + 1) : 0;
}

void fake_nccl_find(const char *name, void *function)
{
    void *emulator = dlopen(getenv("DDPM_CUDA_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
    void *address = emulator ? dlsym(emulator, name) : NULL;
    if (!address) {
        fprintf(stderr, "fake_nccl: no %s in DDPM_CUDA_PLUGIN\n", name);
        abort();
    }
    memcpy(function, &address, sizeof address);
}

void fake_nccl_note(int rank, const char *name, size_t count, void *stream)
{
    const char *log = getenv("FAKE_NCCL_LOG");
    char path[4096];
    int (*number)(void *stream), (*waited_for)(void *stream);
    int *kernels;
    if (!log)
        return;
    fake_nccl_find("emulator_stream_number", &number);
    fake_nccl_find("emulator_stream_waited_for", &waited_for);
    fake_nccl_find("emulator_kernels", &kernels);
    snprintf(path, sizeof path, "%s.%d", log, rank);
    FILE *file = fopen(path, "a");
    if (!file)
        return;
    fprintf(file, "%s %zu stream %d kernels %d after %d\n", name, count,
            stream ? number(stream) : -1, *kernels, stream ? waited_for(stream) : 0);
    fclose(file);
}

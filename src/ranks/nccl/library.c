/* Loads NCCL. The library is never closed, because it keeps threads running. */
#include "ranks/nccl/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NCCL 2.27.3 has the number 22703. (Before 2.9, 2.8.3 was 2803.) */
static void describe(int version, char *text, size_t bytes)
{
    snprintf(text, bytes, "NCCL %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
}

static ddpm_status open_library(void **library, ddpm_transport_raise *raise)
{
    const char *named = getenv("DDPM_NCCL");
    const bool chosen = named && *named;
    *library = dlopen(chosen ? named : "libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (*library)
        return DDPM_OK;
    return raise(DDPM_ERROR_UNSUPPORTED,
                 "option ranks: got nccl, but NCCL's library%s cannot be loaded: %s; install NCCL "
                 "or name the library: DDPM_NCCL=/path/to/libnccl.so.2",
                 chosen ? " that DDPM_NCCL names" : "", dlerror());
}

/* Look up a function. If it is missing, *missing is set to its name. */
static void find(void *library, const char *name, void *function, const char **missing)
{
    void *address = dlsym(library, name);
    if (!address && !*missing)
        *missing = name;
    memcpy(function, &address, sizeof address); /* ISO C cannot cast it to a function */
}

ddpm_status ddpm_nccl_load_library(struct ddpm_nccl_library *out, ddpm_transport_raise *raise)
{
    void *library;
    const char *missing = NULL, *ignored = "";
    int version = 0;
    const ddpm_status status = open_library(&library, raise);
    if (status != DDPM_OK)
        return status;
#define FIND(name, parameters) find(library, #name, &out->name, &missing);
    DDPM_NCCL_FUNCTIONS(FIND)
#undef FIND
    find(library, "ncclGetErrorString", &out->ncclGetErrorString, &missing);
    find(library, "ncclGetLastError", &out->ncclGetLastError, &ignored);
    if (out->ncclGetVersion && out->ncclGetVersion(&version) == ncclSuccess)
        describe(version, out->description, sizeof out->description);
    if (missing || version < DDPM_NCCL_LEAST_VERSION)
        return raise(DDPM_ERROR_UNSUPPORTED, "got %s%s%s, want NCCL 2.14 or later",
                     version ? out->description : "a library that is not NCCL",
                     missing ? " without " : "", missing ? missing : "");
    return DDPM_OK;
}

/* Loading of the CUDA backend's shared library. */
#define _GNU_SOURCE /* dladdr */
#include "kernels/plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PLUGIN_FILE "libddpm_cuda.so"

enum { PATH_BYTES = 4096 };

static const struct ddpm_host host = {.raise = ddpm_raise, .log = ddpm_log};

/* dlopen, unless the file is not there at all: then the next place is looked at. A file that is
 * there but does not load is an error worth its text. */
static ddpm_status open_file(const char *path, void **library)
{
    *library = NULL;
    if (access(path, R_OK) != 0)
        return DDPM_OK;
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*library)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "CUDA plug-in cannot be loaded: %s", dlerror());
    return DDPM_OK;
}

/* Next to the object that holds this function, in ddpm/ beside it (the installed library), and in
 * the library folder's ddpm/ beside its folder (the installed program). */
static ddpm_status open_beside(void **library)
{
    *library = NULL;
    Dl_info self;
    if (!dladdr((void *)(uintptr_t)ddpm_plugin_load_cuda, &self) || !self.dli_fname)
        return DDPM_OK;
    const char *slash = strrchr(self.dli_fname, '/');
    int length = slash ? (int)(slash - self.dli_fname) : 1;
    const char *folder = slash ? self.dli_fname : ".";
    static const char *const places[] = {"/" PLUGIN_FILE, "/ddpm/" PLUGIN_FILE,
                                         "/../" DDPM_LIBRARY_FOLDER "/ddpm/" PLUGIN_FILE};
    for (size_t i = 0; i < sizeof places / sizeof *places && !*library; ++i) {
        char path[PATH_BYTES];
        int written = snprintf(path, sizeof path, "%.*s%s", length, folder, places[i]);
        if (written > 0 && written < (int)sizeof path)
            DDPM_TRY(open_file(path, library));
    }
    return DDPM_OK;
}

static ddpm_status find_library(void **library)
{
    const char *chosen = getenv("DDPM_CUDA_PLUGIN");
    if (chosen && *chosen) {
        *library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
        if (!*library)
            return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                              "CUDA plug-in named by DDPM_CUDA_PLUGIN cannot be loaded: %s",
                              dlerror());
        return DDPM_OK;
    }
    DDPM_TRY(open_beside(library));
    if (!*library)
        *library = dlopen(PLUGIN_FILE, RTLD_NOW | RTLD_LOCAL);
    if (!*library)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "no CUDA backend: %s is neither next to this program nor where the "
                          "system looks; build it, or name it in DDPM_CUDA_PLUGIN",
                          PLUGIN_FILE);
    return DDPM_OK;
}

ddpm_status ddpm_plugin_load_cuda(const struct ddpm_backend **out)
{
    void *library = NULL;
    *out = NULL;
    DDPM_TRY(find_library(&library));
    /* The library is never closed: devices and their threads may outlive any one user of it, and
     * loading it again only counts up. */
    void *symbol = dlsym(library, "ddpm_cuda_backend");
    if (!symbol)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s has no ddpm_cuda_backend: it is not a plug-in of this program",
                          PLUGIN_FILE);
    ddpm_plugin_backend *entry;
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from object to function pointer */
    *out = entry(DDPM_PLUGIN_ABI, &host);
    if (!*out)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s was built for another version of this program, want interface %u; "
                          "build both from the same source",
                          PLUGIN_FILE, DDPM_PLUGIN_ABI);
    return DDPM_OK;
}

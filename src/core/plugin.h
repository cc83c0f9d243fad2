/* Plug-ins: shared libraries of this project's own, loaded at run time, so that one build of the
 * program runs with and without what they need. */
#ifndef DDPM_CORE_PLUGIN_H
#define DDPM_CORE_PLUGIN_H

#include <stdbool.h>

#include "core/error.h"

struct ddpm_plugin {
    const char *file;     /* "libddpm_cuda.so" */
    const char *variable; /* of the environment, which may name the file: "DDPM_CUDA_PLUGIN" */
    const char *name;     /* in messages: "CUDA plug-in" */
    const char *lack;     /* what there is not without it: "no CUDA backend" */
    const char *remedy;   /* "build it" */
    bool global;          /* libraries that it loads find its symbols */
};

/* Load it. Looked for at $variable (only there when that is set), then next to the library or
 * program this code is part of, then in the installed library folder's ddpm/, then where the
 * system's loader looks. It is never closed; loading it again only counts up. *library is what
 * dlsym() takes. DDPM_ERROR_UNSUPPORTED when there is none, or it does not load. */
ddpm_status ddpm_plugin_open(const struct ddpm_plugin *plugin, void **library);

/* Store the address of function `symbol` in *function, a pointer to a function.
 * DDPM_ERROR_UNSUPPORTED when the library has none. */
ddpm_status ddpm_plugin_find(const struct ddpm_plugin *plugin, void *library, const char *symbol,
                             void *function);

#endif

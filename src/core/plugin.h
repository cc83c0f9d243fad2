/* Plug-ins: shared libraries of this project, loaded at run time, so that one build of the program
 * runs with or without the libraries that they need. */
#ifndef DDPM_CORE_PLUGIN_H
#define DDPM_CORE_PLUGIN_H

#include <stdbool.h>

#include "core/error.h"

struct ddpm_plugin {
    const char *file;     /* "libddpm_cuda.so" */
    const char *variable; /* environment variable that may name the file: "DDPM_CUDA_PLUGIN" */
    const char *name;     /* in messages: "CUDA plug-in" */
    const char *lack;     /* what is missing without it: "no CUDA backend" */
    const char *remedy;   /* "build it" */
    bool global;          /* libraries that it loads see its symbols */
};

/* Load a plug-in. The places to look are $variable (only there, if it is set), next to the library
 * or program that this code is part of, ddpm/ in the installed library folder, and where the
 * system's loader looks. It is never closed; loading it again only adds a reference. *library is a
 * handle for dlsym(). DDPM_ERROR_UNSUPPORTED if there is none or it does not load. */
ddpm_status ddpm_plugin_open(const struct ddpm_plugin *plugin, void **library);

/* Store the address of function `symbol` in *function, a pointer to a function.
 * DDPM_ERROR_UNSUPPORTED if the library lacks it. */
ddpm_status ddpm_plugin_find(const struct ddpm_plugin *plugin, void *library, const char *symbol,
                             void *function);

#endif

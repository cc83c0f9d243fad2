/* Finding and loading plug-ins. */
#define _GNU_SOURCE /* dladdr */
#include "core/plugin.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static int flags_of(const struct ddpm_plugin *plugin)
{
    return RTLD_NOW | (plugin->global ? RTLD_GLOBAL : RTLD_LOCAL);
}

/* dlopen a file if it exists; if not, the caller tries the next place. A file that exists but does
 * not load is an error to report. */
static ddpm_status open_file(const struct ddpm_plugin *plugin, const char *path, void **library)
{
    *library = NULL;
    if (access(path, R_OK) != 0)
        return DDPM_OK;
    *library = dlopen(path, flags_of(plugin));
    if (!*library)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s cannot be loaded: %s", plugin->name,
                          dlerror());
    return DDPM_OK;
}

/* Look in the folder of the library or program that contains this function, in its subfolder ddpm/
 * (the installed library), and in the library folder's ddpm/ next to that folder (the installed
 * program). */
static ddpm_status open_beside(const struct ddpm_plugin *plugin, void **library)
{
    *library = NULL;
    Dl_info self;
    if (!dladdr((void *)(uintptr_t)ddpm_plugin_open, &self) || !self.dli_fname)
        return DDPM_OK;
    const char *slash = strrchr(self.dli_fname, '/');
    int length = slash ? (int)(slash - self.dli_fname) : 1;
    const char *folder = slash ? self.dli_fname : ".";
    static const char *const places[] = {"/", "/ddpm/", "/../" DDPM_LIBRARY_FOLDER "/ddpm/"};
    for (size_t i = 0; i < sizeof places / sizeof *places && !*library; ++i) {
        char path[PATH_BYTES];
        int written =
            snprintf(path, sizeof path, "%.*s%s%s", length, folder, places[i], plugin->file);
        if (written > 0 && written < (int)sizeof path)
            DDPM_TRY(open_file(plugin, path, library));
    }
    return DDPM_OK;
}

ddpm_status ddpm_plugin_open(const struct ddpm_plugin *plugin, void **library)
{
    const char *chosen = getenv(plugin->variable);
    if (chosen && *chosen) {
        *library = dlopen(chosen, flags_of(plugin));
        if (!*library)
            return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s named by %s cannot be loaded: %s",
                              plugin->name, plugin->variable, dlerror());
        return DDPM_OK;
    }
    DDPM_TRY(open_beside(plugin, library));
    if (!*library)
        *library = dlopen(plugin->file, flags_of(plugin));
    if (!*library)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s: %s is neither next to this program nor where the system looks; %s, "
                          "or name it in %s",
                          plugin->lack, plugin->file, plugin->remedy, plugin->variable);
    return DDPM_OK;
}

ddpm_status ddpm_plugin_find(const struct ddpm_plugin *plugin, void *library, const char *symbol,
                             void *function)
{
    void *address = dlsym(library, symbol);
    if (!address)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED,
                          "%s has no %s: it is not a plug-in for this program", plugin->file,
                          symbol);
    memcpy(function, &address,
           sizeof address); /* ISO C cannot cast an object pointer to a function pointer */
    return DDPM_OK;
}

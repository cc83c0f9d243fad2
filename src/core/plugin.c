/* Finding and loading plug-ins. */
#define _GNU_SOURCE /* dladdr1 */
#include "core/plugin.h"

#include <dlfcn.h>
#include <link.h>
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

/* The file that contains this function: the shared library or the program. The loader knows a
 * program only by the name that it was called by, which has no folder if the shell found it on
 * PATH; so we ask the kernel. Empty if not known. */
static void find_own_file(char path[PATH_BYTES])
{
    Dl_info self;
    struct link_map *map = NULL;
    path[0] = 0;
    if (!dladdr1((void *)(uintptr_t)ddpm_plugin_open, &self, (void **)&map, RTLD_DL_LINKMAP) ||
        !map)
        return;
    if (map->l_name && *map->l_name) {
        if (snprintf(path, PATH_BYTES, "%s", map->l_name) >= PATH_BYTES)
            path[0] = 0;
        return;
    }
    ssize_t length = readlink("/proc/self/exe", path, PATH_BYTES - 1);
    path[length > 0 ? length : 0] = 0;
}

/* Look in the folder of that file, in its subfolder ddpm/ (the installed library), and in the
 * library folder's ddpm/ next to that folder (the installed program). Never in the current folder,
 * where anyone may have put a file. */
static ddpm_status open_beside(const struct ddpm_plugin *plugin, void **library)
{
    char own[PATH_BYTES];
    *library = NULL;
    find_own_file(own);
    const char *slash = strrchr(own, '/');
    if (!slash)
        return DDPM_OK;
    int length = (int)(slash - own);
    static const char *const places[] = {"/", "/ddpm/", "/../" DDPM_LIBRARY_FOLDER "/ddpm/"};
    for (size_t i = 0; i < sizeof places / sizeof *places && !*library; ++i) {
        char path[PATH_BYTES];
        int written = snprintf(path, sizeof path, "%.*s%s%s", length, own, places[i], plugin->file);
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

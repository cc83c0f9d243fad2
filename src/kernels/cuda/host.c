/* The plug-in's versions of functions of src/core: failures and log messages go to the host that
 * loaded it. */
#include "kernels/cuda/host.h"
#include "core/error.h"
#include "kernels/backend.h"

#include <stdarg.h>
#include <stdio.h>

static const struct ddpm_host *host;

void ddpm_cuda_set_host(const struct ddpm_host *functions)
{
    host = functions;
}

ddpm_status ddpm_raise(ddpm_status status, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return host->raise(status, "%s", text);
}

ddpm_status ddpm_raise_memory(size_t bytes, const char *what)
{
    return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for %zu bytes of %s", bytes, what);
}

void ddpm_log(ddpm_log_level level, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    host->log(level, "%s", text);
}

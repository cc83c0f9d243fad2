/* The error text of each thread, and the log callback. */
#include "core/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/escape.h"
#include "core/text.h"

#define MESSAGE_BYTES 2048

static _Thread_local char message[MESSAGE_BYTES];

static ddpm_log_callback *log_callback;
static void *log_user;

const char *ddpm_error_message(void)
{
    return message;
}

const char *ddpm_status_name(ddpm_status status)
{
    switch (status) {
    case DDPM_OK:
        return "ok";
    case DDPM_ERROR_ARGUMENT:
        return "bad argument";
    case DDPM_ERROR_IO:
        return "input/output error";
    case DDPM_ERROR_FORMAT:
        return "bad format";
    case DDPM_ERROR_MISMATCH:
        return "mismatch";
    case DDPM_ERROR_MEMORY:
        return "out of memory";
    case DDPM_ERROR_NOT_FINITE:
        return "not finite";
    case DDPM_ERROR_UNSUPPORTED:
        return "not supported";
    case DDPM_ERROR_DEVICE:
        return "device error";
    case DDPM_STOPPED:
        return "stopped";
    }
    return "unknown status";
}

const char *ddpm_version(void)
{
    return DDPM_VERSION;
}

ddpm_status ddpm_raise(ddpm_status status, const char *format, ...)
{
    /* The new text may quote the old one, so write it to another buffer first. Names in it may hold
     * any bytes; escape them to keep one line of plain text. */
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    ddpm_vprint(text, sizeof text, format, arguments);
    va_end(arguments);
    ddpm_escape(message, sizeof message, text);
    return status;
}

ddpm_status ddpm_raise_context(ddpm_status status, const char *format, ...)
{
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int used = ddpm_vprint(text, sizeof text, format, arguments);
    va_end(arguments);
    if (used >= 0 && used < MESSAGE_BYTES)
        snprintf(text + used, (size_t)(MESSAGE_BYTES - used), "%s", message);
    ddpm_escape(message, sizeof message, text);
    return status;
}

ddpm_status ddpm_raise_errno(const char *format, ...)
{
    int error = errno;
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    ddpm_vprint(text, sizeof text, format, arguments);
    va_end(arguments);
    return ddpm_raise(DDPM_ERROR_IO, "%s: %s", text, ddpm_system_words(error));
}

ddpm_status ddpm_raise_memory(size_t bytes, const char *what)
{
    return ddpm_raise(DDPM_ERROR_MEMORY, "no memory for %zu bytes of %s", bytes, what);
}

void ddpm_set_log_callback(ddpm_log_callback *callback, void *user)
{
    log_callback = callback;
    log_user = user;
}

void ddpm_log(ddpm_log_level level, const char *format, ...)
{
    if (!log_callback)
        return;
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    ddpm_vprint(text, sizeof text, format, arguments);
    va_end(arguments);
    char line[MESSAGE_BYTES];
    log_callback(log_user, level, ddpm_escape(line, sizeof line, text));
}

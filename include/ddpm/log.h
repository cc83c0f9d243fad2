/** @file
 * The library's few log messages: skipped pictures, the precision it chose, optional features that
 * are missing. The library is silent until a callback is set. */
#ifndef DDPM_LOG_H
#define DDPM_LOG_H

#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How important a message is. */
typedef enum ddpm_log_level {
    DDPM_LOG_DEBUG,  /**< for people who work on the library */
    DDPM_LOG_INFO,   /**< a choice the library made */
    DDPM_LOG_WARNING /**< something is wrong, but the work continues */
} ddpm_log_level;

/** Called with one line of text, without a newline. Any thread may call it, the library's own
 * included, and several may at once. The text is UTF-8 without control characters (those in a
 * file's name are escaped, as in "a\nb.png") and is valid only during the call. `user` is the
 * pointer given to ddpm_set_log_callback(). */
typedef void ddpm_log_callback(void *user, ddpm_log_level level, const char *text);

/** Set the callback of this process; NULL silences the library. What `user` points to must live as
 * long as the callback is set. Do not call this while other threads are inside the library. */
DDPM_API void ddpm_set_log_callback(ddpm_log_callback *callback, void *user);

#ifdef __cplusplus
}
#endif
#endif

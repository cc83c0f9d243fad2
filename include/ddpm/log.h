/** @file
 * Where the library's few remarks go: skipped pictures, the precision that was chosen, what is done
 * without. The library is silent until a callback is set. */
#ifndef DDPM_LOG_H
#define DDPM_LOG_H

#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How much a remark matters. */
typedef enum ddpm_log_level {
    DDPM_LOG_DEBUG,  /**< for people who work on the library */
    DDPM_LOG_INFO,   /**< a choice that was made */
    DDPM_LOG_WARNING /**< something is not as it should be; the work goes on */
} ddpm_log_level;

/** Called with one line of text, without a newline, from whatever thread has something to say:
 * threads of the library too, and several at once. The text is UTF-8 without control characters
 * (those of a file's name are written out, as in "a\nb.png"). It is borrowed for the duration of
 * the call. `user` is what was given to ddpm_set_log_callback(). */
typedef void ddpm_log_callback(void *user, ddpm_log_level level, const char *text);

/** Set the callback of this process; NULL silences. Whatever `user` points to must outlive its use
 * by the callback. Not to be called while other threads are inside the library. */
DDPM_API void ddpm_set_log_callback(ddpm_log_callback *callback, void *user);

#ifdef __cplusplus
}
#endif
#endif

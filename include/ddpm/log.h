/* Where the library's few remarks go: skipped pictures, chosen precision, fallbacks. Silent until a
 * callback is set. */
#ifndef DDPM_LOG_H
#define DDPM_LOG_H

#include <ddpm/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ddpm_log_level { DDPM_LOG_DEBUG, DDPM_LOG_INFO, DDPM_LOG_WARNING } ddpm_log_level;

/* Called with one line of text, without a newline, from whatever thread has something to say. It is
 * UTF-8 without control characters: those of a file's name are written out, as in "a\nb.png". */
typedef void ddpm_log_callback(void *user, ddpm_log_level level, const char *text);

/* Set the callback of this process; NULL silences. Not to be called while other threads are inside
 * the library. */
DDPM_API void ddpm_set_log_callback(ddpm_log_callback *callback, void *user);

#ifdef __cplusplus
}
#endif
#endif

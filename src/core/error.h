/* Raising and passing on errors. See include/ddpm/status.h for the contract. */
#ifndef DDPM_CORE_ERROR_H
#define DDPM_CORE_ERROR_H

#include <stddef.h>

#include <ddpm/log.h>
#include <ddpm/status.h>

/* Store the error text of the calling thread and return `status`, so that a function can `return
 * ddpm_raise(DDPM_ERROR_FORMAT, "%s: got %zu bytes, want %zu", path, got, want);` */
ddpm_status ddpm_raise(ddpm_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* Put a prefix before the current error text ("while reading run/config.json: ") and return
 * `status`. */
ddpm_status ddpm_raise_context(ddpm_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* DDPM_ERROR_IO with this text, followed by the system's message for errno. */
ddpm_status ddpm_raise_errno(const char *format, ...) __attribute__((format(printf, 1, 2), cold));

/* DDPM_ERROR_MEMORY: could not allocate `bytes` bytes for `what`. */
ddpm_status ddpm_raise_memory(size_t bytes, const char *what) __attribute__((cold));

/* Return a failure to the caller. */
#define DDPM_TRY(expression)                                                                       \
    do {                                                                                           \
        ddpm_status try_status_ = (expression);                                                    \
        if (try_status_ != DDPM_OK)                                                                \
            return try_status_;                                                                    \
    } while (0)

/* On failure, jump to a clean-up label with the function's variable `status` set. */
#define DDPM_TRY_GOTO(label, expression)                                                           \
    do {                                                                                           \
        status = (expression);                                                                     \
        if (status != DDPM_OK)                                                                     \
            goto label;                                                                            \
    } while (0)

/* One line to the log callback. */
void ddpm_log(ddpm_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

/** @file
 * Status codes and error texts.
 *
 * Every function of the library that can fail returns a `ddpm_status`. Each thread keeps the text
 * that explains its last failure ("got …, want …"); read it with ddpm_error_message(). The library
 * never exits, prints or aborts. */
#ifndef DDPM_STATUS_H
#define DDPM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/** Marks what the shared library exports. */
#if defined(_WIN32)
#define DDPM_API
#else
#define DDPM_API __attribute__((visibility("default")))
#endif

/** How a call went. */
typedef enum ddpm_status {
    DDPM_OK = 0,            /**< success */
    DDPM_ERROR_ARGUMENT,    /**< a value from the caller is out of range or makes no sense */
    DDPM_ERROR_IO,          /**< the system failed: no such file, no permission, disk full */
    DDPM_ERROR_FORMAT,      /**< a file's content breaks its format */
    DDPM_ERROR_MISMATCH,    /**< two things do not fit: checkpoint and network, shapes, names */
    DDPM_ERROR_MEMORY,      /**< an allocation failed, or a plan does not fit */
    DDPM_ERROR_NOT_FINITE,  /**< a loss, gradient, weight or table is NaN or infinite */
    DDPM_ERROR_UNSUPPORTED, /**< this build or machine cannot do it */
    DDPM_ERROR_DEVICE,      /**< an accelerator or its driver failed */
    DDPM_STOPPED,           /**< a callback asked to stop; not a failure */
} ddpm_status;

/** Text of the last failure on the calling thread; "" if there was none. One line of UTF-8; control
 * characters in file names are escaped. Owned by the library, valid until the next call that fails
 * on this thread. */
DDPM_API const char *ddpm_error_message(void);

/** A short name of a status: "ok", "bad argument", …; "unknown status" for any other number. A
 * constant of the library. */
DDPM_API const char *ddpm_status_name(ddpm_status status);

/** The library's version, "major.minor.patch". A constant of the library. */
DDPM_API const char *ddpm_version(void);

#ifdef __cplusplus
}
#endif
#endif

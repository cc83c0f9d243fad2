/* Status codes and error text.
 *
 * Every function of the library that can fail returns a `ddpm_status`. The text that explains the
 * last failure
 * ("got …, want …") is kept per thread and read with ddpm_error_message(). The library never exits,
 * never prints and never aborts. */
#ifndef DDPM_STATUS_H
#define DDPM_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define DDPM_API
#else
#define DDPM_API __attribute__((visibility("default")))
#endif

typedef enum ddpm_status {
    DDPM_OK = 0,
    DDPM_ERROR_ARGUMENT, /* a value given by the caller is out of range or makes no sense */
    DDPM_ERROR_IO,       /* the operating system refused: no such file, no permission, disk full */
    DDPM_ERROR_FORMAT,   /* a file's content is not what its format demands */
    DDPM_ERROR_MISMATCH, /* two things that must fit do not: checkpoint and network, shapes, names
                          */
    DDPM_ERROR_MEMORY,   /* an allocation failed */
    DDPM_ERROR_NOT_FINITE,  /* a loss, gradient, weight or table is NaN or infinite */
    DDPM_ERROR_UNSUPPORTED, /* this build or machine cannot do it */
    DDPM_ERROR_DEVICE,      /* an accelerator or its driver failed */
    DDPM_STOPPED,           /* a callback asked to stop; not a failure */
} ddpm_status;

/* Text of the last failure on the calling thread; "" when there was none. Valid until the next
 * failing call. One line of UTF-8 without control characters, whatever the files in it are called.
 */
DDPM_API const char *ddpm_error_message(void);

/* A short constant name of a status: "ok", "bad argument", … */
DDPM_API const char *ddpm_status_name(ddpm_status status);

/* The library's version, "major.minor.patch". */
DDPM_API const char *ddpm_version(void);

#ifdef __cplusplus
}
#endif
#endif

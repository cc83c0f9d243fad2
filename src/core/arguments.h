/* Checking what callers of the public interface hand over. */
#ifndef DDPM_CORE_ARGUMENTS_H
#define DDPM_CORE_ARGUMENTS_H

#include <stddef.h>

#include "core/error.h"

/* Refuse a NULL: "ddpm_network_get: got NULL as values". */
#define DDPM_REQUIRE(pointer)                                                                      \
    do {                                                                                           \
        if (!(pointer))                                                                            \
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "%s: got NULL as %s", __func__, #pointer);      \
    } while (0)

/* Copy an options struct of the caller's, whose first member is its size, into `own`. A caller that
 * was built against an older header hands over a smaller struct: what it lacks is 0.
 * DDPM_ERROR_ARGUMENT for NULL, for a size below `least` (that of the first version), and for a
 * larger struct with something set that this version does not know. */
ddpm_status ddpm_take_options(void *own, size_t own_size, size_t least, const void *given,
                              const char *name);

/* Check the length of a caller's buffer, in elements. */
ddpm_status ddpm_check_length(const char *what, size_t got, double want);

#endif

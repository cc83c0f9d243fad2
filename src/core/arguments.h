/* Checking the arguments of the public interface. */
#ifndef DDPM_CORE_ARGUMENTS_H
#define DDPM_CORE_ARGUMENTS_H

#include <stddef.h>

#include "core/error.h"

/* Raise an error for a NULL: "ddpm_network_get: got NULL as values". */
#define DDPM_REQUIRE(pointer)                                                                      \
    do {                                                                                           \
        if (!(pointer))                                                                            \
            return ddpm_raise(DDPM_ERROR_ARGUMENT, "%s: got NULL as %s", __func__, #pointer);      \
    } while (0)

/* Copy the caller's options struct, whose first member is its size, into `own`. A caller built
 * against an older header passes a smaller struct; the missing fields become 0. DDPM_ERROR_ARGUMENT
 * for NULL, for a size below `least` (that of the first version) or above 64 KiB, and for a larger
 * struct that sets fields this version does not know. */
ddpm_status ddpm_take_options(void *own, size_t own_size, size_t least, const void *given,
                              const char *name);

/* Check the length of a caller's buffer, in elements. */
ddpm_status ddpm_check_length(const char *what, size_t got, double want);

#endif

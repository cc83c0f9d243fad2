/* Checking the arguments of the public interface. */
#include "core/arguments.h"

#include <string.h>

/* No later version's struct is larger than this; such a size was never set. */
enum { MOST_BYTES = 1 << 16 };

ddpm_status ddpm_take_options(void *own, size_t own_size, size_t least, const void *given,
                              const char *name)
{
    size_t size;
    if (!given)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got NULL, want a struct %s", name);
    memcpy(&size, given, sizeof size);
    if (size < least || size > MOST_BYTES)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "struct %s: got size %zu, want its size member set to sizeof(struct %s)",
                          name, size, name);
    for (size_t i = own_size; i < size; ++i)
        if (((const char *)given)[i])
            return ddpm_raise(
                DDPM_ERROR_ARGUMENT,
                "struct %s: got %zu bytes with a value set after the %zu that this version of the "
                "library knows",
                name, size, own_size);
    memset(own, 0, own_size);
    memcpy(own, given, size < own_size ? size : own_size);
    return DDPM_OK;
}

ddpm_status ddpm_check_length(const char *what, size_t got, double want)
{
    if ((double)got == want)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "%s: got a buffer of %zu, want %.0f", what, got, want);
}

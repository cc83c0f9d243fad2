/* Allocations that return a status and check for overflow. */
#ifndef DDPM_CORE_MEMORY_H
#define DDPM_CORE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* The alignment of all large buffers: a cache line, and the widest vector. */
#define DDPM_ALIGNMENT ((size_t)64)

static inline size_t ddpm_align_up(size_t bytes)
{
    return (bytes + DDPM_ALIGNMENT - 1) & ~(DDPM_ALIGNMENT - 1);
}

/* Zeroed array of `count` elements of `size` bytes; *out is NULL on failure. Free with free(). */
ddpm_status ddpm_new_array(void **out, size_t count, size_t size, const char *what);

/* One zeroed object: DDPM_NEW(&pointer, "trainer"). */
#define DDPM_NEW(pointer, what) ddpm_new_array((void **)(pointer), 1, sizeof **(pointer), what)

/* Grow an array to hold at least `need` elements of `size` bytes, doubling; *capacity is updated.
 * New elements are not initialised. On failure the old array stays valid. */
ddpm_status ddpm_grow_array(void **array, size_t *capacity, size_t need, size_t size,
                            const char *what);

/* Large, aligned, zeroed buffer, with huge pages if the system grants them. The system provides its
 * pages when they are first written. Free with ddpm_free_aligned(). */
ddpm_status ddpm_new_aligned(void **out, size_t bytes, const char *what);
void ddpm_free_aligned(void *buffer);

/* Bytes in all such buffers, whether written or not. */
size_t ddpm_aligned_bytes(void);

/* Copy a string; the copy of NULL is NULL. */
ddpm_status ddpm_copy_string(char **out, const char *text);

/* printf into newly allocated memory. Free with free(). */
ddpm_status ddpm_format(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

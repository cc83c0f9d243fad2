/* Counting allocations and making them fail. A test that links allocations.c must be linked with
 * ddpm_wrap_allocations(), which sends malloc, calloc, realloc and aligned_alloc of the library's
 * objects (not of other libraries) through it. */
#ifndef DDPM_TESTS_ALLOCATIONS_H
#define DDPM_TESTS_ALLOCATIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Since the process started: by all threads, and by the calling one. */
long allocations_of_all(void);
long allocations_of_this_thread(void);

/* Make the calling thread's allocation number `which` (1 is the next) fail, once; 0: none. */
void allocations_fail(long which);

/* Has it failed? */
bool allocations_have_failed(void);

/* Called by the linker's wrapping instead of malloc and the others. */
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

#endif

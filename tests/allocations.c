/* Counting allocations and making them fail; see allocations.h. */
#include "allocations.h"

#include <stdatomic.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);

static atomic_long all;
static _Thread_local long here, countdown;
static _Thread_local bool failed;

long allocations_of_all(void)
{
    return all;
}

long allocations_of_this_thread(void)
{
    return here;
}

void allocations_fail(long which)
{
    countdown = which;
    failed = false;
}

bool allocations_have_failed(void)
{
    return failed;
}

static bool granted(void)
{
    ++all;
    ++here;
    if (countdown == 0 || --countdown > 0)
        return true;
    failed = true;
    return false;
}

void *__wrap_malloc(size_t bytes)
{
    return granted() ? __real_malloc(bytes) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return granted() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return granted() ? __real_realloc(old, bytes) : NULL;
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return granted() ? __real_aligned_alloc(alignment, bytes) : NULL;
}

/* Memory that fails as a status. */
#include "core/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/threads.h"

ddpm_status ddpm_new_array(void **out, size_t count, size_t size, const char *what)
{
    *out = calloc(count ? count : 1, size ? size : 1);
    return *out ? DDPM_OK : ddpm_raise_memory(count * size, what);
}

ddpm_status ddpm_grow_array(void **array, size_t *capacity, size_t need, size_t size,
                            const char *what)
{
    if (need <= *capacity)
        return DDPM_OK;
    size_t larger = *capacity ? *capacity : 16;
    while (larger < need) {
        if (larger > SIZE_MAX / 2)
            return ddpm_raise_memory(SIZE_MAX, what);
        larger *= 2;
    }
    if (larger > SIZE_MAX / size)
        return ddpm_raise_memory(SIZE_MAX, what);
    void *moved = realloc(*array, larger * size);
    if (!moved)
        return ddpm_raise_memory(larger * size, what);
    *array = moved;
    *capacity = larger;
    return DDPM_OK;
}

#define HUGE_PAGE ((size_t)2 << 20)

/* Huge pages [begin, end) of a buffer. Touching gigabytes for the first time costs seconds. */
static void zero_pages(void *buffer, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    memset((char *)buffer + (size_t)begin * HUGE_PAGE, 0, (size_t)(end - begin) * HUGE_PAGE);
}

ddpm_status ddpm_new_aligned(void **out, size_t bytes, const char *what)
{
    size_t rounded = ddpm_align_up(bytes ? bytes : 1);
    *out = NULL;
    if (rounded < bytes)
        return ddpm_raise_memory(bytes, what);
    size_t alignment = rounded >= HUGE_PAGE ? HUGE_PAGE : DDPM_ALIGNMENT;
    rounded = (rounded + alignment - 1) & ~(alignment - 1);
    void *buffer = aligned_alloc(alignment, rounded);
    if (!buffer)
        return ddpm_raise_memory(bytes, what);
    if (alignment == HUGE_PAGE) {
        (void)madvise(buffer, rounded, MADV_HUGEPAGE); /* a wish: the run is right without it */
        ddpm_parallel_for(ddpm_processor_count(), (int64_t)(rounded / HUGE_PAGE), 4, zero_pages,
                          buffer);
    } else {
        memset(buffer, 0, rounded);
    }
    *out = buffer;
    return DDPM_OK;
}

void ddpm_free_aligned(void *buffer)
{
    free(buffer);
}

ddpm_status ddpm_copy_string(char **out, const char *text)
{
    *out = NULL;
    if (!text)
        return DDPM_OK;
    size_t bytes = strlen(text) + 1;
    DDPM_TRY(ddpm_new_array((void **)out, bytes, 1, "a string"));
    memcpy(*out, text, bytes);
    return DDPM_OK;
}

ddpm_status ddpm_format(char **out, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ddpm_status status = length < 0 ? ddpm_raise(DDPM_ERROR_ARGUMENT, "bad text format")
                                    : ddpm_new_array((void **)out, (size_t)length + 1, 1, "text");
    if (status == DDPM_OK)
        vsnprintf(*out, (size_t)length + 1, format, again);
    va_end(again);
    return status;
}

/* Allocations that return a status. */
#include "core/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/text.h"

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

/* Stored right before an aligned buffer. */
struct header {
    void *block; /* to be freed */
    size_t bytes;
};

static atomic_size_t aligned_bytes;

/* calloc gets large blocks from the system already zeroed, without touching them. So the thread
 * that first works in a page is the one that waits for it. */
ddpm_status ddpm_new_aligned(void **out, size_t bytes, const char *what)
{
    const size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : DDPM_ALIGNMENT;
    const size_t room = alignment + sizeof(struct header);
    *out = NULL;
    if (bytes > SIZE_MAX - room)
        return ddpm_raise_memory(bytes, what);
    char *block = calloc(1, bytes + room);
    if (!block)
        return ddpm_raise_memory(bytes, what);
    const uintptr_t lowest = (uintptr_t)block + sizeof(struct header);
    char *buffer = (char *)(block + sizeof(struct header) + (0 - lowest) % alignment);
    const struct header header = {block, bytes};
    memcpy(buffer - sizeof header, &header, sizeof header);
    atomic_fetch_add(&aligned_bytes, bytes);
    if (alignment == HUGE_PAGE) /* only a hint: results do not depend on it */
        (void)madvise(buffer, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    *out = buffer;
    return DDPM_OK;
}

void ddpm_free_aligned(void *buffer)
{
    struct header header;
    if (!buffer)
        return;
    memcpy(&header, (char *)buffer - sizeof header, sizeof header);
    atomic_fetch_sub(&aligned_bytes, header.bytes);
    free(header.block);
}

size_t ddpm_aligned_bytes(void)
{
    return atomic_load(&aligned_bytes);
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
    int length = ddpm_vprint(NULL, 0, format, arguments);
    va_end(arguments);
    ddpm_status status = length < 0 ? ddpm_raise(DDPM_ERROR_ARGUMENT, "bad text format")
                                    : ddpm_new_array((void **)out, (size_t)length + 1, 1, "text");
    if (status == DDPM_OK)
        ddpm_vprint(*out, (size_t)length + 1, format, again);
    va_end(again);
    return status;
}

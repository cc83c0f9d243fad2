/* Offline memory placement: greedy by size, lowest gap first (Pisarchyk & Lee, "Efficient memory
 * management for deep neural net inference", 2020, "greedy by size for offset calculation"). */
#include <stdlib.h>

#include "core/memory.h"
#include "graph/plan.h"

static int by_falling_size(const void *a, const void *b)
{
    const struct ddpm_storage *x = *(struct ddpm_storage *const *)a;
    const struct ddpm_storage *y = *(struct ddpm_storage *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y; /* a stable order makes the plan the same on every run */
}

static size_t lowest_gap(const struct ddpm_storage *wanted, struct ddpm_storage *const *placed,
                         size_t count)
{
    /* placed[] is sorted by offset. */
    size_t offset = 0;
    for (size_t i = 0; i < count; ++i) {
        const struct ddpm_storage *other = placed[i];
        if (other->last < wanted->first || other->first > wanted->last)
            continue;
        if (offset + wanted->bytes <= other->offset)
            break;
        size_t end = other->offset + ddpm_align_up(other->bytes);
        if (end > offset)
            offset = end;
    }
    return offset;
}

ddpm_status ddpm_place_storages(struct ddpm_storage *storages, size_t count, size_t *arena_bytes)
{
    struct ddpm_storage **order, **placed;
    ddpm_status status;
    *arena_bytes = 0;
    DDPM_TRY(ddpm_new_array((void **)&order, 2 * count, sizeof *order, "the memory plan"));
    placed = order + count;
    status = DDPM_OK;
    for (size_t i = 0; i < count; ++i)
        order[i] = &storages[i];
    qsort(order, count, sizeof *order, by_falling_size);
    for (size_t i = 0; i < count; ++i) {
        struct ddpm_storage *storage = order[i];
        storage->offset = lowest_gap(storage, placed, i);
        size_t end = storage->offset + ddpm_align_up(storage->bytes);
        if (end > *arena_bytes)
            *arena_bytes = end;
        size_t k = i;
        for (; k > 0 && placed[k - 1]->offset > storage->offset; --k)
            placed[k] = placed[k - 1];
        placed[k] = storage;
    }
    free(order);
    return status;
}

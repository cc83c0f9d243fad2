/* Pictures of a set on their way to another process: first all kinds, then all small copies, then
 * all features. */
#include "evaluation/rows.h"

#include <string.h>

#include "evaluation/set.h"

static size_t small_bytes(const struct ddpm_picture_set *set)
{
    return (size_t)set->small.height * (size_t)set->small.width * (size_t)set->small.channels;
}

static size_t feature_bytes(const struct ddpm_picture_set *set)
{
    return set->kind ? (size_t)set->width * sizeof *set->features : 0;
}

size_t ddpm_picture_set_row_bytes(const struct ddpm_picture_set *set)
{
    return sizeof *set->each + small_bytes(set) + feature_bytes(set);
}

void ddpm_picture_set_take_rows(struct ddpm_picture_set *set, void *rows)
{
    const size_t count = (size_t)set->count;
    char *small = (char *)rows + count * sizeof *set->each;
    char *features = small + count * small_bytes(set);
    if (count == 0)
        return;
    memcpy(rows, set->each, count * sizeof *set->each);
    memcpy(small, set->pixels, count * small_bytes(set));
    if (set->kind)
        memcpy(features, set->features, count * feature_bytes(set));
    set->count = set->rows = set->small.count = 0;
    memset(set->kinds, 0, sizeof set->kinds);
}

ddpm_status ddpm_picture_set_append_rows(struct ddpm_picture_set *set, const void *rows,
                                         int64_t count)
{
    const size_t all = (size_t)count, before = (size_t)set->count;
    const char *small = (const char *)rows + all * sizeof *set->each;
    const char *features = small + all * small_bytes(set);
    if (count == 0)
        return DDPM_OK;
    DDPM_TRY(ddpm_picture_set_make_room(set, count));
    memcpy(set->each + before, rows, all * sizeof *set->each);
    memcpy(set->pixels + before * small_bytes(set), small, all * small_bytes(set));
    if (set->kind)
        memcpy(set->features + before * (size_t)set->width, features, all * feature_bytes(set));
    ddpm_picture_set_count_in(set, count);
    return DDPM_OK;
}

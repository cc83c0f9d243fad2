/* Rounds of features. A message is the number of pictures, then the bytes that go with each, then
 * their rows of the set. */
#include "shared_set.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "evaluation/rows.h"
#include "processes.h"
#include "shared_drawing.h"

static ddpm_status allocate(struct ddpm_shared_set *shared,
                            const struct ddpm_picture_set_options *options)
{
    if (ddpm_processes_ranks())
        DDPM_TRY(ddpm_picture_set_create(options, &shared->own));
    else
        shared->own = shared->whole;
    shared->stride =
        sizeof(int64_t) +
        (size_t)shared->chunk * (shared->beside + ddpm_picture_set_row_bytes(shared->own));
    const int64_t messages = ddpm_processes_lead() ? ddpm_processes_count() : 1;
    return ddpm_new_array((void **)&shared->messages, (size_t)messages, shared->stride,
                          "pictures of all processes");
}

ddpm_status ddpm_shared_set_begin(struct ddpm_shared_set *shared, ddpm_status status,
                                  const struct ddpm_picture_set_options *options, const char *what)
{
    struct ddpm_ranks *ranks = ddpm_processes_ranks();
    char line[160];
    DDPM_TRY(ddpm_ranks_agree(ranks, status, NULL));
    snprintf(line, sizeof line, "%s: %" PRId64 ", %dx%dx%d\n", what, shared->total, options->height,
             options->width, options->channels);
    DDPM_TRY(ddpm_ranks_compare(ranks, line));
    shared->chunk = ddpm_shared_chunk(shared->chunk, shared->total);
    DDPM_TRY(ddpm_shared_settle_chunk(&shared->chunk));
    return ddpm_ranks_agree(ranks, allocate(shared, options), NULL);
}

void ddpm_shared_set_turn(const struct ddpm_shared_set *shared, int64_t *offset, int64_t *count)
{
    *offset = shared->done + ddpm_ranks_index(ddpm_processes_ranks()) * shared->chunk;
    const int64_t left = shared->total - *offset;
    *count = left < 0 ? 0 : left < shared->chunk ? left : shared->chunk;
}

void *ddpm_shared_set_beside(struct ddpm_shared_set *shared)
{
    return shared->messages + sizeof(int64_t);
}

static ddpm_status append_all(struct ddpm_shared_set *shared, ddpm_shared_set_take *take,
                              void *user)
{
    for (int64_t rank = 0; rank < ddpm_processes_count() && ddpm_processes_lead(); ++rank) {
        const char *message = shared->messages + (size_t)rank * shared->stride;
        const char *beside = message + sizeof(int64_t);
        const int64_t place = ddpm_picture_set_count(shared->whole);
        int64_t count;
        memcpy(&count, message, sizeof count);
        DDPM_TRY(ddpm_picture_set_append_rows(
            shared->whole, beside + (size_t)shared->chunk * shared->beside, count));
        take(user, place, count, beside);
    }
    shared->done += ddpm_processes_count() * shared->chunk;
    return DDPM_OK;
}

/* Alone: the new pictures in the set. */
static void take_own(struct ddpm_shared_set *shared, ddpm_shared_set_take *take, void *user)
{
    const int64_t count = ddpm_picture_set_count(shared->whole) - shared->taken;
    take(user, shared->taken, count, ddpm_shared_set_beside(shared));
    shared->taken += count;
    shared->done += shared->chunk;
}

ddpm_status ddpm_shared_set_add(struct ddpm_shared_set *shared, ddpm_status status,
                                ddpm_shared_set_take *take, void *user)
{
    const int64_t count = ddpm_picture_set_count(shared->own);
    DDPM_TRY(ddpm_shared_agree(status));
    if (!ddpm_processes_ranks()) {
        take_own(shared, take, user);
        return DDPM_OK;
    }
    memcpy(shared->messages, &count, sizeof count);
    ddpm_picture_set_take_rows(shared->own, shared->messages + sizeof count +
                                                (size_t)shared->chunk * shared->beside);
    DDPM_TRY(ddpm_ranks_collect(ddpm_processes_ranks(), 0, shared->messages, shared->messages,
                                shared->stride));
    return ddpm_shared_agree(append_all(shared, take, user));
}

void ddpm_shared_set_clear(struct ddpm_shared_set *shared)
{
    if (shared->own != shared->whole)
        ddpm_picture_set_destroy(&shared->own);
    free(shared->messages);
    *shared = (struct ddpm_shared_set){0};
}

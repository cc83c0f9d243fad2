/* Reading the pictures of one set in a comparison; several processes take turns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "evaluate_side.h"
#include "failures.h"
#include "processes.h"
#include "progress.h"
#include "shared_set.h"

/* Pictures to read before updating the progress line and checking for signals; with a network, per
 * thread. */
enum { PIECE = 256, NETWORK_PIECE = 4 };

struct reading {
    struct ddpm_side *side;
    struct ddpm_shared_set shared;
    struct ddpm_source_reader **readers; /* one for each thread */
    uint8_t *pictures;                   /* [PIECE], then packed to the good ones */
    size_t bytes;                        /* of one picture */
    int64_t begin;                       /* position of this process's piece in the list */
    bool good[PIECE];
    struct ddpm_failure failures[PIECE];
};

static void read_range(void *context, int64_t begin, int64_t end, int thread)
{
    struct reading *reading = context;
    for (int64_t i = begin; i < end; ++i)
        ddpm_failure_note(&reading->failures[i],
                          ddpm_source_read_exactly(reading->readers[thread],
                                                   reading->side->items[reading->begin + i], NULL,
                                                   reading->pictures + (size_t)i * reading->bytes,
                                                   &reading->good[i]));
}

/* Add them to this process's set, with their indices in the source. */
static ddpm_status add_good(struct reading *reading, int64_t count)
{
    int64_t *items = ddpm_shared_set_beside(&reading->shared), good = 0;
    for (int64_t i = 0; i < count; ++i) {
        if (!reading->good[i])
            continue;
        if (good < i)
            memcpy(reading->pictures + (size_t)good * reading->bytes,
                   reading->pictures + (size_t)i * reading->bytes, reading->bytes);
        items[good++] = reading->side->items[reading->begin + i];
    }
    return good == 0 ? DDPM_OK
                     : ddpm_picture_set_add(reading->shared.own, reading->pictures, good,
                                            (size_t)good * reading->bytes);
}

static ddpm_status read_piece(struct reading *reading, int64_t count)
{
    DDPM_TRY(ddpm_check_signal());
    if (count == 0) /* another process reads the last ones */
        return DDPM_OK;
    ddpm_parallel_for(reading->side->shape.threads, count, 1, read_range, reading);
    DDPM_TRY(ddpm_failures_collect(reading->failures, count));
    return add_good(reading, count);
}

/* Move the indices of good pictures to the front of the list. */
static void keep_items(void *user, int64_t place, int64_t count, const void *items)
{
    struct reading *reading = user;
    memcpy(reading->side->items + place, items, (size_t)count * sizeof *reading->side->items);
}

static ddpm_status read_all(struct reading *reading)
{
    struct ddpm_progress progress;
    struct ddpm_shared_set *shared = &reading->shared;
    int64_t count;
    char what[32];
    snprintf(what, sizeof what, "reading %s", reading->side->which);
    ddpm_progress_start(&progress, 0, shared->total);
    while (shared->done < shared->total) {
        ddpm_shared_set_turn(shared, &reading->begin, &count);
        DDPM_TRY(ddpm_shared_set_add(shared, read_piece(reading, count), keep_items, reading));
        if (ddpm_processes_lead())
            ddpm_progress_bar(&progress, what,
                              shared->done < shared->total ? shared->done : shared->total);
    }
    return ddpm_ranks_agree(
        ddpm_processes_ranks(),
        ddpm_processes_lead()
            ? ddpm_side_check_count(reading->side, ddpm_picture_set_count(reading->side->set))
            : DDPM_OK,
        NULL);
}

static ddpm_status prepare(struct reading *reading, const struct ddpm_picture_set_options *options)
{
    struct ddpm_side *side = reading->side;
    const int threads = side->shape.threads;
    const int64_t slow = (int64_t)NETWORK_PIECE * threads;
    reading->bytes = (size_t)options->height * (size_t)options->width * (size_t)options->channels;
    DDPM_TRY(ddpm_side_list(side, &reading->shared.total));
    DDPM_TRY(ddpm_picture_set_create(options, &side->set));
    reading->shared.whole = side->set;
    reading->shared.chunk = side->network && slow < PIECE ? slow : PIECE;
    reading->shared.beside = sizeof *side->items;
    DDPM_TRY(ddpm_new_array((void **)&reading->pictures, PIECE, reading->bytes, "pictures"));
    DDPM_TRY(ddpm_new_array((void **)&reading->readers, (size_t)threads, sizeof *reading->readers,
                            "readers"));
    for (int i = 0; i < threads; ++i)
        DDPM_TRY(ddpm_source_reader_create(&reading->readers[i], side->source));
    return DDPM_OK;
}

ddpm_status ddpm_side_read_pictures(struct ddpm_side *side, const char *features)
{
    const struct ddpm_side_shape *shape = &side->shape;
    const struct ddpm_picture_set_options options = {
        .size = sizeof options,
        .features = features,
        .height = shape->height,
        .width = shape->width,
        .channels = shape->channels,
        .threads = shape->threads,
        .network = side->network,
    };
    struct reading reading = {.side = side};
    char what[64];
    snprintf(what, sizeof what, "%s pictures", side->which);
    ddpm_status status =
        ddpm_shared_set_begin(&reading.shared, prepare(&reading, &options), &options, what);
    if (status == DDPM_OK)
        status = read_all(&reading);
    for (int i = 0; reading.readers && i < shape->threads; ++i)
        ddpm_source_reader_destroy(&reading.readers[i]);
    free(reading.readers);
    free(reading.pictures);
    ddpm_shared_set_clear(&reading.shared);
    ddpm_progress_clear();
    return status;
}

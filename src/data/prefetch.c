/* The ring of batches. Threads claim samples one by one, in order, so all threads work on the
 * oldest unfinished batch first; slot = step mod depth. One lock guards the counters; it is held
 * only to claim and report. */
#include "data/prefetch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/threads.h"

struct slot {
    uint8_t *pixels, *flips;
    int64_t *items;
    int32_t *corners; /* [part][2]; always 0 for whole pictures */
    int missing;      /* samples still to make */
    ddpm_status status;
    int failed_place; /* the first failed sample; its error is the one reported */
    char *message;
};

struct worker {
    struct ddpm_prefetch *prefetch;
    struct ddpm_source_reader *reader;
    uint8_t *item; /* the picture that a patch is cut from; NULL: samples are whole pictures */
    pthread_t thread;
};

struct ddpm_prefetch {
    struct ddpm_source *source;
    struct ddpm_prefetch_options options;
    struct ddpm_buffer_allocator allocator;
    int height, width; /* of the samples */
    size_t sample_bytes;
    struct slot *slots;     /* [depth] */
    struct worker *workers; /* [threads], the first `started` of them run */
    int started;
    struct worker *own; /* for the thread that takes the batches, if no other could be started */

    pthread_mutex_t lock;
    pthread_cond_t room, ready;
    /* Batches, counted from the start step: released <= handed <= … < released + depth. */
    uint64_t released, handed;
    uint64_t claimed; /* samples */
    bool stop;
    struct ddpm_prefetch_statistics statistics;
};

static ddpm_status allocate_plain(void *user, void **out, size_t bytes)
{
    (void)user;
    return ddpm_new_aligned(out, bytes, "batches of pictures");
}

static void release_plain(void *user, void *buffer)
{
    (void)user;
    ddpm_free_aligned(buffer);
}

/* Copy the sample's patch out of its picture. `corner` receives its row and column there. */
static void cut_patch(const struct ddpm_prefetch *prefetch, const struct ddpm_random4 *random,
                      const uint8_t *item, uint8_t *out, int32_t corner[2])
{
    const struct ddpm_source_options *whole = ddpm_source_wanted(prefetch->source);
    const size_t row = (size_t)prefetch->width * (size_t)whole->channels;
    const size_t stride = (size_t)whole->width * (size_t)whole->channels;
    const uint64_t tops = (uint64_t)(whole->height - prefetch->height + 1);
    const uint64_t lefts = (uint64_t)(whole->width - prefetch->width + 1);
    const size_t top = (size_t)(random->v[0] * tops >> 32);
    const size_t left = (size_t)(random->v[1] * lefts >> 32);
    const uint8_t *from = item + top * stride + left * (size_t)whole->channels;
    for (int y = 0; y < prefetch->height; ++y)
        memcpy(out + (size_t)y * row, from + (size_t)y * stride, row);
    corner[0] = (int32_t)top;
    corner[1] = (int32_t)left;
}

/* Where the patch is after its picture is mirrored and rotated, see ops.inc: NORMALIZE_PICTURES.
 * Only square pictures are turned by an odd number of quarters. */
static void turn_corner(const struct ddpm_prefetch *prefetch, unsigned flip, int32_t corner[2])
{
    const struct ddpm_source_options *whole = ddpm_source_wanted(prefetch->source);
    if (flip & 1)
        corner[1] = whole->width - prefetch->width - corner[1];
    for (unsigned turns = flip >> 1; turns > 0; --turns) {
        const int32_t top = whole->width - prefetch->width - corner[1];
        corner[1] = corner[0];
        corner[0] = top;
    }
}

static ddpm_status read_sample(struct worker *worker, int64_t item, uint32_t place, uint32_t step,
                               struct ddpm_random4 *random, uint8_t *out, int64_t *used,
                               int32_t corner[2])
{
    const struct ddpm_prefetch *prefetch = worker->prefetch;
    const uint64_t seed = prefetch->options.seed;
    *random = ddpm_philox(seed, 0, place, step, DDPM_STREAM_AUGMENT);
    if (!worker->item)
        return ddpm_source_read(worker->reader, item, random, out, used);
    const struct ddpm_random4 window = ddpm_philox(seed, 1, place, step, DDPM_STREAM_AUGMENT);
    DDPM_TRY(ddpm_source_read(worker->reader, item, random, worker->item, used));
    cut_patch(prefetch, &window, worker->item, out, corner);
    return DDPM_OK;
}

static void make_sample(struct worker *worker, uint64_t sample)
{
    struct ddpm_prefetch *prefetch = worker->prefetch;
    const struct ddpm_prefetch_options *options = &prefetch->options;
    const uint64_t part = (uint64_t)options->part, here = sample % part;
    const uint64_t count = (uint64_t)ddpm_source_count(prefetch->source);
    struct slot *slot = &prefetch->slots[sample / part % (uint64_t)options->depth];
    const uint64_t step = options->start_step + sample / part;
    const uint64_t place = (uint64_t)options->first + here;
    const uint64_t position = step * (uint64_t)options->batch_size + place;
    const uint64_t index = position % count;
    int64_t item = (int64_t)index;
    if (options->shuffle)
        item = ddpm_permute((uint32_t)index, (uint32_t)count, options->seed,
                            (uint32_t)(position / count));
    struct ddpm_random4 random;
    int32_t *corner = slot->corners + 2 * here;
    const ddpm_status status =
        read_sample(worker, item, (uint32_t)place, (uint32_t)step, &random,
                    slot->pixels + here * prefetch->sample_bytes, &slot->items[here], corner);
    slot->flips[here] = (uint8_t)((options->flip ? random.v[0] >> 31 : 0) |
                                  (options->rotate ? random.v[3] >> 30 << 1 : 0));
    turn_corner(prefetch, slot->flips[here], corner);

    pthread_mutex_lock(&prefetch->lock);
    if (status != DDPM_OK && (slot->status == DDPM_OK || (int)place < slot->failed_place)) {
        free(slot->message);
        if (ddpm_copy_string(&slot->message, ddpm_error_message()) != DDPM_OK)
            slot->message = NULL;
        slot->status = status;
        slot->failed_place = (int)place;
    }
    if (--slot->missing == 0)
        pthread_cond_signal(&prefetch->ready);
    pthread_mutex_unlock(&prefetch->lock);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct ddpm_prefetch *prefetch = worker->prefetch;
    const uint64_t batch = (uint64_t)prefetch->options.part;
    const uint64_t depth = (uint64_t)prefetch->options.depth;
    pthread_mutex_lock(&prefetch->lock);
    for (;;) {
        while (!prefetch->stop && prefetch->claimed >= (prefetch->released + depth) * batch)
            pthread_cond_wait(&prefetch->room, &prefetch->lock);
        if (prefetch->stop)
            break;
        uint64_t sample = prefetch->claimed++;
        pthread_mutex_unlock(&prefetch->lock);
        make_sample(worker, sample);
        pthread_mutex_lock(&prefetch->lock);
    }
    pthread_mutex_unlock(&prefetch->lock);
    return NULL;
}

static ddpm_status check_options(const struct ddpm_prefetch_options *options,
                                 const struct ddpm_source_options *whole)
{
    if (options->batch_size < 1 || options->batch_size > 1 << 20)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got batch size %d, want 1 to %d",
                          options->batch_size, 1 << 20);
    if (options->first < 0 || options->part < 0 ||
        options->first > options->batch_size - options->part)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got places %d to %d of a batch of %d",
                          options->first, options->first + options->part - 1, options->batch_size);
    if (options->depth < 1 || options->depth > 1024)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %d batches ahead, want 1 to 1024",
                          options->depth);
    if (options->threads < 1 || options->threads > 1024)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %d decoding threads, want 1 to 1024",
                          options->threads);
    if (options->height < 0 || options->height > whole->height || options->width < 0 ||
        options->width > whole->width)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got patches of %dx%d from pictures of %dx%d",
                          options->height, options->width, whole->height, whole->width);
    return DDPM_OK;
}

static ddpm_status make_slots(struct ddpm_prefetch *prefetch)
{
    const struct ddpm_prefetch_options *options = &prefetch->options;
    const size_t batch = (size_t)options->part;
    DDPM_TRY(ddpm_new_array((void **)&prefetch->slots, (size_t)options->depth,
                            sizeof *prefetch->slots, "batches"));
    for (int i = 0; i < options->depth; ++i) {
        struct slot *slot = &prefetch->slots[i];
        slot->missing = options->part;
        DDPM_TRY(ddpm_new_array((void **)&slot->flips, batch, 1, "batches"));
        DDPM_TRY(ddpm_new_array((void **)&slot->items, batch, sizeof *slot->items, "batches"));
        DDPM_TRY(
            ddpm_new_array((void **)&slot->corners, 2 * batch, sizeof *slot->corners, "batches"));
        DDPM_TRY(prefetch->allocator.allocate(prefetch->allocator.user, (void **)&slot->pixels,
                                              batch * prefetch->sample_bytes));
    }
    return DDPM_OK;
}

static ddpm_status prepare_worker(struct ddpm_prefetch *prefetch, struct worker *worker)
{
    const struct ddpm_source_options *whole = ddpm_source_wanted(prefetch->source);
    const size_t bytes = (size_t)whole->height * (size_t)whole->width * (size_t)whole->channels;
    worker->prefetch = prefetch;
    DDPM_TRY(ddpm_source_reader_create(&worker->reader, prefetch->source));
    return bytes == prefetch->sample_bytes
               ? DDPM_OK
               : ddpm_new_array((void **)&worker->item, bytes, 1, "a picture");
}

static ddpm_status start_threads(struct ddpm_prefetch *prefetch)
{
    size_t threads = (size_t)prefetch->options.threads;
    DDPM_TRY(ddpm_new_array((void **)&prefetch->workers, threads, sizeof *prefetch->workers,
                            "decoding threads"));
    for (; prefetch->started < prefetch->options.threads; ++prefetch->started) {
        struct worker *worker = &prefetch->workers[prefetch->started];
        DDPM_TRY(prepare_worker(prefetch, worker));
        int error = ddpm_thread_start(&worker->thread, work, worker);
        if (error == 0)
            continue;
        ddpm_log(DDPM_LOG_WARNING, "reading pictures with %d of %d threads: %s", prefetch->started,
                 prefetch->options.threads, ddpm_thread_words(error));
        if (prefetch->started == 0)
            prefetch->own = worker;
        break;
    }
    return DDPM_OK;
}

ddpm_status ddpm_prefetch_create(struct ddpm_prefetch **out, struct ddpm_source *source,
                                 const struct ddpm_prefetch_options *options)
{
    static const struct ddpm_buffer_allocator plain = {allocate_plain, release_plain, NULL};
    const struct ddpm_source_options *wanted = ddpm_source_wanted(source);
    struct ddpm_prefetch *prefetch = NULL;
    *out = NULL;
    DDPM_TRY(check_options(options, wanted));
    DDPM_TRY(DDPM_NEW(&prefetch, "a prefetcher"));
    prefetch->source = source;
    prefetch->options = *options;
    if (options->part == 0)
        prefetch->options.part = options->batch_size;
    prefetch->allocator = options->allocator ? *options->allocator : plain;
    prefetch->height = options->height > 0 ? options->height : wanted->height;
    prefetch->width = options->width > 0 ? options->width : wanted->width;
    prefetch->sample_bytes =
        (size_t)prefetch->height * (size_t)prefetch->width * (size_t)wanted->channels;
    pthread_mutex_init(&prefetch->lock, NULL);
    pthread_cond_init(&prefetch->room, NULL);
    pthread_cond_init(&prefetch->ready, NULL);
    ddpm_status status = make_slots(prefetch);
    if (status == DDPM_OK)
        status = start_threads(prefetch);
    if (status != DDPM_OK)
        ddpm_prefetch_destroy(&prefetch);
    *out = prefetch;
    return status;
}

void ddpm_prefetch_destroy(struct ddpm_prefetch **prefetch)
{
    struct ddpm_prefetch *closing = *prefetch;
    *prefetch = NULL;
    if (!closing)
        return;
    pthread_mutex_lock(&closing->lock);
    closing->stop = true;
    pthread_cond_broadcast(&closing->room);
    pthread_mutex_unlock(&closing->lock);
    for (int i = 0; i < closing->started; ++i)
        pthread_join(closing->workers[i].thread, NULL);
    for (int i = 0; closing->workers && i < closing->options.threads; ++i) {
        ddpm_source_reader_destroy(&closing->workers[i].reader);
        free(closing->workers[i].item);
    }
    for (int i = 0; closing->slots && i < closing->options.depth; ++i) {
        struct slot *slot = &closing->slots[i];
        if (slot->pixels)
            closing->allocator.release(closing->allocator.user, slot->pixels);
        free(slot->flips);
        free(slot->items);
        free(slot->corners);
        free(slot->message);
    }
    pthread_cond_destroy(&closing->ready);
    pthread_cond_destroy(&closing->room);
    pthread_mutex_destroy(&closing->lock);
    free(closing->workers);
    free(closing->slots);
    free(closing);
}

ddpm_status ddpm_prefetch_next(struct ddpm_prefetch *prefetch, struct ddpm_batch *batch)
{
    const struct ddpm_prefetch_options *options = &prefetch->options;
    const struct ddpm_source_options *wanted = ddpm_source_wanted(prefetch->source);
    struct slot *slot = &prefetch->slots[prefetch->handed % (uint64_t)options->depth];
    memset(batch, 0, sizeof *batch);
    pthread_mutex_lock(&prefetch->lock);
    if (prefetch->handed >= prefetch->released + (uint64_t)options->depth) {
        pthread_mutex_unlock(&prefetch->lock);
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "all %d batches are held, want one released before the next is taken",
                          options->depth);
    }
    if (slot->missing > 0) {
        double begin = ddpm_now();
        while (prefetch->own && slot->missing > 0) {
            uint64_t sample = prefetch->claimed++;
            pthread_mutex_unlock(&prefetch->lock);
            make_sample(prefetch->own, sample);
            pthread_mutex_lock(&prefetch->lock);
        }
        while (slot->missing > 0)
            pthread_cond_wait(&prefetch->ready, &prefetch->lock);
        prefetch->statistics.seconds_waited += ddpm_now() - begin;
        ++prefetch->statistics.waits;
    }
    ddpm_status status = slot->status;
    if (status == DDPM_OK) {
        *batch = (struct ddpm_batch){.step = options->start_step + prefetch->handed,
                                     .size = options->part,
                                     .height = prefetch->height,
                                     .width = prefetch->width,
                                     .channels = wanted->channels,
                                     .pixels = slot->pixels,
                                     .flips = slot->flips,
                                     .items = slot->items,
                                     .corners = slot->corners};
        ++prefetch->handed;
        ++prefetch->statistics.batches;
    }
    pthread_mutex_unlock(&prefetch->lock);
    if (status != DDPM_OK)
        ddpm_raise(status, "%s", slot->message ? slot->message : "no memory");
    return status;
}

void ddpm_prefetch_release(struct ddpm_prefetch *prefetch)
{
    pthread_mutex_lock(&prefetch->lock);
    if (prefetch->released < prefetch->handed) {
        struct slot *slot =
            &prefetch->slots[prefetch->released % (uint64_t)prefetch->options.depth];
        slot->missing = prefetch->options.part;
        ++prefetch->released;
        pthread_cond_broadcast(&prefetch->room);
    }
    pthread_mutex_unlock(&prefetch->lock);
}

struct ddpm_prefetch_statistics ddpm_prefetch_statistics(struct ddpm_prefetch *prefetch)
{
    pthread_mutex_lock(&prefetch->lock);
    struct ddpm_prefetch_statistics statistics = prefetch->statistics;
    pthread_mutex_unlock(&prefetch->lock);
    return statistics;
}

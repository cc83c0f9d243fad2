/* Checking many items of a source at once, while it opens or before all of it is read, and saying
 * what was found: bad pictures, by reason, and pictures that may not be what the user expects. */
#include <pthread.h>
#include <stdlib.h>

#include "core/memory.h"
#include "core/threads.h"
#include "data/reasons.h"
#include "data/source_items.h"

/* How many pictures of a large folder or a packed file are decoded while opening. */
enum { NOTICED = 64 };

struct sweep {
    struct ddpm_source *source;
    bool decode;
    int64_t count;  /* of items to check, evenly chosen */
    char **reasons; /* [count]: why an item is bad, or what is wrong with its file; else NULL */
    pthread_mutex_t lock;
    ddpm_status status; /* first failure that is not the picture's fault */
    char *message;
};

static void keep_failure(struct sweep *sweep, ddpm_status status)
{
    pthread_mutex_lock(&sweep->lock);
    if (sweep->status == DDPM_OK) {
        sweep->status = status;
        if (ddpm_copy_string(&sweep->message, ddpm_error_message()) != DDPM_OK)
            sweep->message = NULL;
    }
    pthread_mutex_unlock(&sweep->lock);
}

static int64_t swept(const struct ddpm_source *source, int64_t i, int64_t count)
{
    return i * source->count / count;
}

static ddpm_status look_at(struct sweep *sweep, struct ddpm_source_reader *reader, int64_t i,
                           uint8_t *pixels)
{
    struct ddpm_source *source = sweep->source;
    const int64_t index = swept(source, i, sweep->count);
    unsigned char state = atomic_load(&source->items->state[index]);
    if (state == DDPM_ITEM_BAD ||
        (sweep->decode && (state == DDPM_ITEM_GOOD || state == DDPM_ITEM_CACHED)))
        return DDPM_OK;
    if (sweep->decode) {
        const struct ddpm_random4 random = {{0}};
        bool good = true;
        DDPM_TRY(ddpm_source_read_exactly(reader, index, &random, pixels, &good));
        const char *reason = good ? reader->picture.remark : ddpm_error_message();
        return reason ? ddpm_copy_string(&sweep->reasons[i], reason) : DDPM_OK;
    }
    ddpm_status status = source->kind->check(source, index);
    if (status == DDPM_OK || !ddpm_source_is_pictures_fault(source, status))
        return status;
    ddpm_source_mark_bad(source, index);
    return ddpm_copy_string(&sweep->reasons[i], ddpm_error_message());
}

static void sweep_range(void *context, int64_t begin, int64_t end, int thread)
{
    struct sweep *sweep = context;
    struct ddpm_source_reader *reader = NULL;
    uint8_t *pixels = NULL;
    (void)thread;
    ddpm_status status = ddpm_source_reader_create(&reader, sweep->source);
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&pixels, sweep->source->item_bytes, 1, "a picture");
    for (int64_t i = begin; i < end && status == DDPM_OK; ++i)
        status = look_at(sweep, reader, i, pixels);
    if (status != DDPM_OK)
        keep_failure(sweep, status);
    ddpm_source_reader_destroy(&reader);
    free(pixels);
}

static void say_skipped(void *user, const char *line)
{
    (void)user;
    ddpm_log(DDPM_LOG_WARNING, "skipped: %s", line);
}

/* One line for each reason why pictures are bad; each file by itself only if details are wanted. */
static ddpm_status report_bad(struct ddpm_source *source, char *const *messages, int64_t count)
{
    struct ddpm_reasons reasons = {0};
    ddpm_status status = DDPM_OK;
    for (int pass = 0; pass < 2 && status == DDPM_OK; ++pass) {
        for (int64_t i = 0; i < count && status == DDPM_OK; ++i) {
            const int64_t item = swept(source, i, count);
            const char *name = ddpm_source_name(source, item, NULL, 0);
            if (!messages[i] || atomic_load(&source->items->state[item]) != DDPM_ITEM_BAD)
                continue;
            if (pass == 0)
                status = ddpm_reasons_add(&reasons, name, messages[i]);
            else if (ddpm_reasons_are_many(&reasons, name, messages[i]))
                ddpm_log(DDPM_LOG_DEBUG, "bad: %s", messages[i]);
        }
    }
    ddpm_reasons_say(&reasons, say_skipped, NULL);
    if (status == DDPM_OK && reasons.count > 0) {
        free(source->items->reason);
        source->items->reason = NULL;
        status = ddpm_copy_string(&source->items->reason, ddpm_reasons_usual(&reasons));
    }
    ddpm_reasons_free(&reasons);
    return status;
}

/* `last`: no other sweep follows that could find more. */
static ddpm_status report(struct ddpm_source *source, char *const *reasons, int64_t count,
                          bool last)
{
    struct ddpm_source_items *items = source->items;
    const int64_t bad = atomic_load(&items->bad);
    for (int64_t i = 0; i < count; ++i)
        if (reasons[i] && atomic_load(&items->state[swept(source, i, count)]) != DDPM_ITEM_BAD)
            ddpm_source_note_remark(source, swept(source, i, count), reasons[i]);
    DDPM_TRY(report_bad(source, reasons, count));
    if (last && bad > items->told) {
        ddpm_log(DDPM_LOG_WARNING, "%s: %lld of %lld pictures cannot be read and are skipped",
                 source->path, (long long)bad, (long long)source->count);
        items->told = bad;
    }
    long long enlarged = atomic_load(&items->enlarged);
    if (enlarged > 0 && !atomic_exchange(&items->enlarged_logged, true))
        ddpm_log(
            DDPM_LOG_WARNING, "%s: %lld of %lld pictures%s are smaller than %dx%d and are enlarged",
            source->path, enlarged, (long long)count, count < source->count ? " looked at" : "",
            source->options.height, source->options.width);
    return DDPM_OK;
}

ddpm_status ddpm_source_sweep(struct ddpm_source *source, bool decode, int64_t count)
{
    struct sweep sweep = {.source = source, .decode = decode, .count = count};
    DDPM_TRY(ddpm_new_array((void **)&sweep.reasons, (size_t)count, sizeof *sweep.reasons,
                            "a list of bad pictures"));
    pthread_mutex_init(&sweep.lock, NULL);
    source->items->quiet = true;
    ddpm_parallel_for(source->options.threads, count, decode ? 16 : 64, sweep_range, &sweep);
    source->items->quiet = false;
    pthread_mutex_destroy(&sweep.lock);
    if (sweep.status == DDPM_OK)
        sweep.status = report(source, sweep.reasons, count, decode);
    else
        (void)ddpm_raise(sweep.status, "%s", sweep.message ? sweep.message : "no memory");
    for (int64_t i = 0; i < count; ++i)
        free(sweep.reasons[i]);
    free(sweep.reasons);
    free(sweep.message);
    return sweep.status == DDPM_OK ? ddpm_source_judge(source) : sweep.status;
}

ddpm_status ddpm_source_notice(struct ddpm_source *source)
{
    const int64_t count =
        source->verify_opened || source->count < NOTICED ? source->count : NOTICED;
    struct ddpm_noticed noticed = {0};
    source->noticed = &noticed;
    ddpm_status status = ddpm_source_sweep(source, true, count);
    source->noticed = NULL;
    if (status == DDPM_OK)
        ddpm_noticed_say(&noticed, source->path, source->options.channels);
    return status;
}

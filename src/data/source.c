/* Sources: the table of kinds, the state of each item, replacements for bad ones, the cache of
 * decoded pictures. */
#include "data/source.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"
#include "data/reasons.h"
#include "data/source_kinds.h"

static const struct ddpm_source_kind *const kinds[] = {
    &ddpm_source_kind_folder,
    &ddpm_source_kind_packed,
};

/* The most items that a permutation can order (core/random.h). */
#define COUNT_LIMIT ((int64_t)1 << 31)

/* After this many warnings about single pictures, log only their number. */
enum { LISTED = 100 };

/* How many pictures of a large folder or a packed file are decoded while opening. */
enum { NOTICED = 64 };

enum item_state {
    UNKNOWN,  /* not decoded yet */
    DECODING, /* a thread is putting it into the cache */
    GOOD,     /* decodes */
    CACHED,   /* decodes, and is in the cache */
    BAD,
};

struct ddpm_source_items {
    _Atomic unsigned char *state; /* [count] of enum item_state */
    uint8_t *cache;               /* [count, item_bytes] or NULL */
    atomic_llong bad, enlarged, remarked;
    int64_t told; /* how many bad ones the last summary counted */
    atomic_bool enlarged_logged;
    char *reason; /* why most of the bad ones were bad when they were last checked, or NULL */
    bool quiet;   /* while all items are being checked: log messages wait until the end, to be in
                   order */
};

static ddpm_status check_options(const struct ddpm_source_options *options)
{
    if (options->height < 1 || options->width < 1 || options->channels < 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got a picture size of %dx%dx%d, want at least 1x1x1", options->height,
                          options->width, options->channels);
    if (options->height > 1 << 16 || options->width > 1 << 16 || options->channels > 1 << 12)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got a picture size of %dx%dx%d, want at most 65536x65536x4096",
                          options->height, options->width, options->channels);
    return DDPM_OK;
}

static ddpm_status raise_too_many_bad(const struct ddpm_source *source)
{
    return ddpm_raise(
        DDPM_ERROR_FORMAT,
        "%s: %lld of %lld pictures cannot be read, want at least half of them good%s%s",
        source->path, (long long)atomic_load(&source->items->bad), (long long)source->count,
        source->items->reason ? "; for example " : "; repair or remove the bad ones",
        source->items->reason ? source->items->reason : "");
}

static ddpm_status judge(const struct ddpm_source *source)
{
    return 2 * atomic_load(&source->items->bad) > source->count ? raise_too_many_bad(source)
                                                                : DDPM_OK;
}

bool ddpm_source_is_pictures_fault(const struct ddpm_source *source, ddpm_status status)
{
    if (source->kind->one_file)
        return false;
    if (status == DDPM_ERROR_IO)
        return errno != EMFILE && errno != ENFILE && errno != ENOMEM;
    return status == DDPM_ERROR_FORMAT || status == DDPM_ERROR_UNSUPPORTED;
}

/* Record the current error text as the reason why an item is bad. */
static void mark_bad(struct ddpm_source *source, int64_t index)
{
    struct ddpm_source_items *items = source->items;
    if (atomic_exchange(&items->state[index], BAD) == BAD)
        return;
    long long before = atomic_fetch_add(&items->bad, 1);
    if (items->quiet)
        return;
    if (before < LISTED)
        ddpm_log(DDPM_LOG_WARNING, "skipped: %s", ddpm_error_message());
    else if (before == LISTED)
        ddpm_log(DDPM_LOG_WARNING, "more than %d bad pictures; the others are not listed", LISTED);
}

static void note_enlarged(struct ddpm_source *source, int64_t index)
{
    struct ddpm_source_items *items = source->items;
    atomic_fetch_add(&items->enlarged, 1);
    if (items->quiet || atomic_exchange(&items->enlarged_logged, true))
        return;
    ddpm_log(DDPM_LOG_WARNING, "%s is smaller than %dx%d and is enlarged, as will others like it",
             ddpm_source_name(source, index, NULL, 0), source->options.width,
             source->options.height);
}

/* A picture that decodes although its file has a problem. */
static void note_remark(struct ddpm_source *source, int64_t index, const char *remark)
{
    if (source->items->quiet)
        return;
    long long before = atomic_fetch_add(&source->items->remarked, 1);
    if (before < LISTED)
        ddpm_log(DDPM_LOG_WARNING, "%s/%s: %s", source->path,
                 ddpm_source_name(source, index, NULL, 0), remark);
    else if (before == LISTED)
        ddpm_log(DDPM_LOG_WARNING, "more than %d such files; the others are not listed", LISTED);
}

static uint8_t *cache_place(const struct ddpm_source *source, int64_t index)
{
    return source->items->cache + (size_t)index * source->item_bytes;
}

static ddpm_status check_index(const struct ddpm_source *source, int64_t index)
{
    if (index < 0 || index >= source->count)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got picture %lld, want 0 to %lld", (long long)index,
                          (long long)source->count - 1);
    return DDPM_OK;
}

static void notice(const struct ddpm_source_reader *reader, const uint8_t *out)
{
    const struct ddpm_source_options *options = &reader->source->options;
    ddpm_notice(reader->source->noticed,
                reader->source->kind->one_file ? NULL : &reader->picture.stored, out,
                (int64_t)options->height * options->width, options->channels);
}

ddpm_status ddpm_source_read_exactly(struct ddpm_source_reader *reader, int64_t index,
                                     const struct ddpm_random4 *random, uint8_t *out, bool *good)
{
    struct ddpm_source *source = reader->source;
    struct ddpm_source_items *items = source->items;
    *good = false;
    DDPM_TRY(check_index(source, index));
    if (source->options.crop == DDPM_CROP_RANDOM && !random)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got no random numbers, want them for a random crop");
    unsigned char state = atomic_load(&items->state[index]);
    if (state == BAD)
        return DDPM_OK;
    *good = true;
    if (state == CACHED) {
        memcpy(out, cache_place(source, index), source->item_bytes);
        return DDPM_OK;
    }
    /* If several threads decode the same picture, only one may put it into the cache. */
    unsigned char unknown = UNKNOWN;
    bool first = atomic_compare_exchange_strong(&items->state[index], &unknown, DECODING);
    bool enlarged = false;
    ddpm_status status = source->kind->read(reader, index, random, out, &enlarged);
    if (status != DDPM_OK) {
        *good = false;
        if (!ddpm_source_is_pictures_fault(source, status)) {
            if (first)
                atomic_store(&items->state[index], UNKNOWN);
            return status;
        }
        mark_bad(source, index);
        /* While all items are being checked, do not fail yet, so that every bad one is listed. */
        return items->quiet ? DDPM_OK : judge(source);
    }
    if (first) {
        if (enlarged)
            note_enlarged(source, index);
        if (reader->picture.remark)
            note_remark(source, index, reader->picture.remark);
        if (source->noticed)
            notice(reader, out);
        if (items->cache)
            memcpy(cache_place(source, index), out, source->item_bytes);
        atomic_store(&items->state[index], items->cache ? CACHED : GOOD);
    }
    return DDPM_OK;
}

ddpm_status ddpm_source_read(struct ddpm_source_reader *reader, int64_t index,
                             const struct ddpm_random4 *random, uint8_t *out, int64_t *used)
{
    const struct ddpm_source *source = reader->part ? reader->part : reader->source;
    DDPM_TRY(check_index(source, index));
    for (int64_t tried = 0; tried < source->count; ++tried) {
        int64_t candidate =
            index < source->count - tried ? index + tried : index + tried - source->count;
        bool good = false;
        if (source->part)
            candidate = source->part[candidate];
        DDPM_TRY(ddpm_source_read_exactly(reader, candidate, random, out, &good));
        if (good) {
            if (used)
                *used = candidate;
            return DDPM_OK;
        }
    }
    return raise_too_many_bad(reader->source);
}

/* Check items in parallel: the cheap check, or decoding them. */
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
    if (state == BAD || (sweep->decode && (state == GOOD || state == CACHED)))
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
    mark_bad(source, index);
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

/* One line for each reason why pictures are bad; all of them only for those who want details. */
static ddpm_status report_bad(struct ddpm_source *source, char *const *messages, int64_t count)
{
    struct ddpm_reasons reasons = {0};
    ddpm_status status = DDPM_OK;
    for (int pass = 0; pass < 2 && status == DDPM_OK; ++pass) {
        for (int64_t i = 0; i < count && status == DDPM_OK; ++i) {
            const int64_t item = swept(source, i, count);
            const char *name = ddpm_source_name(source, item, NULL, 0);
            if (!messages[i] || atomic_load(&source->items->state[item]) != BAD)
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
        status = ddpm_copy_string(&source->items->reason, ddpm_reasons_usual(&reasons));
    }
    ddpm_reasons_free(&reasons);
    return status;
}

/* `last`: no other sweep follows at once, which would find more. */
static ddpm_status report(struct ddpm_source *source, char *const *reasons, int64_t count,
                          bool last)
{
    struct ddpm_source_items *items = source->items;
    const int64_t bad = atomic_load(&items->bad);
    for (int64_t i = 0; i < count; ++i)
        if (reasons[i] && atomic_load(&items->state[swept(source, i, count)]) != BAD)
            note_remark(source, swept(source, i, count), reasons[i]);
    DDPM_TRY(report_bad(source, reasons, count));
    if (last && bad > items->told) {
        ddpm_log(DDPM_LOG_WARNING, "%s: %lld of %lld pictures cannot be read and are skipped",
                 source->path, (long long)bad, (long long)source->count);
        items->told = bad;
    }
    long long enlarged = atomic_load(&items->enlarged);
    if (enlarged > 0 && !atomic_exchange(&items->enlarged_logged, true))
        ddpm_log(DDPM_LOG_WARNING,
                 "%s: %lld of %lld pictures are smaller than %dx%d and are enlarged", source->path,
                 enlarged, (long long)source->count, source->options.height, source->options.width);
    return DDPM_OK;
}

static ddpm_status sweep_some(struct ddpm_source *source, bool decode, int64_t count)
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
    return sweep.status == DDPM_OK ? judge(source) : sweep.status;
}

static ddpm_status make_items(struct ddpm_source *source)
{
    const struct ddpm_source_options *options = &source->options;
    size_t count = (size_t)source->count;
    DDPM_TRY(DDPM_NEW(&source->items, "a list of pictures"));
    DDPM_TRY(ddpm_new_array((void **)&source->items->state, count, 1, "a list of pictures"));
    if (source->cacheable && options->crop == DDPM_CROP_CENTRE &&
        options->cache_bytes / source->item_bytes >= count) {
        /* calloc's pages take memory only once a picture is written to them. */
        DDPM_TRY(ddpm_new_array((void **)&source->items->cache, count, source->item_bytes,
                                "decoded pictures"));
    }
    return DDPM_OK;
}

/* Decode all pictures of a small folder and some of any other source, and say what they are like.
 */
static ddpm_status notice_some(struct ddpm_source *source)
{
    const int64_t count =
        source->verify_opened || source->count < NOTICED ? source->count : NOTICED;
    struct ddpm_noticed noticed = {0};
    source->noticed = &noticed;
    ddpm_status status = sweep_some(source, true, count);
    source->noticed = NULL;
    if (status == DDPM_OK)
        ddpm_noticed_say(&noticed, source->path, source->options.channels);
    return status;
}

static ddpm_status open_source(struct ddpm_source *source, const char *path)
{
    DDPM_TRY(ddpm_copy_string(&source->path, path));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !source->kind; ++i)
        if (kinds[i]->claims(path))
            source->kind = kinds[i];
    if (!source->kind)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: neither a folder nor a packed file", path);
    DDPM_TRY(source->kind->open(source));
    if (source->count > COUNT_LIMIT)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: got %lld pictures, want at most %lld", path,
                          (long long)source->count, (long long)COUNT_LIMIT);
    DDPM_TRY(make_items(source));
    if (source->kind->check)
        DDPM_TRY(sweep_some(source, false, source->count));
    return notice_some(source);
}

ddpm_status ddpm_source_open(struct ddpm_source **out, const char *path,
                             const struct ddpm_source_options *options)
{
    *out = NULL;
    DDPM_TRY(check_options(options));
    struct ddpm_source *source = NULL;
    DDPM_TRY(DDPM_NEW(&source, "a source of pictures"));
    source->options = *options;
    source->item_bytes =
        (size_t)options->height * (size_t)options->width * (size_t)options->channels;
    ddpm_status status = open_source(source, path);
    if (status != DDPM_OK)
        ddpm_source_close(&source);
    *out = source;
    return status;
}

void ddpm_source_close(struct ddpm_source **source)
{
    struct ddpm_source *closing = *source;
    *source = NULL;
    if (!closing)
        return;
    if (closing->kind)
        closing->kind->close(closing);
    if (closing->items) {
        free((void *)closing->items->state);
        free(closing->items->cache);
        free(closing->items->reason);
    }
    free(closing->items);
    free(closing->path);
    free(closing);
}

int64_t ddpm_source_count(const struct ddpm_source *source)
{
    return source->count;
}

uint64_t ddpm_source_fingerprint(const struct ddpm_source *source)
{
    return source->fingerprint;
}

const char *ddpm_source_name(const struct ddpm_source *source, int64_t index, char *buffer,
                             size_t buffer_bytes)
{
    return source->kind->name_of(source, index, buffer, buffer_bytes);
}

const struct ddpm_source_options *ddpm_source_wanted(const struct ddpm_source *source)
{
    return &source->options;
}

struct ddpm_source_counts ddpm_source_count_kinds(const struct ddpm_source *source)
{
    return (struct ddpm_source_counts){source->count, atomic_load(&source->items->bad),
                                       atomic_load(&source->items->enlarged)};
}

ddpm_status ddpm_source_verify(struct ddpm_source *source)
{
    return source->kind->check ? sweep_some(source, true, source->count) : DDPM_OK;
}

ddpm_status ddpm_source_reader_create(struct ddpm_source_reader **out, struct ddpm_source *source)
{
    DDPM_TRY(DDPM_NEW(out, "a reader of pictures"));
    (*out)->source = source->whole ? source->whole : source;
    (*out)->part = source->whole ? source : NULL;
    return DDPM_OK;
}

void ddpm_source_reader_destroy(struct ddpm_source_reader **reader)
{
    if (!*reader)
        return;
    ddpm_picture_free(&(*reader)->picture);
    ddpm_resizer_free(&(*reader)->resizer);
    free((*reader)->pixels);
    free(*reader);
    *reader = NULL;
}

/* Sources: the table of kinds, the state of each item, replacements for bad ones, the cache of
 * decoded pictures. */
#include "data/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "data/source_items.h"

static const struct ddpm_source_kind *const kinds[] = {
    &ddpm_source_kind_folder,
    &ddpm_source_kind_packed,
};

/* The most items that a permutation can order (core/random.h). */
#define COUNT_LIMIT ((int64_t)1 << 31)

/* After this many warnings about single pictures, log only their number. */
enum { LISTED = 100 };

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

ddpm_status ddpm_source_judge(const struct ddpm_source *source)
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

void ddpm_source_mark_bad(struct ddpm_source *source, int64_t index)
{
    struct ddpm_source_items *items = source->items;
    if (atomic_exchange(&items->state[index], DDPM_ITEM_BAD) == DDPM_ITEM_BAD)
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
    ddpm_log(DDPM_LOG_WARNING, "%s and others like it are smaller than %dx%d and are enlarged",
             ddpm_source_name(source, index, NULL, 0), source->options.height,
             source->options.width);
}

void ddpm_source_note_remark(struct ddpm_source *source, int64_t index, const char *remark)
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
    if (state == DDPM_ITEM_BAD)
        return DDPM_OK;
    *good = true;
    if (state == DDPM_ITEM_CACHED) {
        memcpy(out, cache_place(source, index), source->item_bytes);
        return DDPM_OK;
    }
    /* If several threads decode the same picture, only one may put it into the cache. */
    unsigned char unknown = DDPM_ITEM_UNKNOWN;
    bool first = atomic_compare_exchange_strong(&items->state[index], &unknown, DDPM_ITEM_DECODING);
    bool enlarged = false;
    ddpm_status status = source->kind->read(reader, index, random, out, &enlarged);
    if (status != DDPM_OK) {
        *good = false;
        if (!ddpm_source_is_pictures_fault(source, status)) {
            if (first)
                atomic_store(&items->state[index], DDPM_ITEM_UNKNOWN);
            return status;
        }
        ddpm_source_mark_bad(source, index);
        /* While all items are being checked, do not fail yet, so that every bad one is listed. */
        return items->quiet ? DDPM_OK : ddpm_source_judge(source);
    }
    if (first) {
        if (enlarged)
            note_enlarged(source, index);
        if (reader->picture.remark)
            ddpm_source_note_remark(source, index, reader->picture.remark);
        if (source->noticed)
            notice(reader, out);
        if (items->cache)
            memcpy(cache_place(source, index), out, source->item_bytes);
        atomic_store(&items->state[index], items->cache ? DDPM_ITEM_CACHED : DDPM_ITEM_GOOD);
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

static const struct ddpm_source_kind *kind_of(const char *path)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i)
        if (kinds[i]->claims(path))
            return kinds[i];
    return NULL;
}

static ddpm_status open_source(struct ddpm_source *source, const char *path)
{
    DDPM_TRY(ddpm_copy_string(&source->path, path));
    source->kind = source->array ? &ddpm_source_kind_array : kind_of(path);
    if (!source->kind)
        return ddpm_raise(DDPM_ERROR_FORMAT, "%s: neither a folder nor a packed file", path);
    DDPM_TRY(source->kind->open(source));
    if (source->count > COUNT_LIMIT)
        return ddpm_raise(DDPM_ERROR_UNSUPPORTED, "%s: got %lld pictures, want at most %lld", path,
                          (long long)source->count, (long long)COUNT_LIMIT);
    DDPM_TRY(make_items(source));
    if (source->kind->check)
        DDPM_TRY(ddpm_source_sweep(source, false, source->count));
    return ddpm_source_notice(source);
}

static ddpm_status open_any(struct ddpm_source **out, const char *path,
                            const struct ddpm_picture_array *array,
                            const struct ddpm_source_options *options)
{
    *out = NULL;
    DDPM_TRY(check_options(options));
    struct ddpm_source *source = NULL;
    DDPM_TRY(DDPM_NEW(&source, "a source of pictures"));
    source->options = *options;
    source->array = array;
    source->item_bytes =
        (size_t)options->height * (size_t)options->width * (size_t)options->channels;
    ddpm_status status = open_source(source, path);
    source->array = NULL;
    if (status != DDPM_OK)
        ddpm_source_close(&source);
    *out = source;
    return status;
}

ddpm_status ddpm_source_open(struct ddpm_source **out, const char *path,
                             const struct ddpm_source_options *options)
{
    return open_any(out, path, NULL, options);
}

ddpm_status ddpm_source_open_array(struct ddpm_source **out, const struct ddpm_picture_array *array,
                                   const struct ddpm_source_options *options)
{
    return open_any(out, "the array", array, options);
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

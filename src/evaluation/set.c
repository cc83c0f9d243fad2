/* Sets of pictures. */
#include "evaluation/set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "core/processors.h"
#include "core/threads.h"

_Static_assert(DDPM_PICTURE_KINDS == sizeof((struct ddpm_evaluation *)0)->kinds / sizeof(int64_t),
               "ddpm_evaluation.kinds has a place for every kind");

static ddpm_status check_options(const struct ddpm_picture_set_options *options)
{
    const int height = options->height, width = options->width, channels = options->channels;
    if (options->threads < 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %d threads, want 0 or more", options->threads);
    if (height == 0 && width == 0)
        return DDPM_OK;
    if (height < 1 || width < 1 || height > 1 << 16 || width > 1 << 16 ||
        (channels != 1 && channels != 3 && channels != 4))
        return ddpm_raise(
            DDPM_ERROR_ARGUMENT,
            "got pictures of %dx%d with %d channel%s, want sides of 1 to 65536 and 1, "
            "3 or 4 channels",
            height, width, channels, channels == 1 ? "" : "s");
    return DDPM_OK;
}

static ddpm_status make_workers(struct ddpm_picture_set *set)
{
    const struct ddpm_picture_set_options *o = &set->options;
    DDPM_TRY(ddpm_new_array((void **)&set->workers, (size_t)o->threads, sizeof *set->workers,
                            "threads' memory"));
    for (int i = 0; set->kind && i < o->threads; ++i)
        DDPM_TRY(ddpm_new_array(&set->workers[i].room,
                                set->kind->room(o->network, o->height, o->width, o->channels), 1,
                                "features of a picture"));
    return DDPM_OK;
}

static ddpm_status find_kind(struct ddpm_picture_set *set)
{
    const struct ddpm_picture_set_options *o = &set->options;
    if (!o->features)
        return o->network ? ddpm_raise(DDPM_ERROR_ARGUMENT,
                                       "got a network and no features, want \"inception\"")
                          : DDPM_OK;
    set->kind = ddpm_features_find(o->features);
    if (!set->kind)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got features \"%.80s\", want builtin or inception",
                          o->features);
    set->width = set->kind->width;
    if (set->kind->wants_network == (o->network != NULL))
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "got features \"%s\" %s a network, want %s",
                      set->kind->name, o->network ? "with" : "without",
                      o->network ? "none" : "one of ddpm_feature_network_open()");
}

static ddpm_status fill(struct ddpm_picture_set *set)
{
    struct ddpm_picture_set_options *o = &set->options;
    DDPM_TRY(check_options(o));
    DDPM_TRY(find_kind(set));
    o->features = NULL; /* the caller's text may not live as long */
    o->threads = o->threads > 0 ? o->threads : ddpm_processor_count();
    set->small = (struct ddpm_small){
        .height = o->height < DDPM_SMALL_SIDE ? o->height : DDPM_SMALL_SIDE,
        .width = o->width < DDPM_SMALL_SIDE ? o->width : DDPM_SMALL_SIDE,
        .channels = o->channels,
    };
    return make_workers(set);
}

ddpm_status ddpm_picture_set_create(const struct ddpm_picture_set_options *options,
                                    struct ddpm_picture_set **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    struct ddpm_picture_set *set;
    DDPM_TRY(DDPM_NEW(&set, "a set of pictures"));
    ddpm_status status = ddpm_take_options(&set->options, sizeof set->options, sizeof(size_t),
                                           options, "ddpm_picture_set_options");
    if (status == DDPM_OK)
        status = fill(set);
    if (status != DDPM_OK)
        ddpm_picture_set_destroy(&set);
    *out = set;
    return status;
}

void ddpm_picture_set_destroy(struct ddpm_picture_set **set)
{
    if (!set || !*set)
        return;
    struct ddpm_picture_set *old = *set;
    *set = NULL;
    for (int i = 0; old->workers && i < old->options.threads; ++i) {
        ddpm_resizer_free(&old->workers[i].resizer);
        free(old->workers[i].room);
    }
    free(old->workers);
    free(old->each);
    free(old->pixels);
    free(old->features);
    ddpm_statistics_free(&old->statistics);
    free(old);
}

struct adding {
    struct ddpm_picture_set *set;
    const uint8_t *pictures;
    size_t bytes, small_bytes; /* of one */
};

static void add_range(void *context, int64_t begin, int64_t end, int thread)
{
    const struct adding *adding = context;
    struct ddpm_picture_set *set = adding->set;
    const struct ddpm_picture_set_options *o = &set->options;
    struct ddpm_set_worker *worker = &set->workers[thread];
    const struct ddpm_placement placement = {.height = set->small.height,
                                             .width = set->small.width};
    for (int64_t i = begin; i < end && worker->status == DDPM_OK; ++i) {
        const uint8_t *picture = adding->pictures + (size_t)i * adding->bytes;
        const int64_t place = set->count + i;
        set->each[place] = ddpm_picture_kind_of(picture, o->height, o->width, o->channels);
        worker->status = ddpm_resize_crop(
            &worker->resizer, picture, o->height, o->width, o->channels, &placement,
            placement.height, placement.width, set->pixels + (size_t)place * adding->small_bytes);
        if (set->kind && worker->status == DDPM_OK)
            worker->status =
                set->kind->compute(o->network, picture, o->height, o->width, o->channels,
                                   worker->room, set->features + place * set->width);
    }
}

static size_t small_bytes(const struct ddpm_picture_set *set)
{
    return (size_t)set->small.height * (size_t)set->small.width * (size_t)set->small.channels;
}

ddpm_status ddpm_picture_set_make_room(struct ddpm_picture_set *set, int64_t count)
{
    const size_t total = (size_t)(set->count + count);
    DDPM_TRY(ddpm_grow_array((void **)&set->each, &set->each_capacity, total, sizeof *set->each,
                             "kinds of pictures"));
    DDPM_TRY(ddpm_grow_array((void **)&set->pixels, &set->pixel_capacity, total * small_bytes(set),
                             1, "small copies of pictures"));
    if (!set->kind)
        return DDPM_OK;
    return ddpm_grow_array((void **)&set->features, &set->feature_capacity,
                           total * (size_t)set->width, sizeof(float), "features");
}

void ddpm_picture_set_count_in(struct ddpm_picture_set *set, int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        ++set->kinds[set->each[set->count + i]];
    set->count += count;
    set->rows = set->kind ? set->count : 0;
    set->small.count = set->count;
    set->small.pixels = set->pixels;
}

/* Check the features of the last `count` pictures: with bad weights a network overflows. */
static ddpm_status check_features(const struct ddpm_picture_set *set, int64_t count)
{
    if (!set->kind || !set->kind->wants_network)
        return DDPM_OK;
    const float *features = set->features + set->count * set->width;
    for (int64_t i = 0; i < count * set->width; ++i)
        if (!isfinite(features[i]))
            return ddpm_raise(DDPM_ERROR_NOT_FINITE,
                              "got %g as a feature of picture %lld, want finite numbers: do the "
                              "weights belong to this network?",
                              (double)features[i], (long long)(set->count + i / set->width));
    return DDPM_OK;
}

ddpm_status ddpm_picture_set_add(struct ddpm_picture_set *set, const uint8_t *pictures,
                                 int64_t count, size_t bytes)
{
    DDPM_REQUIRE(set);
    DDPM_REQUIRE(pictures);
    const struct ddpm_picture_set_options *o = &set->options;
    struct adding adding = {
        .set = set,
        .pictures = pictures,
        .bytes = (size_t)o->height * (size_t)o->width * (size_t)o->channels,
        .small_bytes = small_bytes(set),
    };
    if (adding.bytes == 0 || count < 1 || (!set->kind && set->rows > 0))
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got %lld pictures for a set that has a size of %dx%d and %lld rows of "
                          "features, want at least one picture, a set with a size, and the "
                          "pictures before the features",
                          (long long)count, o->height, o->width, (long long)set->rows);
    DDPM_TRY(ddpm_check_length("pictures", bytes, (double)count * (double)adding.bytes));
    DDPM_TRY(ddpm_picture_set_make_room(set, count));
    for (int i = 0; i < o->threads; ++i)
        set->workers[i].status = DDPM_OK;
    ddpm_parallel_for(o->threads, count, 1, add_range, &adding);
    for (int i = 0; i < o->threads; ++i)
        if (set->workers[i].status !=
            DDPM_OK) /* the only failure possible for pictures of one size */
            return ddpm_raise_memory(adding.bytes, "a small copy of a picture");
    DDPM_TRY(check_features(set, count));
    ddpm_picture_set_count_in(set, count);
    return DDPM_OK;
}

ddpm_status ddpm_picture_set_give(struct ddpm_picture_set *set, const float *features,
                                  int64_t count, int64_t width, size_t values)
{
    DDPM_REQUIRE(set);
    DDPM_REQUIRE(features);
    if (set->kind || set->rows > 0 || set->statistics.width > 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got features for a set that has some already");
    if (count < 1 || width < 1)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got features [%lld,%lld], want at least [1,1]",
                          (long long)count, (long long)width);
    if (set->count > 0 && set->count != count)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "got features of %lld pictures, want those of the %lld in the set",
                          (long long)count, (long long)set->count);
    DDPM_TRY(ddpm_check_length("features", values, (double)count * (double)width));
    for (size_t i = 0; i < values; ++i)
        if (!isfinite(features[i]))
            return ddpm_raise(DDPM_ERROR_NOT_FINITE,
                              "got the feature %g of picture %lld, want finite numbers",
                              (double)features[i], (long long)i / width);
    DDPM_TRY(ddpm_grow_array((void **)&set->features, &set->feature_capacity, values, sizeof(float),
                             "features"));
    memcpy(set->features, features, values * sizeof *features);
    set->rows = count;
    set->width = width;
    return DDPM_OK;
}

int64_t ddpm_picture_set_count(const struct ddpm_picture_set *set)
{
    return !set ? 0 : set->count > 0 ? set->count : set->rows;
}

const float *ddpm_picture_set_features(const struct ddpm_picture_set *set, int64_t *width)
{
    if (width)
        *width = set && set->rows > 0 ? set->width : 0;
    return set && set->rows > 0 ? set->features : NULL;
}

/* Comparing two sets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arguments.h"
#include "core/memory.h"
#include "core/processors.h"
#include "evaluation/estimate.h"
#include "evaluation/manifold.h"
#include "evaluation/set.h"

/* The share of real pictures that count as near to another real one. */
#define QUANTILE 0.05

static const char no_features[] = "no features of both sets";
static const char no_pictures[] = "no pictures of both sets";
static const char only_statistics[] = "only mean and covariance of the real pictures are known";

/* The result, and the arrays that it points to. */
struct result {
    struct ddpm_evaluation evaluation; /* first: its address is the caller's */
    struct ddpm_neighbour *pixel_real, *pixel_own;
    struct ddpm_manifold manifold;
};

struct comparison {
    const struct ddpm_picture_set *generated, *real, *held_out; /* the last may be NULL */
    struct ddpm_watch watch;
    int threads;
    struct result *result;
};

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The quantile of the distances, interpolated linearly like numpy.quantile. */
static ddpm_status find_threshold(const struct ddpm_neighbour *neighbours, int64_t count,
                                  double *out)
{
    double *distances;
    DDPM_TRY(ddpm_new_array((void **)&distances, (size_t)count, sizeof *distances, "distances"));
    for (int64_t i = 0; i < count; ++i)
        distances[i] = neighbours[i].distance;
    qsort(distances, (size_t)count, sizeof *distances, compare_doubles);
    const double place = QUANTILE * (double)(count - 1);
    const int64_t below = (int64_t)place, above = below + 1 < count ? below + 1 : below;
    *out = distances[below] + (place - (double)below) * (distances[above] - distances[below]);
    free(distances);
    return DDPM_OK;
}

/* The nearest real picture of each held-out and of each real picture, and, to detect repetition,
 * the nearest among the same number of others in both sets. */
struct chance {
    const struct ddpm_neighbour *held_out, *real, *real_few, *generated_few;
    int64_t held_out_count, real_count;
};

/* Find the thresholds and count the generated pictures within them. */
static ddpm_status judge(const struct chance *chance, struct ddpm_neighbours *out)
{
    DDPM_TRY(find_threshold(chance->real_few, chance->real_count, &out->own_threshold));
    if (chance->held_out)
        DDPM_TRY(find_threshold(chance->held_out, chance->held_out_count, &out->threshold));
    else
        DDPM_TRY(find_threshold(chance->real, chance->real_count, &out->threshold));
    for (int64_t i = 0; i < out->count; ++i) {
        out->near += out->real[i].distance <= out->threshold;
        out->same += out->real[i].distance == 0;
        out->near_own += chance->generated_few[i].distance <= out->own_threshold;
        out->same_own += out->own[i].distance == 0;
    }
    return DDPM_OK;
}

static ddpm_status pixels_held_out(struct comparison *c, const struct ddpm_small *held_out,
                                   const struct ddpm_small *real, struct ddpm_neighbour **out)
{
    DDPM_TRY(ddpm_new_neighbours(out, held_out->count));
    ddpm_watch_next(&c->watch, held_out->count);
    return ddpm_pixel_neighbours(held_out, real, true, c->threads, &c->watch,
                                 "pixels, held out to real", *out);
}

/* Arrays that only the verdict needs. */
struct pixel_work {
    struct ddpm_neighbour *real_real, *real_few, *generated_few, *held_out_real;
};

static ddpm_status allocate_pixels(struct comparison *c, struct pixel_work *work)
{
    const int64_t generated = c->generated->small.count, real = c->real->small.count;
    DDPM_TRY(ddpm_new_neighbours(&c->result->pixel_real, generated));
    DDPM_TRY(ddpm_new_neighbours(&c->result->pixel_own, generated));
    DDPM_TRY(ddpm_new_neighbours(&work->generated_few, generated));
    DDPM_TRY(ddpm_new_neighbours(&work->real_real, real));
    return ddpm_new_neighbours(&work->real_few, real);
}

static ddpm_status find_pixel_neighbours(struct comparison *c, struct pixel_work *work)
{
    struct result *result = c->result;
    const struct ddpm_small *generated = &c->generated->small, *real = &c->real->small;
    const int64_t few = ddpm_fewer_others(generated->count, real->count);
    ddpm_watch_next(&c->watch, real->count);
    DDPM_TRY(ddpm_pixel_neighbours_within(real, true, few, c->threads, &c->watch,
                                          "pixels, real to real", work->real_real, work->real_few));
    ddpm_watch_next(&c->watch, generated->count);
    DDPM_TRY(ddpm_pixel_neighbours_within(generated, true, few, c->threads, &c->watch,
                                          "pixels, generated to generated", result->pixel_own,
                                          work->generated_few));
    ddpm_watch_next(&c->watch, generated->count);
    DDPM_TRY(ddpm_pixel_neighbours(generated, real, true, c->threads, &c->watch,
                                   "pixels, generated to real", result->pixel_real));
    return c->held_out ? pixels_held_out(c, &c->held_out->small, real, &work->held_out_real)
                       : DDPM_OK;
}

static ddpm_status compare_pixels(struct comparison *c)
{
    struct result *result = c->result;
    struct pixel_work work = {0};
    ddpm_status status = allocate_pixels(c, &work);
    if (status == DDPM_OK)
        status = find_pixel_neighbours(c, &work);
    result->evaluation.pixels = (struct ddpm_neighbours){
        .count = c->generated->small.count,
        .real = result->pixel_real,
        .own = result->pixel_own,
    };
    if (status == DDPM_OK)
        status =
            judge(&(struct chance){.real = work.real_real,
                                   .real_few = work.real_few,
                                   .generated_few = work.generated_few,
                                   .real_count = c->real->small.count,
                                   .held_out = work.held_out_real,
                                   .held_out_count = c->held_out ? c->held_out->small.count : 0},
                  &result->evaluation.pixels);
    free(work.real_real);
    free(work.real_few);
    free(work.generated_few);
    free(work.held_out_real);
    return status;
}

static ddpm_status compare_features(struct comparison *c, const struct ddpm_rows *generated,
                                    const struct ddpm_rows *real)
{
    struct ddpm_manifold *manifold = &c->result->manifold;
    struct ddpm_evaluation *out = &c->result->evaluation;
    DDPM_TRY(ddpm_manifold_measure(generated, real, c->threads, &c->watch, manifold));
    out->kernel = manifold->metrics[DDPM_METRIC_KERNEL];
    out->precision = manifold->metrics[DDPM_METRIC_PRECISION];
    out->recall = manifold->metrics[DDPM_METRIC_RECALL];
    out->density = manifold->metrics[DDPM_METRIC_DENSITY];
    out->coverage = manifold->metrics[DDPM_METRIC_COVERAGE];
    out->features = (struct ddpm_neighbours){
        .count = generated->count,
        .real = manifold->generated_real,
        .own = manifold->generated_own,
    };
    struct chance chance = {.real = manifold->real_real,
                            .real_few = manifold->real_few,
                            .generated_few = manifold->generated_few,
                            .real_count = real->count};
    struct ddpm_neighbour *nearest = NULL;
    ddpm_status status = DDPM_OK;
    if (c->held_out) {
        const struct ddpm_rows held_out = {c->held_out->features, c->held_out->rows, real->width};
        status = ddpm_new_neighbours(&nearest, held_out.count);
        ddpm_watch_next(&c->watch, held_out.count);
        if (status == DDPM_OK)
            status = ddpm_feature_neighbours(&held_out, real, c->threads, &c->watch,
                                             "features, held out to real", nearest);
        chance.held_out = nearest;
        chance.held_out_count = held_out.count;
    }
    if (status == DDPM_OK)
        status = judge(&chance, &out->features);
    free(nearest);
    return status;
}

static ddpm_status compare_statistics(struct comparison *c, const struct ddpm_rows *generated,
                                      const struct ddpm_rows *real)
{
    struct ddpm_estimate *out = &c->result->evaluation.frechet;
    struct ddpm_statistics statistics = {0};
    const bool known = c->real->statistics.width > 0;
    const char *obstacle =
        ddpm_frechet_obstacle(generated->count, known ? 0 : real->count, generated->width);
    ddpm_watch_next(&c->watch, generated->count / 4);
    if (obstacle) {
        *out = ddpm_estimate_missing(obstacle);
        return DDPM_OK;
    }
    if (known)
        return ddpm_frechet(generated, &c->real->statistics, c->threads, &c->watch, out);
    ddpm_status status = ddpm_statistics_allocate(&statistics, real->width);
    if (status == DDPM_OK)
        status = ddpm_covariance(real, c->threads, statistics.mean, statistics.covariance);
    if (status == DDPM_OK)
        status = ddpm_frechet(generated, &statistics, c->threads, &c->watch, out);
    ddpm_statistics_free(&statistics);
    return status;
}

static ddpm_status check_count(const char *which, int64_t count)
{
    if (count >= DDPM_EVALUATE_LEAST)
        return DDPM_OK;
    return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %lld %s pictures, want at least %d",
                      (long long)count, which, DDPM_EVALUATE_LEAST);
}

static ddpm_status check(const struct comparison *c)
{
    const struct ddpm_picture_set *generated = c->generated, *real = c->real;
    const bool statistics = real->statistics.width > 0;
    const int64_t width = statistics ? real->statistics.width : real->rows ? real->width : 0;
    const struct ddpm_small *a = &generated->small, *b = &real->small;
    DDPM_TRY(check_count("generated", ddpm_picture_set_count(generated)));
    if (!statistics)
        DDPM_TRY(check_count("real", ddpm_picture_set_count(real)));
    if (generated->rows > 0 && width > 0 && generated->width != width)
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "got features of width %lld for the generated pictures and %lld for the "
                          "real ones, want the same",
                          (long long)generated->width, (long long)width);
    if (a->count > 0 && b->count > 0 &&
        (generated->options.height != real->options.height ||
         generated->options.width != real->options.width || a->channels != b->channels))
        return ddpm_raise(
            DDPM_ERROR_MISMATCH,
            "got generated pictures of %dx%dx%d and real ones of %dx%dx%d, want the same size",
            generated->options.height, generated->options.width, a->channels, real->options.height,
            real->options.width, b->channels);
    if (generated->rows == 0 || width == 0)
        return a->count > 0 && b->count > 0
                   ? DDPM_OK
                   : ddpm_raise(DDPM_ERROR_ARGUMENT,
                                "got sets that have neither features nor pictures in common");
    return DDPM_OK;
}

/* Held-out pictures must have everything that both other sets have. */
static ddpm_status check_held_out(const struct comparison *c)
{
    const struct ddpm_picture_set *held_out = c->held_out, *real = c->real;
    const struct ddpm_small *a = &held_out->small, *b = &real->small;
    DDPM_TRY(check_count("held-out", ddpm_picture_set_count(held_out)));
    if (real->statistics.width > 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT,
                          "got held-out pictures, but only mean and covariance of the real ones, "
                          "so there are no distances");
    if ((real->rows > 0 && c->generated->rows > 0) &&
        (held_out->rows == 0 || held_out->width != real->width))
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "got features of width %lld for the held-out pictures and %lld for the "
                          "real ones, want the same",
                          (long long)held_out->width, (long long)real->width);
    if (b->count > 0 && c->generated->small.count > 0 &&
        (a->count == 0 || held_out->options.height != real->options.height ||
         held_out->options.width != real->options.width || a->channels != b->channels))
        return ddpm_raise(DDPM_ERROR_MISMATCH,
                          "got held-out pictures of %dx%dx%d and real ones of %dx%dx%d, want the "
                          "same size",
                          held_out->options.height, held_out->options.width, a->channels,
                          real->options.height, real->options.width, b->channels);
    return DDPM_OK;
}

/* The reason until it is computed. */
static void miss_all(struct ddpm_evaluation *out, const char *features)
{
    out->kernel = out->precision = out->recall = out->density = out->coverage =
        ddpm_estimate_missing(features);
    out->frechet = ddpm_estimate_missing(no_features);
    out->pixels.missing = no_pictures;
    out->features.missing = features;
}

/* Units of all parts: the rows that are compared with all others, and a quarter of a pass for the
 * Fréchet distance. */
static int64_t units_of(const struct comparison *c, bool features, bool pixels)
{
    const int64_t pass = c->real->count > c->real->rows ? c->real->count : c->real->rows;
    const int64_t generated = ddpm_picture_set_count(c->generated);
    const int64_t held_out = c->held_out ? ddpm_picture_set_count(c->held_out) : 0;
    const int64_t passes = pass > 0 ? pass + 2 * generated + held_out : 0;
    return (features ? generated / 4 + passes : 0) + (pixels ? passes : 0);
}

static ddpm_status compare(struct comparison *c)
{
    struct ddpm_evaluation *out = &c->result->evaluation;
    const struct ddpm_picture_set *g = c->generated, *r = c->real;
    const struct ddpm_rows generated = {g->features, g->rows, g->width};
    const struct ddpm_rows real = {r->features, r->rows, r->width};
    const bool statistics = r->statistics.width > 0;
    const bool features = generated.count > 0 && (statistics || real.count > 0);
    const bool pixels = g->small.count > 0 && r->small.count > 0;
    out->generated = ddpm_picture_set_count(g);
    out->real = ddpm_picture_set_count(r);
    out->held_out = c->held_out ? ddpm_picture_set_count(c->held_out) : 0;
    for (int kind = 0; kind < DDPM_PICTURE_KINDS; ++kind)
        out->kinds[kind] = g->kinds[kind];
    miss_all(out, statistics ? only_statistics : no_features);
    c->watch.total = units_of(c, features, pixels);
    if (features) {
        out->width = generated.width;
        DDPM_TRY(compare_statistics(c, &generated, &real));
        if (!statistics)
            DDPM_TRY(compare_features(c, &generated, &real));
    }
    return pixels ? compare_pixels(c) : DDPM_OK;
}

ddpm_status ddpm_evaluate(const struct ddpm_picture_set *generated,
                          const struct ddpm_picture_set *real,
                          const struct ddpm_evaluate_options *given, struct ddpm_evaluation **out)
{
    DDPM_REQUIRE(out);
    *out = NULL;
    DDPM_REQUIRE(generated);
    DDPM_REQUIRE(real);
    struct ddpm_evaluate_options options;
    DDPM_TRY(ddpm_take_options(&options, sizeof options, sizeof(size_t), given,
                               "ddpm_evaluate_options"));
    if (options.threads < 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "got %d threads, want 0 or more", options.threads);
    struct comparison comparison = {
        .generated = generated,
        .real = real,
        .held_out = options.held_out,
        .watch = {.callback = options.callback, .user = options.user},
        .threads = options.threads > 0 ? options.threads : ddpm_processor_count(),
    };
    DDPM_TRY(check(&comparison));
    if (options.held_out)
        DDPM_TRY(check_held_out(&comparison));
    DDPM_TRY(DDPM_NEW(&comparison.result, "results"));
    struct ddpm_evaluation *made = &comparison.result->evaluation;
    ddpm_status status = compare(&comparison);
    if (status != DDPM_OK)
        ddpm_evaluation_destroy(&made);
    *out = made;
    return status;
}

void ddpm_evaluation_destroy(struct ddpm_evaluation **evaluation)
{
    if (!evaluation || !*evaluation)
        return;
    struct result *result = (struct result *)*evaluation;
    *evaluation = NULL;
    free(result->pixel_real);
    free(result->pixel_own);
    ddpm_manifold_free(&result->manifold);
    free(result);
}

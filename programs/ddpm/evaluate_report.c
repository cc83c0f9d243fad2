/* The results in words. */
#include "evaluate_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "data/resize.h"
#include "formats/file.h"
#include "formats/json.h"
#include "grid_file.h"
#include "health.h"
#include "progress.h"
#include "streams.h"

/* How many pairs a sheet and JSON show, and how many are printed. */
enum { PAIRS = 16, PRINTED = 3 };

/* Pictures on a sheet are enlarged to about this many pixels a side: they are compared by eye. */
enum { SHEET_SIDE = 128 };

/* The threshold is the distance within which this share of real pictures has another real one. */
#define EXPECTED 0.05

struct row {
    const char *key, *title, *note; /* the title 18 columns wide */
    const struct ddpm_estimate *estimate;
};

enum { ROWS = 6 };

static void list_rows(const struct ddpm_evaluation *e, struct row rows[ROWS])
{
    const struct row all[ROWS] = {
        {"frechet", "Fréchet distance  ", "0: the same distribution", &e->frechet},
        {"kernel", "kernel distance   ", "0 on average: the same", &e->kernel},
        {"precision", "precision, k = 3  ", "generated that look real", &e->precision},
        {"recall", "recall, k = 3     ", "real that could be generated", &e->recall},
        {"density", "density, k = 5    ", "1: as dense around real ones", &e->density},
        {"coverage", "coverage, k = 5   ", "real with a generated one nearby", &e->coverage},
    };
    memcpy(rows, all, sizeof all);
}

void ddpm_evaluate_warn(const struct ddpm_evaluate_report *report)
{
    const struct ddpm_evaluation *e = report->found;
    const int64_t wanted = 4 * e->width;
    const int64_t fewer = e->real > 0 && e->real < e->generated ? e->real : e->generated;
    if (!e->frechet.missing && fewer < wanted)
        ddpm_log(DDPM_LOG_WARNING,
                 "%" PRId64 " pictures are too few for features of width %" PRId64
                 ": the Fréchet distance is too large; use %" PRId64
                 " or more, or compare it only with one from as many pictures",
                 fewer, e->width, wanted);
}

static void print_rows(const struct ddpm_evaluation *e)
{
    struct row rows[ROWS];
    list_rows(e, rows);
    printf("\n%-18s %10s  95 %% interval\n", "", "");
    for (int i = 0; i < ROWS; ++i) {
        const struct ddpm_estimate *estimate = rows[i].estimate;
        char interval[64];
        if (estimate->missing) {
            printf("%s          –  %s\n", rows[i].title, estimate->missing);
            continue;
        }
        snprintf(interval, sizeof interval, "%.4g to %.4g", estimate->low, estimate->high);
        printf("%s %10.4g  %-24s %s\n", rows[i].title, estimate->value, interval, rows[i].note);
    }
}

/* How many standard deviations of independent draws above EXPECTED a share may be by chance. Draws
 * near to each other are not independent: they come in pairs, and some are near to many. */
#define DEVIATIONS 3.0 /* 1 of 700 by chance */
#define OWN_DEVIATIONS 6.0

static double most_by_chance(int64_t count, double deviations)
{
    return EXPECTED + deviations * sqrt(EXPECTED * (1 - EXPECTED) / (double)count);
}

static bool too_many(int64_t near, int64_t count, double deviations)
{
    return (double)near / (double)count > most_by_chance(count, deviations);
}

/* "no sign of copies", or what else the distances show. */
static const char *verdict(const struct ddpm_neighbours *neighbours, bool held_out)
{
    if (neighbours->missing)
        return "unknown";
    if (neighbours->threshold == 0)
        return held_out ? "no verdict: 5 % of the held-out pictures are among the real ones"
                        : "no verdict: 5 % of the real pictures have an exact duplicate";
    if (too_many(neighbours->near, neighbours->count, DEVIATIONS))
        return "MORE THAN CHANCE EXPLAINS: look at the pairs for copies";
    return neighbours->same > 0 ? "NO MORE THAN CHANCE EXPLAINS, but some are exact copies"
                                : "no sign of copies";
}

static const char *own_verdict(const struct ddpm_neighbours *neighbours)
{
    if (neighbours->missing || neighbours->own_threshold == 0)
        return "unknown";
    return too_many(neighbours->near_own, neighbours->count, OWN_DEVIATIONS)
               ? "MORE THAN AMONG REAL ONES: the generated pictures repeat each other"
               : "no sign of repetition";
}

/* "0 of 16 (0.0 %) are suspiciously near a real picture (within 8.995)" */
static void print_near(const struct ddpm_neighbours *n, int64_t near, const char *what,
                       double threshold)
{
    printf("%" PRId64 " of %" PRId64 " (%.1f %%) are suspiciously near %s (within %.4g)", near,
           n->count, 100 * (double)near / (double)n->count, what, threshold);
}

static void print_equal(int64_t same)
{
    if (same > 0)
        printf(", %" PRId64 " at distance 0", same);
}

static void print_neighbours(const char *by, const struct ddpm_neighbours *n, bool held_out)
{
    if (n->missing) {
        printf("by %-9s –  %s\n", by, n->missing);
        return;
    }
    printf("by %-9s ", by);
    print_near(n, n->near, "a real picture", n->threshold);
    printf("%s", held_out ? ", as 5 % of the held-out ones are" : "; 5 % would be by chance");
    print_equal(n->same);
    printf(": %s\n             ", verdict(n, held_out));
    print_near(n, n->near_own, "another generated one", n->own_threshold);
    printf("; 5 %% would be by chance");
    print_equal(n->same_own);
    printf(": %s\n", own_verdict(n));
}

/* The shares that the verdicts compare with; fewer pictures leave more to chance. */
static void print_limits(const struct ddpm_evaluation *e)
{
    if (e->pixels.missing && e->features.missing)
        return;
    printf("limits       by chance, up to %.1f %% are that near a real picture, and up to "
           "%.1f %% that near another generated one\n",
           100 * most_by_chance(e->generated, DEVIATIONS),
           100 * most_by_chance(e->generated, OWN_DEVIATIONS));
}

struct order {
    double distance;
    int64_t index;
};

static int compare_order(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The generated pictures nearest to a real one by pixels; returns how many. */
static ddpm_status find_pairs(const struct ddpm_evaluation *e, int64_t pairs[PAIRS], int *count)
{
    const struct ddpm_neighbours *n = &e->pixels;
    struct order *order;
    *count = 0;
    if (n->missing)
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&order, (size_t)n->count, sizeof *order, "an order"));
    for (int64_t i = 0; i < n->count; ++i)
        order[i] = (struct order){n->real[i].distance, i};
    qsort(order, (size_t)n->count, sizeof *order, compare_order);
    for (; *count < PAIRS && *count < n->count; ++*count)
        pairs[*count] = order[*count].index;
    free(order);
    return DDPM_OK;
}

static ddpm_status print_pairs(const struct ddpm_evaluate_report *report)
{
    int64_t pairs[PAIRS];
    int count;
    char room[32];
    DDPM_TRY(find_pairs(report->found, pairs, &count));
    for (int i = 0; i < count && i < PRINTED; ++i) {
        const struct ddpm_neighbour *nearest = &report->found->pixels.real[pairs[i]];
        ddpm_print_text(i == 0 ? "nearest      " : "             ",
                        ddpm_side_name(report->generated, pairs[i], room, sizeof room), " and ");
        ddpm_print_text("", ddpm_side_name(report->real, nearest->index, room, sizeof room), "");
        printf("%s: %.4g\n", nearest->mirrored ? ", mirrored" : "", nearest->distance);
    }
    return DDPM_OK;
}

ddpm_status ddpm_evaluate_print(const struct ddpm_evaluate_report *report)
{
    const struct ddpm_evaluation *e = report->found;
    const struct ddpm_side_shape *shape = &report->generated->shape;
    char kinds[DDPM_KINDS_TEXT_BYTES];
    printf("generated    %" PRId64 " pictures", e->generated);
    if (shape->height > 0)
        printf(" of %dx%d", shape->height, shape->width);
    ddpm_print_text(": ", report->generated->path, "\n");
    if (e->real > 0)
        printf("real         %" PRId64 " pictures", e->real);
    else
        printf("real         mean and covariance");
    ddpm_print_text(": ", report->real->path, "\n");
    if (e->held_out > 0) {
        printf("held out     %" PRId64 " pictures", e->held_out);
        ddpm_print_text(": ", report->held_out->path, "\n");
    }
    if (e->width > 0)
        printf("features     %s, %" PRId64 " numbers for each picture\n", report->features,
               e->width);
    print_rows(e);
    printf("\n");
    print_neighbours("pixels", &e->pixels, e->held_out > 0);
    print_neighbours("features", &e->features, e->held_out > 0);
    print_limits(e);
    DDPM_TRY(print_pairs(report));
    if (ddpm_kinds_any(e->kinds))
        printf("empty        %s\n", ddpm_kinds_text(kinds, e->kinds));
    ddpm_progress_remark("ddpm evaluate --help-all says what these numbers mean");
    return DDPM_OK;
}

static ddpm_status put_estimate(json_t *object, const char *key, const struct ddpm_estimate *e)
{
    json_t *value = e->missing ? json_pack("{s:s}", "missing", e->missing)
                               : json_pack("{s:f, s:f, s:f, s:f}", "value", e->value, "error",
                                           e->error, "low", e->low, "high", e->high);
    return ddpm_json_put(object, key, value);
}

static ddpm_status put_neighbours(json_t *object, const char *key, const struct ddpm_neighbours *n,
                                  bool held_out)
{
    json_t *value =
        n->missing
            ? json_pack("{s:s}", "missing", n->missing)
            : json_pack("{s:f, s:I, s:f, s:I, s:s, s:f, s:I, s:I, s:s}", "threshold", n->threshold,
                        "near", (json_int_t)n->near, "share", (double)n->near / (double)n->count,
                        "same", (json_int_t)n->same, "verdict", verdict(n, held_out),
                        "own_threshold", n->own_threshold, "near_own", (json_int_t)n->near_own,
                        "same_own", (json_int_t)n->same_own, "own_verdict", own_verdict(n));
    return ddpm_json_put(object, key, value);
}

/* Leave out a name that is not UTF-8: its index identifies the picture. */
static ddpm_status put_name(json_t *object, const char *key, const char *name)
{
    return ddpm_json_is_text(name) ? ddpm_json_put_text(object, key, name) : DDPM_OK;
}

static ddpm_status append_pair(const struct ddpm_evaluate_report *report, json_t *list,
                               int64_t index)
{
    const struct ddpm_neighbour *nearest = &report->found->pixels.real[index];
    char room[32];
    json_t *pair = json_pack("{s:I, s:I, s:f, s:b}", "index", (json_int_t)index, "real_index",
                             (json_int_t)nearest->index, "distance", nearest->distance, "mirrored",
                             nearest->mirrored);
    if (!pair || json_array_append_new(list, pair) != 0)
        return ddpm_raise_memory(sizeof room, "JSON values");
    DDPM_TRY(
        put_name(pair, "generated", ddpm_side_name(report->generated, index, room, sizeof room)));
    return put_name(pair, "real", ddpm_side_name(report->real, nearest->index, room, sizeof room));
}

static ddpm_status put_pairs(const struct ddpm_evaluate_report *report, json_t *object)
{
    int64_t pairs[PAIRS];
    int count;
    json_t *list = json_array();
    DDPM_TRY(ddpm_json_put(object, "nearest", list));
    DDPM_TRY(find_pairs(report->found, pairs, &count));
    for (int i = 0; i < count; ++i)
        DDPM_TRY(append_pair(report, list, pairs[i]));
    return DDPM_OK;
}

static ddpm_status put_kinds(json_t *object, const struct ddpm_evaluation *e)
{
    const int64_t *kinds = e->kinds;
    return ddpm_json_put(object, "kinds",
                         json_pack("{s:I, s:I, s:I, s:I, s:I}", "black",
                                   (json_int_t)kinds[DDPM_PICTURE_BLACK], "white",
                                   (json_int_t)kinds[DDPM_PICTURE_WHITE], "one_colour",
                                   (json_int_t)kinds[DDPM_PICTURE_ONE_COLOUR], "saturated",
                                   (json_int_t)kinds[DDPM_PICTURE_SATURATED], "noise",
                                   (json_int_t)kinds[DDPM_PICTURE_NOISE]));
}

static ddpm_status fill_json(const struct ddpm_evaluate_report *report, json_t *object)
{
    const struct ddpm_evaluation *e = report->found;
    struct row rows[ROWS];
    list_rows(e, rows);
    DDPM_TRY(ddpm_json_put(object, "generated", json_integer(e->generated)));
    DDPM_TRY(ddpm_json_put(object, "real", json_integer(e->real)));
    DDPM_TRY(ddpm_json_put(object, "held_out", json_integer(e->held_out)));
    DDPM_TRY(ddpm_json_put(object, "features", json_string(report->features)));
    DDPM_TRY(ddpm_json_put(object, "width", json_integer(e->width)));
    for (int i = 0; i < ROWS; ++i)
        DDPM_TRY(put_estimate(object, rows[i].key, rows[i].estimate));
    DDPM_TRY(put_neighbours(object, "by_pixels", &e->pixels, e->held_out > 0));
    DDPM_TRY(put_neighbours(object, "by_features", &e->features, e->held_out > 0));
    DDPM_TRY(put_pairs(report, object));
    return put_kinds(object, e);
}

ddpm_status ddpm_evaluate_print_json(const struct ddpm_evaluate_report *report)
{
    json_t *object = json_object();
    ddpm_status status = object ? fill_json(report, object) : ddpm_raise_memory(64, "JSON values");
    if (status == DDPM_OK)
        status = ddpm_print_json(object);
    json_decref(object);
    return status;
}

/* Copy a picture into the left or right half of a cell. */
static void place(uint8_t *cell, const uint8_t *picture, const struct ddpm_side_shape *shape,
                  bool right)
{
    const size_t line = (size_t)shape->width * (size_t)shape->channels;
    for (int y = 0; y < shape->height; ++y)
        memcpy(cell + (2 * (size_t)y + (right ? 1 : 0)) * line, picture + (size_t)y * line, line);
}

static ddpm_status fill_cell(const struct ddpm_evaluate_report *report, int64_t index,
                             uint8_t *picture, uint8_t *cell)
{
    const struct ddpm_side_shape *shape = &report->generated->shape;
    const struct ddpm_neighbour *nearest = &report->found->pixels.real[index];
    DDPM_TRY(ddpm_side_picture(report->generated, index, picture));
    place(cell, picture, shape, false);
    DDPM_TRY(ddpm_side_picture(report->real, nearest->index, picture));
    if (nearest->mirrored)
        ddpm_flip_horizontal(picture, shape->height, shape->width, shape->channels);
    place(cell, picture, shape, true);
    return DDPM_OK;
}

ddpm_status ddpm_evaluate_write_sheet(const struct ddpm_evaluate_report *report, const char *path)
{
    const struct ddpm_side_shape *shape = &report->generated->shape;
    const struct ddpm_metadata metadata = {.texts = {{"Software", "ddpm.c " DDPM_VERSION}},
                                           .count = 1};
    const size_t bytes = (size_t)shape->height * (size_t)shape->width * (size_t)shape->channels;
    int64_t pairs[PAIRS];
    int count;
    uint8_t *room = NULL;
    DDPM_TRY(find_pairs(report->found, pairs, &count));
    if (count == 0)
        return ddpm_raise(DDPM_ERROR_ARGUMENT, "option --sheet: want pictures on both sides");
    const int side = shape->height > shape->width ? shape->height : shape->width;
    const int scale = side < SHEET_SIDE ? SHEET_SIDE / side : 1;
    const struct ddpm_grid_shape grid = {count, shape->height, 2 * shape->width, shape->channels,
                                         scale};
    DDPM_TRY(ddpm_new_array((void **)&room, (size_t)(2 * count + 1), bytes, "pairs of pictures"));
    ddpm_status status = DDPM_OK;
    for (int i = 0; i < count && status == DDPM_OK; ++i)
        status = fill_cell(report, pairs[i], room, room + (size_t)(2 * i + 1) * bytes);
    if (status == DDPM_OK)
        status = ddpm_grid_write(path, &grid, room + bytes, &metadata);
    free(room);
    return status;
}

ddpm_status ddpm_evaluate_check_files(const struct ddpm_arguments *arguments)
{
    static const char *const names[] = {"sheet", "save-statistics"};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        const char *path = ddpm_arguments_get(arguments, names[i]);
        struct ddpm_file *file = NULL;
        if (!path || (ddpm_path_exists(path) && !ddpm_path_is_directory(path))) /* maybe a pipe */
            continue;
        DDPM_TRY(ddpm_file_create(&file, path));
        ddpm_file_abandon(&file);
    }
    return DDPM_OK;
}

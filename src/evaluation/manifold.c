/* Three passes over distances: real to real, generated to generated, generated to real.
 *
 * Every picture has a ball whose radius is the distance to its k-th nearest neighbour in its own
 * set. Balls are closed, so a copy is inside even if the radius is 0. Distances are squared
 * throughout. */
#include "evaluation/manifold.h"

#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/memory.h"
#include "evaluation/estimate.h"

/* k for precision and recall, and k for density and coverage. */
enum { NEAR = 3, NEARBY = 5 };

/* Distances to the nearest neighbours, ascending, and the kernel with all others of the set. */
struct real {
    double nearest[NEARBY], size, kernel;
    atomic_uint covered; /* bit g: a picture of group g is in its ball */
    atomic_uint
        recalled; /* bit g: it is in the ball of a picture outside group g; bit ALL: of any */
};
#define ALL (1u << DDPM_GROUPS)

struct generated {
    double nearest[NEAR],
        without[DDPM_GROUPS][NEAR]; /* among all pictures, and without each group */
    double largest;                 /* the largest of these */
    double size, own_kernel, cross_kernel;
    int64_t around; /* how many real balls of NEARBY it is in */
    bool precise;   /* is it in a real ball of NEAR? */
};

struct passes {
    const struct ddpm_rows *generated_rows, *real_rows;
    struct generated *generated;
    struct real *real;
    int64_t few;                              /* others in the smaller set */
    uint32_t *generated_places, *real_places; /* for ddpm_follows() */
    struct ddpm_manifold *out;
};

static double kernel(double size, double other, double squared, int64_t width)
{
    const double base = (size + other - squared) / 2 / (double)width + 1;
    return base * base * base;
}

/* Keep the `count` smallest, ascending. */
static void keep_nearest(double *nearest, int count, double squared)
{
    int place = count - 1;
    if (!(squared < nearest[place]))
        return;
    for (; place > 0 && squared < nearest[place - 1]; --place)
        nearest[place] = nearest[place - 1];
    nearest[place] = squared;
}

static void offer(struct ddpm_neighbour *nearest, int64_t index, double squared)
{
    if (squared < nearest->distance)
        *nearest = (struct ddpm_neighbour){.index = index, .distance = squared};
}

static void take_real(void *context, int64_t row, int64_t first, int count, const double *squared)
{
    struct passes *p = context;
    struct real *real = &p->real[row];
    for (int k = 0; k < count; ++k) {
        const int64_t other = first + k;
        if (other == row)
            continue;
        keep_nearest(real->nearest, NEARBY, squared[k]);
        offer(&p->out->real_real[row], other, squared[k]);
        if (ddpm_follows(p->real_places, row, other, p->real_rows->count, p->few))
            offer(&p->out->real_few[row], other, squared[k]);
        real->kernel += kernel(real->size, p->real[other].size, squared[k], p->real_rows->width);
    }
}

static void take_own(void *context, int64_t row, int64_t first, int count, const double *squared)
{
    struct passes *p = context;
    struct generated *generated = &p->generated[row];
    for (int k = 0; k < count; ++k) {
        const int64_t other = first + k;
        if (other == row)
            continue;
        keep_nearest(generated->nearest, NEAR, squared[k]);
        for (int g = 0; g < DDPM_GROUPS; ++g)
            if (g != ddpm_group_of(other))
                keep_nearest(generated->without[g], NEAR, squared[k]);
        offer(&p->out->generated_own[row], other, squared[k]);
        if (ddpm_follows(p->generated_places, row, other, p->generated_rows->count, p->few))
            offer(&p->out->generated_few[row], other, squared[k]);
        generated->own_kernel +=
            kernel(generated->size, p->generated[other].size, squared[k], p->generated_rows->width);
    }
}

/* Several threads may work on one real picture: bits are set in any order. */
static void add_bits(atomic_uint *bits, unsigned more)
{
    if ((atomic_load_explicit(bits, memory_order_relaxed) & more) != more)
        atomic_fetch_or_explicit(bits, more, memory_order_relaxed);
}

/* The bits of `recalled` that a generated picture of this group sets at this distance. */
static unsigned recalling(const struct generated *generated, int group, double squared)
{
    unsigned bits = squared <= generated->nearest[NEAR - 1] ? ALL : 0;
    for (int g = 0; g < DDPM_GROUPS; ++g)
        if (g != group && squared <= generated->without[g][NEAR - 1])
            bits |= 1u << g;
    return bits;
}

static void take_cross(void *context, int64_t row, int64_t first, int count, const double *squared)
{
    struct passes *p = context;
    struct generated *generated = &p->generated[row];
    const int group = ddpm_group_of(row);
    for (int k = 0; k < count; ++k) {
        struct real *real = &p->real[first + k];
        if (squared[k] <= real->nearest[NEAR - 1])
            generated->precise = true;
        if (squared[k] <= real->nearest[NEARBY - 1]) {
            ++generated->around;
            add_bits(&real->covered, 1u << group);
        }
        if (squared[k] <= generated->largest)
            add_bits(&real->recalled, recalling(generated, group, squared[k]));
        offer(&p->out->generated_real[row], first + k, squared[k]);
        generated->cross_kernel +=
            kernel(generated->size, real->size, squared[k], p->real_rows->width);
    }
}

static double size_of(const struct ddpm_rows *rows, int64_t row)
{
    double sum = 0;
    for (int64_t d = 0; d < rows->width; ++d) {
        const double value = (double)rows->values[row * rows->width + d];
        sum += value * value;
    }
    return sum;
}

static void begin(struct passes *p)
{
    for (int64_t i = 0; i < p->real_rows->count; ++i) {
        for (int k = 0; k < NEARBY; ++k)
            p->real[i].nearest[k] = INFINITY;
        p->real[i].size = size_of(p->real_rows, i);
        p->out->real_real[i].distance = p->out->real_few[i].distance = INFINITY;
    }
    for (int64_t i = 0; i < p->generated_rows->count; ++i) {
        struct generated *generated = &p->generated[i];
        for (int k = 0; k < NEAR; ++k) {
            generated->nearest[k] = INFINITY;
            for (int g = 0; g < DDPM_GROUPS; ++g)
                generated->without[g][k] = INFINITY;
        }
        generated->size = size_of(p->generated_rows, i);
        p->out->generated_own[i].distance = p->out->generated_few[i].distance = INFINITY;
        p->out->generated_real[i].distance = INFINITY;
    }
}

static ddpm_status run(struct passes *p, int threads, struct ddpm_watch *watch)
{
    const struct ddpm_rows *generated = p->generated_rows, *real = p->real_rows;
    begin(p);
    ddpm_watch_next(watch, real->count);
    DDPM_TRY(ddpm_distances(real, real, threads, watch, "real to real", take_real, p));
    ddpm_watch_next(watch, generated->count);
    DDPM_TRY(ddpm_distances(generated, generated, threads, watch, "generated to generated",
                            take_own, p));
    for (int64_t i = 0; i < generated->count; ++i)
        for (int g = 0; g < DDPM_GROUPS; ++g)
            p->generated[i].largest =
                fmax(p->generated[i].largest, p->generated[i].without[g][NEAR - 1]);
    ddpm_watch_next(watch, generated->count);
    return ddpm_distances(generated, real, threads, watch, "generated to real", take_cross, p);
}

/* Shares of real pictures with these bits: for all, and without each group. */
static struct ddpm_estimate share_of_real(const struct passes *p, bool coverage)
{
    double all = 0, without[DDPM_GROUPS] = {0};
    const double count = (double)p->real_rows->count;
    for (int64_t i = 0; i < p->real_rows->count; ++i) {
        const unsigned covered = atomic_load(&p->real[i].covered);
        const unsigned recalled = atomic_load(&p->real[i].recalled);
        all += coverage ? covered != 0 : (recalled & ALL) != 0;
        for (int g = 0; g < DDPM_GROUPS; ++g)
            without[g] += coverage ? (covered & ~(1u << g)) != 0 : (recalled & 1u << g) != 0;
    }
    for (int g = 0; g < DDPM_GROUPS; ++g)
        without[g] /= count;
    return ddpm_estimate_groups(all / count, without, 0, 1);
}

/* Means over generated pictures: of all, and without each group. */
static struct ddpm_estimate mean_of_generated(const struct passes *p, bool density)
{
    double all = 0, without[DDPM_GROUPS], groups[DDPM_GROUPS] = {0};
    const int64_t count = p->generated_rows->count;
    for (int64_t i = 0; i < count; ++i) {
        const double value =
            density ? (double)p->generated[i].around / NEARBY : p->generated[i].precise;
        all += value;
        groups[ddpm_group_of(i)] += value;
    }
    for (int g = 0; g < DDPM_GROUPS; ++g)
        without[g] = (all - groups[g]) / (double)(count - ddpm_group_size(count, g));
    return ddpm_estimate_groups(all / (double)count, without, 0, density ? INFINITY : 1);
}

/* The mean of the kernel within the real set, within the generated one, and between them; the
 * jackknife leaves out one generated picture at a time. */
static struct ddpm_estimate kernel_distance(const struct passes *p)
{
    const double m = (double)p->generated_rows->count, n = (double)p->real_rows->count;
    double real = 0, own = 0, cross = 0, mean = 0, squares = 0;
    for (int64_t i = 0; i < p->real_rows->count; ++i)
        real += p->real[i].kernel / (n * (n - 1));
    for (int64_t i = 0; i < p->generated_rows->count; ++i) {
        own += p->generated[i].own_kernel;
        cross += p->generated[i].cross_kernel;
    }
    const double value = real + own / (m * (m - 1)) - 2 * cross / (m * n);
    for (int turn = 0; turn < 2; ++turn)
        for (int64_t i = 0; i < p->generated_rows->count; ++i) {
            const struct generated *left_out = &p->generated[i];
            const double without = real + (own - 2 * left_out->own_kernel) / ((m - 1) * (m - 2)) -
                                   2 * (cross - left_out->cross_kernel) / ((m - 1) * n);
            if (turn == 0)
                mean += without / m;
            else
                squares += (without - mean) * (without - mean);
        }
    return ddpm_estimate_error(value, sqrt(squares * (m - 1) / m));
}

static void take_roots(struct ddpm_neighbour *neighbours, int64_t count)
{
    for (int64_t i = 0; i < count; ++i)
        neighbours[i].distance = sqrt(neighbours[i].distance);
}

static void conclude(struct passes *p)
{
    struct ddpm_manifold *out = p->out;
    out->metrics[DDPM_METRIC_KERNEL] = kernel_distance(p);
    out->metrics[DDPM_METRIC_PRECISION] = mean_of_generated(p, false);
    out->metrics[DDPM_METRIC_RECALL] = share_of_real(p, false);
    out->metrics[DDPM_METRIC_DENSITY] = mean_of_generated(p, true);
    out->metrics[DDPM_METRIC_COVERAGE] = share_of_real(p, true);
    take_roots(out->real_real, p->real_rows->count);
    take_roots(out->generated_real, p->generated_rows->count);
    take_roots(out->generated_own, p->generated_rows->count);
    take_roots(out->real_few, p->real_rows->count);
    take_roots(out->generated_few, p->generated_rows->count);
}

ddpm_status ddpm_new_neighbours(struct ddpm_neighbour **out, int64_t count)
{
    return ddpm_new_array((void **)out, (size_t)count, sizeof **out, "neighbours");
}

static ddpm_status allocate(struct passes *p)
{
    const int64_t generated = p->generated_rows->count, real = p->real_rows->count;
    struct ddpm_manifold *out = p->out;
    DDPM_TRY(
        ddpm_new_array((void **)&p->generated, (size_t)generated, sizeof *p->generated, "radii"));
    DDPM_TRY(ddpm_new_array((void **)&p->real, (size_t)real, sizeof *p->real, "radii"));
    DDPM_TRY(ddpm_new_places(&p->generated_places, generated));
    DDPM_TRY(ddpm_new_places(&p->real_places, real));
    DDPM_TRY(ddpm_new_neighbours(&out->real_real, real));
    DDPM_TRY(ddpm_new_neighbours(&out->real_few, real));
    DDPM_TRY(ddpm_new_neighbours(&out->generated_real, generated));
    DDPM_TRY(ddpm_new_neighbours(&out->generated_own, generated));
    return ddpm_new_neighbours(&out->generated_few, generated);
}

ddpm_status ddpm_manifold_measure(const struct ddpm_rows *generated, const struct ddpm_rows *real,
                                  int threads, struct ddpm_watch *watch, struct ddpm_manifold *out)
{
    struct passes passes = {
        .generated_rows = generated,
        .real_rows = real,
        .few = ddpm_fewer_others(generated->count, real->count),
        .out = out,
    };
    *out = (struct ddpm_manifold){0};
    ddpm_status status = allocate(&passes);
    if (status == DDPM_OK)
        status = run(&passes, threads, watch);
    if (status == DDPM_OK)
        conclude(&passes);
    free(passes.generated);
    free(passes.real);
    free(passes.generated_places);
    free(passes.real_places);
    return status;
}

static void take_nearest(void *context, int64_t row, int64_t first, int count,
                         const double *squared)
{
    struct ddpm_neighbour *nearest = (struct ddpm_neighbour *)context + row;
    for (int k = 0; k < count; ++k)
        offer(nearest, first + k, squared[k]);
}

ddpm_status ddpm_feature_neighbours(const struct ddpm_rows *rows, const struct ddpm_rows *columns,
                                    int threads, const struct ddpm_watch *watch, const char *what,
                                    struct ddpm_neighbour *out)
{
    for (int64_t i = 0; i < rows->count; ++i)
        out[i] = (struct ddpm_neighbour){.distance = INFINITY};
    DDPM_TRY(ddpm_distances(rows, columns, threads, watch, what, take_nearest, out));
    for (int64_t i = 0; i < rows->count; ++i)
        out[i].distance = sqrt(out[i].distance);
    return DDPM_OK;
}

void ddpm_manifold_free(struct ddpm_manifold *manifold)
{
    free(manifold->real_real);
    free(manifold->generated_real);
    free(manifold->generated_own);
    free(manifold->real_few);
    free(manifold->generated_few);
    *manifold = (struct ddpm_manifold){0};
}

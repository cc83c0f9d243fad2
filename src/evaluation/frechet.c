/* |μ - m|² + tr S + tr C - 2 tr √(S C), with mean m and covariance C of the real pictures.
 *
 * With C = V Λ Vᵀ and B = √Λ Vᵀ, the eigenvalues of S C are those of B S Bᵀ, which is the
 * covariance of the generated features multiplied by B. So each group of pictures needs one sum of
 * their products, and the distance without a group follows from the sums of the others. */
#include "evaluation/frechet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/memory.h"
#include "evaluation/estimate.h"

static const char saying[] = "Fréchet distance";

/* Sums over generated pictures, with y = x - m and z = B y. */
struct sums {
    double count, squares; /* Σ|y|² */
    double *y, *z;         /* [width] */
    double *products;      /* Σ z zᵀ [width, width] */
};

struct work {
    int64_t width;
    double trace;                         /* tr C */
    double *root;                         /* B */
    struct sums all, groups[DDPM_GROUPS]; /* of all pictures, and of each group */
    double *room;                         /* working memory for eigenvalues */
    double *values;
    double *y, *z; /* [count, width] */
};

ddpm_status ddpm_statistics_allocate(struct ddpm_statistics *statistics, int64_t width)
{
    *statistics = (struct ddpm_statistics){.width = width};
    DDPM_TRY(ddpm_new_array((void **)&statistics->mean, (size_t)width, sizeof(double), "a mean"));
    return ddpm_new_array((void **)&statistics->covariance, (size_t)(width * width), sizeof(double),
                          "a covariance");
}

void ddpm_statistics_free(struct ddpm_statistics *statistics)
{
    free(statistics->mean);
    free(statistics->covariance);
    *statistics = (struct ddpm_statistics){0};
}

static ddpm_status allocate_sums(struct sums *sums, size_t width)
{
    DDPM_TRY(ddpm_new_array((void **)&sums->y, width, sizeof(double), "sums"));
    DDPM_TRY(ddpm_new_array((void **)&sums->z, width, sizeof(double), "sums"));
    return ddpm_new_array((void **)&sums->products, width * width, sizeof(double), "sums");
}

static ddpm_status allocate(struct work *work, int64_t count)
{
    const size_t width = (size_t)work->width, values = (size_t)count * width;
    DDPM_TRY(allocate_sums(&work->all, width));
    for (int g = 0; g < DDPM_GROUPS; ++g)
        DDPM_TRY(allocate_sums(&work->groups[g], width));
    DDPM_TRY(ddpm_new_array((void **)&work->root, width * width, sizeof(double), "a root"));
    DDPM_TRY(ddpm_new_array((void **)&work->room, width * width, sizeof(double), "a matrix"));
    DDPM_TRY(ddpm_new_array((void **)&work->values, width, sizeof(double), "eigenvalues"));
    DDPM_TRY(ddpm_new_array((void **)&work->y, values, sizeof(double), "features in fp64"));
    return ddpm_new_array((void **)&work->z, values, sizeof(double), "features in fp64");
}

static void free_sums(struct sums *sums)
{
    free(sums->y);
    free(sums->z);
    free(sums->products);
}

static void clear(struct work *work)
{
    free_sums(&work->all);
    for (int g = 0; g < DDPM_GROUPS; ++g)
        free_sums(&work->groups[g]);
    free(work->root);
    free(work->room);
    free(work->values);
    free(work->y);
    free(work->z);
}

/* B, and tr C. */
static ddpm_status find_root(struct work *work, const struct ddpm_statistics *real)
{
    const int64_t width = work->width;
    memcpy(work->root, real->covariance, (size_t)(width * width) * sizeof *work->root);
    for (int64_t i = 0; i < width; ++i)
        work->trace += real->covariance[i * width + i];
    DDPM_TRY(ddpm_eigenvalues(work->root, width, true, work->values));
    for (int64_t i = 0; i < width; ++i)
        for (int64_t k = 0; k < width; ++k)
            work->root[i * width + k] *= sqrt(fmax(work->values[i], 0));
    return DDPM_OK;
}

static void add_picture(struct sums *sums, const double *y, const double *z, int64_t width)
{
    sums->count += 1;
    for (int64_t d = 0; d < width; ++d) {
        sums->squares += y[d] * y[d];
        sums->y[d] += y[d];
        sums->z[d] += z[d];
    }
}

static void sum_up(struct work *work, int64_t count, int threads)
{
    const int64_t width = work->width;
    struct sums *all = &work->all;
    for (int64_t i = 0; i < count; ++i)
        add_picture(&work->groups[ddpm_group_of(i)], work->y + i * width, work->z + i * width,
                    width);
    for (int g = 0; g < DDPM_GROUPS; ++g) {
        struct sums *group = &work->groups[g];
        ddpm_scatter(work->z, count, width, g, DDPM_GROUPS, threads, group->products);
        all->count += group->count;
        all->squares += group->squares;
        for (int64_t d = 0; d < width; ++d) {
            all->y[d] += group->y[d];
            all->z[d] += group->z[d];
        }
        for (int64_t i = 0; i < width * width; ++i)
            all->products[i] += group->products[i];
    }
}

/* The distance of all pictures except those of a group; NULL: of all. */
static ddpm_status distance(struct work *work, const struct sums *without, double *out)
{
    static const double nothing;
    const struct sums *all = &work->all;
    const int64_t width = work->width;
    const double count = all->count - (without ? without->count : 0);
    double squares = all->squares - (without ? without->squares : 0), shift = 0, root = 0;
    for (int64_t i = 0; i < width; ++i) {
        const double y = (all->y[i] - (without ? without->y[i] : nothing)) / count;
        const double z = all->z[i] - (without ? without->z[i] : 0);
        shift += y * y;
        for (int64_t k = i; k < width; ++k) { /* LAPACK reads one triangle */
            const double other = all->z[k] - (without ? without->z[k] : 0);
            const double sum = all->products[i * width + k] -
                               (without ? without->products[i * width + k] : nothing);
            work->room[i * width + k] = work->room[k * width + i] =
                (sum - z * other / count) / (count - 1);
        }
    }
    squares -= count * shift;
    DDPM_TRY(ddpm_eigenvalues(work->room, width, false, work->values));
    for (int64_t i = 0; i < width; ++i)
        root += sqrt(fmax(work->values[i], 0));
    *out = shift + squares / (count - 1) + work->trace - 2 * root;
    if (*out < 0) /* by rounding: two equal sets */
        *out = 0;
    return DDPM_OK;
}

static ddpm_status run(struct work *work, const struct ddpm_rows *generated,
                       const struct ddpm_statistics *real, int threads,
                       const struct ddpm_watch *watch, struct ddpm_estimate *out)
{
    double value, without[DDPM_GROUPS];
    DDPM_TRY(allocate(work, generated->count));
    DDPM_TRY(ddpm_watch(watch, saying, 0, DDPM_GROUPS + 2));
    DDPM_TRY(find_root(work, real));
    DDPM_TRY(ddpm_watch(watch, saying, 1, DDPM_GROUPS + 2));
    DDPM_TRY(ddpm_project(generated, real->mean, NULL, threads, work->y));
    DDPM_TRY(ddpm_project(generated, real->mean, work->root, threads, work->z));
    sum_up(work, generated->count, threads);
    DDPM_TRY(distance(work, NULL, &value));
    for (int g = 0; g < DDPM_GROUPS; ++g) {
        DDPM_TRY(ddpm_watch(watch, saying, g + 2, DDPM_GROUPS + 2));
        DDPM_TRY(distance(work, &work->groups[g], &without[g]));
    }
    *out = ddpm_estimate_groups(value, without, 0, INFINITY);
    return DDPM_OK;
}

/* Bytes at the peak. The matrices are the covariance, the sums of all pictures and of the groups,
 * the root, working memory, and two that LAPACK allocates for eigenvectors. */
static double bytes_needed(int64_t generated, int64_t real, int64_t width)
{
    const double row = (double)width * sizeof(double), matrix = row * (double)width;
    const double distance = (DDPM_GROUPS + 6) * matrix + 2 * row * (double)generated;
    return fmax(distance, matrix + row * (double)real);
}

const char *ddpm_frechet_obstacle(int64_t generated, int64_t real, int64_t width)
{
    const double needed = bytes_needed(generated, real, width);
    const size_t available = ddpm_memory_available("", ddpm_aligned_bytes());
    if (!ddpm_lapack_found())
        return "it needs LAPACK, which was not found: install liblapacke";
    if (available == 0 || needed <= (double)available) /* 0: not known */
        return NULL;
    ddpm_log(DDPM_LOG_WARNING,
             "the Fréchet distance of %lld pictures with features of width %lld needs %.0f MB, but "
             "%.0f MB are free",
             (long long)generated, (long long)width, needed / 1e6, (double)available / 1e6);
    return "it needs more memory than is free";
}

ddpm_status ddpm_frechet(const struct ddpm_rows *generated, const struct ddpm_statistics *real,
                         int threads, const struct ddpm_watch *watch, struct ddpm_estimate *out)
{
    struct work work = {.width = generated->width};
    ddpm_status status = run(&work, generated, real, threads, watch, out);
    clear(&work);
    return status;
}

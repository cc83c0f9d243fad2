/* Fitting a start: principal components of reduced pictures, and the level at which pictures with
 * noise are close to normal. Plain loops in a fixed order, so every machine gets the same
 * result. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/random.h"
#include "diffusion/start.h"

enum { ROUNDS = 8, SWEEPS = 12, TESTED = 16 };

/* Candidates for the level. At 80 even edm starts from noise alone. */
static const double levels[] = {5, 10, 20, 40};
/* The largest third and fourth joint cumulants that still count as normal, of components with
 * noise, scaled to variance 1. */
static const double most_third = 0.5, most_fourth = 1;
/* Largest variance, as a fraction of the noise's, in directions that are not stored. */
static const double most_left = 0.1;

struct fit {
    const float *pictures; /* [count,values], without their mean */
    int64_t count, values, components;
    double *basis;   /* [values,components]: a direction per column */
    double *scores;  /* [count,components] */
    double *moments; /* [components,components]: second moments of the scores */
    double *turns;   /* [components,components]: their eigenvectors, as rows */
};

static void fit_free(struct fit *fit)
{
    free(fit->basis);
    free(fit->scores);
    free(fit->moments);
    free(fit->turns);
}

static ddpm_status fit_new(struct fit *fit)
{
    const size_t k = (size_t)fit->components, values = (size_t)fit->values;
    static const char what[] = "principal components";
    DDPM_TRY(ddpm_new_array((void **)&fit->basis, values * k, sizeof(double), what));
    DDPM_TRY(ddpm_new_array((void **)&fit->scores, (size_t)fit->count * k, sizeof(double), what));
    DDPM_TRY(ddpm_new_array((void **)&fit->moments, k * k, sizeof(double), what));
    return ddpm_new_array((void **)&fit->turns, k * k, sizeof(double), what);
}

/* scores = pictures·basis */
static void project(const struct fit *fit)
{
    const int64_t k = fit->components;
    memset(fit->scores, 0, (size_t)(fit->count * k) * sizeof *fit->scores);
    for (int64_t n = 0; n < fit->count; ++n)
        for (int64_t i = 0; i < fit->values; ++i) {
            const double value = (double)fit->pictures[n * fit->values + i];
            for (int64_t j = 0; j < k; ++j)
                fit->scores[n * k + j] += value * fit->basis[i * k + j];
        }
}

/* basis = picturesᵀ·scores */
static void collect(const struct fit *fit)
{
    const int64_t k = fit->components;
    memset(fit->basis, 0, (size_t)(fit->values * k) * sizeof *fit->basis);
    for (int64_t n = 0; n < fit->count; ++n)
        for (int64_t i = 0; i < fit->values; ++i) {
            const double value = (double)fit->pictures[n * fit->values + i];
            for (int64_t j = 0; j < k; ++j)
                fit->basis[i * k + j] += value * fit->scores[n * k + j];
        }
}

/* Gram-Schmidt, twice because one pass loses digits. A column that depends on those before it
 * becomes 0. */
static void orthonormalize(const struct fit *fit)
{
    const int64_t k = fit->components;
    double *q = fit->basis;
    for (int64_t j = 0; j < k; ++j) {
        double before = 0, after = 0;
        for (int64_t i = 0; i < fit->values; ++i)
            before += q[i * k + j] * q[i * k + j];
        for (int64_t l = 0; l < 2 * j; ++l) {
            double along = 0;
            for (int64_t i = 0; i < fit->values; ++i)
                along += q[i * k + l % j] * q[i * k + j];
            for (int64_t i = 0; i < fit->values; ++i)
                q[i * k + j] -= along * q[i * k + l % j];
        }
        for (int64_t i = 0; i < fit->values; ++i)
            after += q[i * k + j] * q[i * k + j];
        const double scale = after > 1e-20 * before ? 1 / sqrt(after) : 0;
        for (int64_t i = 0; i < fit->values; ++i)
            q[i * k + j] *= scale;
    }
}

/* One rotation of Jacobi's method (Golub & Van Loan, Matrix Computations, 8.5): makes a[p,q] 0. */
static void rotate(double *a, double *v, int64_t n, int64_t p, int64_t q)
{
    if (fabs(a[p * n + q]) < 1e-300)
        return;
    const double tau = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
    const double t = (tau < 0 ? -1 : 1) / (fabs(tau) + hypot(1, tau));
    const double c = 1 / hypot(1, t), s = t * c;
    for (int64_t i = 0; i < n; ++i) {
        const double x = a[i * n + p], y = a[i * n + q];
        a[i * n + p] = c * x - s * y;
        a[i * n + q] = s * x + c * y;
    }
    for (int64_t i = 0; i < n; ++i) {
        const double x = a[p * n + i], y = a[q * n + i];
        a[p * n + i] = c * x - s * y;
        a[q * n + i] = s * x + c * y;
        const double u = v[p * n + i], w = v[q * n + i];
        v[p * n + i] = c * u - s * w;
        v[q * n + i] = s * u + c * w;
    }
}

/* The basis spans the largest components by now; turn it so that scores are not correlated. Rows of
 * `turns` become the eigenvectors, and the diagonal of `moments` the variances. */
static void diagonalize(const struct fit *fit)
{
    const int64_t k = fit->components;
    memset(fit->moments, 0, (size_t)(k * k) * sizeof(double));
    memset(fit->turns, 0, (size_t)(k * k) * sizeof(double));
    for (int64_t n = 0; n < fit->count; ++n)
        for (int64_t i = 0; i < k; ++i)
            for (int64_t j = 0; j < k; ++j)
                fit->moments[i * k + j] +=
                    fit->scores[n * k + i] * fit->scores[n * k + j] / (double)(fit->count - 1);
    for (int64_t i = 0; i < k; ++i)
        fit->turns[i * k + i] = 1;
    for (int sweep = 0; sweep < SWEEPS; ++sweep)
        for (int64_t p = 0; p < k; ++p)
            for (int64_t q = p + 1; q < k; ++q)
                rotate(fit->moments, fit->turns, k, p, q);
}

/* Store components in order of falling variance, and leave the scores in the same order. */
static void store(const struct fit *fit, struct ddpm_start *start)
{
    const int64_t k = fit->components;
    bool taken[DDPM_START_COMPONENTS] = {0};
    for (int64_t j = 0; j < k; ++j) {
        int64_t best = -1;
        for (int64_t i = 0; i < k; ++i)
            if (!taken[i] && (best < 0 || fit->moments[i * k + i] > fit->moments[best * k + best]))
                best = i;
        taken[best] = true;
        start->deviations[j] = (float)sqrt(fmax(fit->moments[best * k + best], 0));
        for (int64_t i = 0; i < fit->values; ++i) {
            double sum = 0;
            for (int64_t l = 0; l < k; ++l)
                sum += fit->turns[best * k + l] * fit->basis[i * k + l];
            start->directions[j * fit->values + i] = (float)sum;
        }
    }
    for (int64_t i = 0; i < fit->values; ++i)
        for (int64_t j = 0; j < k; ++j)
            fit->basis[i * k + j] = (double)start->directions[j * fit->values + i];
    project(fit);
}

/* Are the first components close to normal once noise is added? Noise does not change their third
 * and fourth joint cumulants, but it adds to the variances by which these are scaled. `shrink`
 * [tested]: 1 over the standard deviation of a score with noise. */
static bool is_normal(const struct fit *fit, const double *shrink, int64_t tested)
{
    const int64_t k = fit->components;
    for (int64_t a = 0; a < tested; ++a)
        for (int64_t b = a; b < tested; ++b) {
            double fourth = 0, third[TESTED] = {0}, both = 0;
            for (int64_t n = 0; n < fit->count; ++n) {
                const double *score = fit->scores + n * k;
                const double x = score[a] * shrink[a], y = score[b] * shrink[b];
                fourth += x * x * y * y;
                both += x * y;
                for (int64_t c = b; c < tested; ++c)
                    third[c] += x * y * score[c] * shrink[c];
            }
            const double count = (double)fit->count;
            const double xx = shrink[a] * shrink[a] * fit->moments[a];
            const double yy = shrink[b] * shrink[b] * fit->moments[b];
            both /= count;
            if (fabs(fourth / count - xx * yy - 2 * both * both) > most_fourth)
                return false;
            for (int64_t c = b; c < tested; ++c)
                if (fabs(third[c] / count) > most_third)
                    return false;
        }
    return true;
}

/* The first row of `moments` is overwritten with the variances. */
static double choose_level(const struct fit *fit, const struct ddpm_start *start)
{
    const int64_t k = fit->components, tested = k < TESTED ? k : TESTED;
    const bool all = k == fit->values;
    for (int64_t i = 0; i < k; ++i)
        fit->moments[i] = (double)start->deviations[i] * (double)start->deviations[i];
    for (size_t l = 0; l < sizeof levels / sizeof *levels; ++l) {
        double shrink[TESTED];
        for (int64_t i = 0; i < tested; ++i)
            shrink[i] = 1 / hypot(levels[l], (double)start->deviations[i]);
        const bool rest = all || fit->moments[k - 1] <= most_left * levels[l] * levels[l];
        if (rest && is_normal(fit, shrink, tested))
            return levels[l];
    }
    return INFINITY;
}

static void subtract_mean(float *pictures, int64_t count, int64_t values, float *mean)
{
    for (int64_t i = 0; i < values; ++i) {
        double sum = 0;
        for (int64_t n = 0; n < count; ++n)
            sum += (double)pictures[n * values + i];
        mean[i] = (float)(sum / (double)count);
        for (int64_t n = 0; n < count; ++n)
            pictures[n * values + i] -= mean[i];
    }
}

/* Subspace iteration (Golub & Van Loan, 8.2.4) from a fixed random basis. */
static void find_components(const struct fit *fit)
{
    float normal[DDPM_START_COMPONENTS];
    for (int64_t i = 0; i < fit->values; ++i) {
        ddpm_fill_normal(normal, fit->components, 0, DDPM_STREAM_START, 0, (uint32_t)i);
        for (int64_t j = 0; j < fit->components; ++j)
            fit->basis[i * fit->components + j] = (double)normal[j];
    }
    orthonormalize(fit);
    for (int round = 0; round < ROUNDS; ++round) {
        project(fit);
        collect(fit);
        orthonormalize(fit);
    }
    project(fit);
}

ddpm_status ddpm_start_fit(const struct ddpm_start_shape *shape, float *pictures, int64_t count,
                           struct ddpm_start **out)
{
    struct fit fit = {.pictures = pictures, .count = count, .values = ddpm_start_values(shape)};
    fit.components = fit.values < DDPM_START_COMPONENTS ? fit.values : DDPM_START_COMPONENTS;
    DDPM_TRY(ddpm_start_new(shape, fit.components, out));
    ddpm_status status = fit_new(&fit);
    if (status == DDPM_OK) {
        subtract_mean(pictures, count, fit.values, (*out)->mean);
        find_components(&fit);
        diagonalize(&fit);
        store(&fit, *out);
        (*out)->level = choose_level(&fit, *out);
    }
    fit_free(&fit);
    if (status != DDPM_OK)
        ddpm_start_free(out);
    return status;
}

/* Means and covariances. */
#include "evaluation/matrix.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/threads.h"

/* How many rows of a matrix are computed together. */
enum { BAND = 8 };

void ddpm_mean(const struct ddpm_rows *rows, double *mean)
{
    memset(mean, 0, (size_t)rows->width * sizeof *mean);
    for (int64_t i = 0; i < rows->count; ++i)
        for (int64_t d = 0; d < rows->width; ++d)
            mean[d] += (double)rows->values[i * rows->width + d];
    for (int64_t d = 0; d < rows->width; ++d)
        mean[d] /= (double)rows->count;
}

struct scatter {
    const double *x;
    int64_t count, width, first, stride;
    double *out;
};

/* sums += factor · row, from element `from`. */
static void add_row(double *restrict sums, const double *restrict row, double factor, int64_t from,
                    int64_t width)
{
    for (int64_t k = from; k < width; ++k)
        sums[k] += factor * row[k];
}

/* Rows [begin, end) of the matrix, from the diagonal on. */
static void scatter_band(void *context, int64_t begin, int64_t end, int thread)
{
    const struct scatter *s = context;
    (void)thread;
    memset(s->out + begin * s->width, 0, (size_t)((end - begin) * s->width) * sizeof *s->out);
    for (int64_t i = s->first; i < s->count; i += s->stride)
        for (int64_t k = begin; k < end; ++k)
            add_row(s->out + k * s->width, s->x + i * s->width, s->x[i * s->width + k], begin,
                    s->width);
}

static void mirror(double *matrix, int64_t width)
{
    for (int64_t i = 0; i < width; ++i)
        for (int64_t k = 0; k < i; ++k)
            matrix[i * width + k] = matrix[k * width + i];
}

void ddpm_scatter(const double *x, int64_t count, int64_t width, int64_t first, int64_t stride,
                  int threads, double *out)
{
    struct scatter scatter = {x, count, width, first, stride, out};
    ddpm_parallel_for(threads, width, BAND, scatter_band, &scatter);
    mirror(out, width);
}

struct projection {
    const struct ddpm_rows *rows;
    const double *mean, *transposed; /* [width, width], or NULL */
    double *out;
};

static void project_rows(void *context, int64_t begin, int64_t end, int thread)
{
    const struct projection *p = context;
    const int64_t width = p->rows->width;
    (void)thread;
    if (p->transposed)
        memset(p->out + begin * width, 0, (size_t)((end - begin) * width) * sizeof *p->out);
    for (int64_t d = 0; d < width; ++d)
        for (int64_t i = begin; i < end; ++i) {
            const double value = (double)p->rows->values[i * width + d] - p->mean[d];
            if (p->transposed)
                add_row(p->out + i * width, p->transposed + d * width, value, 0, width);
            else
                p->out[i * width + d] = value;
        }
}

ddpm_status ddpm_project(const struct ddpm_rows *rows, const double *mean, const double *matrix,
                         int threads, double *out)
{
    const int64_t width = rows->width;
    double *transposed = NULL;
    if (matrix) {
        DDPM_TRY(ddpm_new_array((void **)&transposed, (size_t)(width * width), sizeof *transposed,
                                "a matrix"));
        for (int64_t i = 0; i < width; ++i)
            for (int64_t k = 0; k < width; ++k)
                transposed[k * width + i] = matrix[i * width + k];
    }
    struct projection projection = {rows, mean, transposed, out};
    ddpm_parallel_for(threads, rows->count, BAND, project_rows, &projection);
    free(transposed);
    return DDPM_OK;
}

ddpm_status ddpm_covariance(const struct ddpm_rows *rows, int threads, double *mean,
                            double *covariance)
{
    double *x;
    DDPM_TRY(ddpm_new_array((void **)&x, (size_t)(rows->count * rows->width), sizeof *x,
                            "features in fp64"));
    ddpm_mean(rows, mean);
    ddpm_status status = ddpm_project(rows, mean, NULL, threads, x);
    if (status == DDPM_OK)
        ddpm_scatter(x, rows->count, rows->width, 0, 1, threads, covariance);
    free(x);
    for (int64_t i = 0; i < rows->width * rows->width; ++i)
        covariance[i] /= (double)(rows->count - 1);
    return status;
}

/* Muon on one matrix. */
#include <math.h>
#include <stdlib.h>

#include "core/memory.h"
#include "kernels/ref/ref.h"

/* y[rows,columns] = factor·a[rows,depth]·b[depth,columns] + keep·add. */
static void multiply(const double *a, const double *b, int64_t rows, int64_t depth, int64_t columns,
                     double factor, const double *add, double keep, double *y)
{
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
            double sum = 0;
            for (int64_t k = 0; k < depth; ++k)
                sum += a[i * depth + k] * b[k * columns + j];
            y[i * columns + j] = factor * sum + (add ? keep * add[i * columns + j] : 0);
        }
}

static void transpose(const double *x, int64_t rows, int64_t columns, double *y)
{
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j)
            y[j * rows + i] = x[i * columns + j];
}

/* Five iterations on x [rows,columns], rows ≤ columns. `room` holds two more of x's size and two
 * [rows,rows]. */
static void orthogonalize(double *x, int64_t rows, int64_t columns, double *room)
{
    double *turned = room, *next = turned + rows * columns;
    double *gram = next + rows * columns, *polynomial = gram + rows * rows;
    for (int i = 0; i < DDPM_MUON_ITERATIONS; ++i) {
        transpose(x, rows, columns, turned);
        multiply(x, turned, rows, columns, rows, 1, NULL, 0, gram);
        multiply(gram, gram, rows, rows, rows, DDPM_MUON_C, gram, DDPM_MUON_B, polynomial);
        multiply(polynomial, x, rows, rows, columns, 1, x, DDPM_MUON_A, next);
        for (int64_t k = 0; k < rows * columns; ++k)
            x[k] = next[k];
    }
}

/* g' = clipped g; m = μ·m + (1-μ)·g'; u = μ·m + (1-μ)·g', scaled to norm 1 */
static void take_momentum(const struct ddpm_call *call, double *u)
{
    const struct ddpm_tensor *g = &call->in[0], *m = &call->out[1], *hyper = &call->in[2];
    const double norm = ref_get(&call->in[1], 0, 0);
    const double max_norm = ref_get(hyper, 0, DDPM_HYPER_MAX_NORM);
    const double momentum = ref_get(hyper, 0, DDPM_HYPER_MOMENTUM);
    const double shrink = max_norm > 0 ? fmin(1, max_norm / (norm + 1e-6)) : 1;
    double squares = 0;
    for (int64_t i = 0; i < g->c; ++i) {
        const double gradient = ref_get(g, 0, i) * shrink;
        const double moment = momentum * ref_get(m, 0, i) + (1 - momentum) * gradient;
        ref_set(m, 0, i, moment);
        u[i] = momentum * moment + (1 - momentum) * gradient;
        squares += u[i] * u[i];
    }
    for (int64_t i = 0; i < g->c; ++i)
        u[i] /= sqrt(squares) + 1e-7;
}

/*   w = w·(1 - lr·weight_decay) - lr·0.2·√max(rows,columns)·orthogonal(u)
 * Does nothing if norm is not finite.
 * in: g [1,1,1,N], norm [1,1,1,1], hyper; out: w, m [1,1,1,N], read and written */
ddpm_status ddpm_ref_muon(const struct ddpm_call *call)
{
    const struct ddpm_tensor *w = &call->out[0];
    const int64_t rows = call->attributes.rows, columns = w->c / rows;
    const int64_t least = rows < columns ? rows : columns, most = w->c / least;
    const double lr = ref_get(&call->in[2], 0, DDPM_HYPER_LR);
    const double keep = 1 - lr * ref_get(&call->in[2], 0, DDPM_HYPER_WEIGHT_DECAY);
    double *u;
    if (!isfinite(ref_get(&call->in[1], 0, 0)))
        return DDPM_OK;
    DDPM_TRY(ddpm_new_array((void **)&u, (size_t)(4 * w->c + 2 * least * least), sizeof *u,
                            "matrices of Muon"));
    double *x = u + w->c, *room = x + w->c;
    take_momentum(call, u);
    if (rows > columns) {
        transpose(u, rows, columns, x);
        orthogonalize(x, least, most, room);
        transpose(x, columns, rows, u);
    } else {
        orthogonalize(u, least, most, room);
    }
    for (int64_t i = 0; i < w->c; ++i)
        ref_set(w, 0, i,
                ref_get(w, 0, i) * keep - lr * DDPM_MUON_SCALE * sqrt((double)most) * u[i]);
    free(u);
    return DDPM_OK;
}

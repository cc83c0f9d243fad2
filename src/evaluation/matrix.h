/* Means, covariances and eigenvalues, in fp64. Matrices are [width, width], row after row. */
#ifndef DDPM_EVALUATION_MATRIX_H
#define DDPM_EVALUATION_MATRIX_H

#include <stdbool.h>

#include "evaluation/distances.h"

/* Mean [width] of the rows. */
void ddpm_mean(const struct ddpm_rows *rows, double *mean);

/* out = Σ x xᵀ of rows first, first + stride, … of x [count, width]. The same bits for any number
 * of threads. */
void ddpm_scatter(const double *x, int64_t count, int64_t width, int64_t first, int64_t stride,
                  int threads, double *out);

/* Mean and covariance (with 1/(count - 1)) of the rows; count at least 2. */
ddpm_status ddpm_covariance(const struct ddpm_rows *rows, int threads, double *mean,
                            double *covariance);

/* out [count, width] = (rows - mean) · matrixᵀ, and without a matrix the differences alone. */
ddpm_status ddpm_project(const struct ddpm_rows *rows, const double *mean, const double *matrix,
                         int threads, double *out);

/* LAPACK is looked for when it is first needed, by the name of its library: only this needs it, and
 * it brings Fortran's and its own threads into a process. */
bool ddpm_lapack_found(void);

/* Eigenvalues [width], rising, of a symmetric matrix, which is overwritten; with `vectors` by the
 * eigenvectors, one in each row. DDPM_ERROR_UNSUPPORTED without LAPACK, DDPM_ERROR_NOT_FINITE when
 * it does not converge. */
ddpm_status ddpm_eigenvalues(double *matrix, int64_t width, bool vectors, double *values);

#endif

/* Means, covariances and eigenvalues, in fp64. Matrices are [width, width], row by row. */
#ifndef DDPM_EVALUATION_MATRIX_H
#define DDPM_EVALUATION_MATRIX_H

#include <stdbool.h>

#include "evaluation/distances.h"

/* Mean [width] of the rows. */
void ddpm_mean(const struct ddpm_rows *rows, double *mean);

/* out = Σ x xᵀ of rows first, first + stride, … of x [count, width]. The result has the same bits
 * for any number of threads. */
void ddpm_scatter(const double *x, int64_t count, int64_t width, int64_t first, int64_t stride,
                  int threads, double *out);

/* Mean and covariance (with 1/(count - 1)) of the rows; count at least 2. */
ddpm_status ddpm_covariance(const struct ddpm_rows *rows, int threads, double *mean,
                            double *covariance);

/* out [count, width] = (rows - mean) · matrixᵀ, or just the differences without a matrix. */
ddpm_status ddpm_project(const struct ddpm_rows *rows, const double *mean, const double *matrix,
                         int threads, double *out);

/* LAPACK is loaded by library name when first needed. Only this code needs it, and it brings the
 * Fortran runtime and threads of its own into the process. */
bool ddpm_lapack_found(void);

/* Eigenvalues [width], ascending, of a symmetric matrix, which is overwritten; with `vectors`, by
 * the eigenvectors, one per row. DDPM_ERROR_UNSUPPORTED without LAPACK, DDPM_ERROR_NOT_FINITE if it
 * does not converge. */
ddpm_status ddpm_eigenvalues(double *matrix, int64_t width, bool vectors, double *values);

#endif

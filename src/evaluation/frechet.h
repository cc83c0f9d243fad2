/* The Fréchet distance between normal distributions with the features' means and covariances
 * (Dowson & Landau 1982; Heusel et al. 2017). */
#ifndef DDPM_EVALUATION_FRECHET_H
#define DDPM_EVALUATION_FRECHET_H

#include "evaluation/matrix.h"

/* Statistics of the real pictures: mean [width] and covariance [width, width]. */
struct ddpm_statistics {
    int64_t width;
    double *mean, *covariance;
};

ddpm_status ddpm_statistics_allocate(struct ddpm_statistics *statistics, int64_t width);
void ddpm_statistics_free(struct ddpm_statistics *statistics);

/* The distance of the rows to these statistics of the same width. Missing in *out without
 * LAPACK. */
ddpm_status ddpm_frechet(const struct ddpm_rows *generated, const struct ddpm_statistics *real,
                         int threads, const struct ddpm_watch *watch, struct ddpm_estimate *out);

#endif

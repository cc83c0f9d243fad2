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

/* Why the distance cannot be computed: no LAPACK, or too little memory, which is logged with
 * numbers. NULL if it can. `real` pictures are those whose covariance is still to be computed, 0 if
 * it is known. */
const char *ddpm_frechet_obstacle(int64_t generated, int64_t real, int64_t width);

/* The distance of the rows to these statistics of the same width. DDPM_ERROR_UNSUPPORTED without
 * LAPACK. */
ddpm_status ddpm_frechet(const struct ddpm_rows *generated, const struct ddpm_statistics *real,
                         int threads, const struct ddpm_watch *watch, struct ddpm_estimate *out);

#endif

/* Values with intervals. */
#include "evaluation/estimate.h"

#include <math.h>

/* 97.5 % quantiles of Student's t with DDPM_GROUPS - 1 degrees of freedom, and of the normal. */
#define STUDENT 2.262157
#define NORMAL 1.959964

struct ddpm_estimate ddpm_estimate_groups(double value, const double without[DDPM_GROUPS],
                                          double least, double most)
{
    double mean = 0, squares = 0;
    for (int g = 0; g < DDPM_GROUPS; ++g)
        mean += without[g] / DDPM_GROUPS;
    for (int g = 0; g < DDPM_GROUPS; ++g)
        squares += (without[g] - mean) * (without[g] - mean);
    const double error = sqrt(squares * (DDPM_GROUPS - 1) / DDPM_GROUPS);
    return (struct ddpm_estimate){
        .value = value,
        .error = error,
        .low = fmax(least, value - STUDENT * error),
        .high = fmin(most, value + STUDENT * error),
    };
}

struct ddpm_estimate ddpm_estimate_error(double value, double error)
{
    return (struct ddpm_estimate){
        .value = value,
        .error = error,
        .low = value - NORMAL * error,
        .high = value + NORMAL * error,
    };
}

struct ddpm_estimate ddpm_estimate_missing(const char *why)
{
    return (struct ddpm_estimate){.missing = why};
}

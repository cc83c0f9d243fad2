/* Values with intervals, by a jackknife over groups of generated pictures. The real ones are fixed:
 * an interval says what another set of generated pictures would give. */
#ifndef DDPM_EVALUATION_ESTIMATE_H
#define DDPM_EVALUATION_ESTIMATE_H

#include <stdint.h>

#include <ddpm/evaluate.h>

/* Picture i belongs to group i % DDPM_GROUPS. */
enum { DDPM_GROUPS = 10 };

static inline int ddpm_group_of(int64_t picture)
{
    return (int)(picture % DDPM_GROUPS);
}

/* How many of `count` pictures are in a group. */
static inline int64_t ddpm_group_size(int64_t count, int group)
{
    return (count - group + DDPM_GROUPS - 1) / DDPM_GROUPS;
}

/* An estimate from the value for all pictures and the values without each group; the interval is
 * clamped to [least, most]. */
struct ddpm_estimate ddpm_estimate_groups(double value, const double without[DDPM_GROUPS],
                                          double least, double most);

/* An estimate from a known standard error. */
struct ddpm_estimate ddpm_estimate_error(double value, double error);

/* A missing estimate and the reason. */
struct ddpm_estimate ddpm_estimate_missing(const char *why);

#endif

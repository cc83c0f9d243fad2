/* Values with intervals, by the jackknife that leaves out groups of the generated pictures. The
 * real ones are held fixed: an interval says what another set of generated pictures would give. */
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

/* How many of `count` pictures a group has. */
static inline int64_t ddpm_group_size(int64_t count, int group)
{
    return (count - group + DDPM_GROUPS - 1) / DDPM_GROUPS;
}

/* From the value of all pictures and the values without each group; ends of the interval are kept
 * in [least, most]. */
struct ddpm_estimate ddpm_estimate_groups(double value, const double without[DDPM_GROUPS],
                                          double least, double most);

/* From a standard error of its own. */
struct ddpm_estimate ddpm_estimate_error(double value, double error);

/* Why there is none. */
struct ddpm_estimate ddpm_estimate_missing(const char *why);

#endif

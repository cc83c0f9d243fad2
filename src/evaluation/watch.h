/* Progress of a long comparison, and a way to stop it. */
#ifndef DDPM_EVALUATION_WATCH_H
#define DDPM_EVALUATION_WATCH_H

#include <ddpm/evaluate.h>

#include "core/error.h"

/* The work has parts, measured in units that the caller chooses. */
struct ddpm_watch {
    ddpm_evaluate_callback *callback; /* or NULL */
    void *user;
    int64_t total;        /* units of all parts */
    int64_t before, part; /* units before the current part, and of it */
};

/* Start the next part. */
static inline void ddpm_watch_next(struct ddpm_watch *watch, int64_t units)
{
    watch->before += watch->part;
    watch->part = units;
}

/* Report that `done` of `all` steps of the part are done. DDPM_STOPPED if the callback asks to
 * stop. */
static inline ddpm_status ddpm_watch(const struct ddpm_watch *watch, const char *what, int64_t done,
                                     int64_t all)
{
    const double share = (double)done / (double)all;
    const int64_t units = watch->before + (int64_t)(share * (double)watch->part);
    if (watch->callback && watch->callback(watch->user, what, units, watch->total) != 0)
        return ddpm_raise(DDPM_STOPPED, "comparing pictures was stopped");
    return DDPM_OK;
}

#endif

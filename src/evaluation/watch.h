/* Saying how far a long comparison is, and being told to stop. */
#ifndef DDPM_EVALUATION_WATCH_H
#define DDPM_EVALUATION_WATCH_H

#include <ddpm/evaluate.h>

#include "core/error.h"

/* The work comes in parts, measured in units of the caller's. */
struct ddpm_watch {
    ddpm_evaluate_callback *callback; /* or NULL */
    void *user;
    int64_t total;        /* units of all parts */
    int64_t before, part; /* units done before the running part, and of it */
};

/* Go on to the next part. */
static inline void ddpm_watch_next(struct ddpm_watch *watch, int64_t units)
{
    watch->before += watch->part;
    watch->part = units;
}

/* `done` of `all` steps of the part are done. DDPM_STOPPED when the callback says so. */
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

/* Only one process at a time trains into a run.
 *
 * The file system's lock on RUN/log.csv keeps others out: flock(), or an fcntl() lock if there is
 * no flock. RUN/.lock says who holds it, by process and host. If there are no locks at all, that
 * file, created with O_EXCL, is the lock. If it was left behind by a killed process of this host,
 * it is replaced; if it is from another host, it is trusted. */
#ifndef DDPM_PROGRAM_RUN_LOCK_H
#define DDPM_PROGRAM_RUN_LOCK_H

#include "core/error.h"

struct ddpm_run_lock {
    char *path; /* path of RUN/.lock; NULL if it is not ours */
};

/* Lock `run` through its log.csv, which is open for writing as `descriptor`, until that is closed.
 * DDPM_ERROR_IO if another process trains into the run; the message names it if possible. */
ddpm_status ddpm_run_lock_take(struct ddpm_run_lock *lock, const char *run, int descriptor);

/* Remove RUN/.lock if it is ours. */
void ddpm_run_lock_release(struct ddpm_run_lock *lock);

#endif

/* One process trains into a run at a time.
 *
 * The system's lock on RUN/log.csv keeps others out: flock(), or where the file system has none, a
 * lock of fcntl(). RUN/.lock says who holds it, by process and host. Where there is no lock at all
 * that file, made with O_EXCL, is the lock: one that a process of this host has left behind when it
 * was killed is recognised and replaced, one from another host is believed. */
#ifndef DDPM_PROGRAM_RUN_LOCK_H
#define DDPM_PROGRAM_RUN_LOCK_H

#include "core/error.h"

struct ddpm_run_lock {
    char *path; /* of RUN/.lock; NULL when it is not ours */
};

/* Lock `run` by its log.csv, open for writing as `descriptor`, until that is closed. DDPM_ERROR_IO
 * when another process trains into the run; the text names it where it is known. */
ddpm_status ddpm_run_lock_take(struct ddpm_run_lock *lock, const char *run, int descriptor);

/* Remove RUN/.lock if it is ours. */
void ddpm_run_lock_release(struct ddpm_run_lock *lock);

#endif

/* Which process trains into a run. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include "run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/memory.h"
#include "formats/file.h"

enum { NOTE_BYTES = 512, HOST_BYTES = 256 };

/* Contents of RUN/.lock. The inode tells a copy of the folder from the folder itself. */
struct note {
    long pid;
    char host[HOST_BYTES];
    unsigned long long started; /* start of the process, in clock ticks since boot */
    unsigned long long inode;   /* of log.csv */
};

enum holder { GONE, ALIVE, FAR }; /* FAR: on another host, so nothing is known */

/* Start of a process, in clock ticks since boot; 0: unknown, or it has ended. */
static unsigned long long start_of(long pid)
{
    char path[64], line[1024] = "", state = 0;
    unsigned long long started = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    const char *at = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    (void)fclose(file);
    if (!at || sscanf(at + 1,
                      " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                      "%*s %llu",
                      &state, &started) != 2)
        return 0;
    return state == 'Z' ? 0 : started;
}

static struct note own_note(int descriptor)
{
    struct stat about = {0};
    struct note note = {.pid = (long)getpid(), .started = start_of((long)getpid())};
    if (gethostname(note.host, sizeof note.host - 1) != 0 || !note.host[0])
        snprintf(note.host, sizeof note.host, "unknown");
    if (fstat(descriptor, &about) == 0)
        note.inode = (unsigned long long)about.st_ino;
    return note;
}

static enum holder judge(const struct note *note, const struct note *own)
{
    if (strcmp(note->host, own->host) != 0)
        return FAR;
    if (note->pid == own->pid || (kill((pid_t)note->pid, 0) != 0 && errno == ESRCH))
        return GONE;
    /* Another process may have got the same number since. */
    return own->started && start_of(note->pid) != note->started ? GONE : ALIVE;
}

/* False if the file is missing or incomplete: its process is about to write it, or was killed
 * first. */
static bool read_note(const char *path, char text[NOTE_BYTES], struct note *note)
{
    void *data;
    size_t bytes;
    *note = (struct note){0};
    text[0] = 0;
    if (ddpm_file_read_whole(&data, &bytes, path, NOTE_BYTES - 1) != DDPM_OK)
        return false;
    memcpy(text, data, bytes + 1);
    free(data);
    return bytes > 0 && text[bytes - 1] == '\n' &&
           sscanf(text, "pid %ld host %255s started %llu log %llu", &note->pid, note->host,
                  &note->started, &note->inode) == 4;
}

static bool wait_for_note(const char *path, char text[NOTE_BYTES], struct note *note)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    for (int tries = 0; tries < 20; ++tries) {
        if (read_note(path, text, note))
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static bool create_note(const char *path, const struct note *own)
{
    char text[NOTE_BYTES];
    int length = snprintf(text, sizeof text, "pid %ld host %s started %llu log %llu\n", own->pid,
                          own->host, own->started, own->inode);
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (file < 0)
        return false;
    bool good = write(file, text, (size_t)length) == length;
    int error = errno;
    good = close(file) == 0 && good;
    if (!good) {
        (void)unlink(path);
        errno = error && error != EEXIST ? error : EIO;
    }
    return good;
}

/* Remove a note whose process is gone, unless it has been replaced meanwhile. */
static void remove_note(const char *path, const char *text)
{
    char aside[4200], now[NOTE_BYTES];
    struct note note;
    if (snprintf(aside, sizeof aside, "%s.tmp-%ld", path, (long)getpid()) >= (int)sizeof aside ||
        rename(path, aside) != 0)
        return;
    (void)read_note(aside, now, &note);
    if (strcmp(now, text) == 0 || link(aside, path) == 0)
        (void)unlink(aside);
    else
        (void)rename(aside, path);
}

static ddpm_status refuse(const char *run, const struct note *note)
{
    if (!note || note->pid == 0)
        return ddpm_raise(DDPM_ERROR_IO, "%s: another process is training into this run", run);
    return ddpm_raise(DDPM_ERROR_IO,
                      "%s: another process is training into this run: process %ld on %s", run,
                      note->pid, note->host);
}

static ddpm_status refuse_far(const char *path, const char *run, const struct note *note)
{
    return ddpm_raise(DDPM_ERROR_IO,
                      "%s: another process is training into this run: process %ld on %s. If it "
                      "is no longer running, delete %s; this file system has no locks, so ddpm "
                      "cannot tell from here",
                      run, note->pid, note->host, path);
}

/* Write our note. With `locked` we already hold the file system's lock. Then only a live process
 * with this same folder, which slipped past the lock, stops us; and if the note cannot be written
 * (on a full disk), we continue without it. */
static ddpm_status take_note(const char *path, const char *run, const struct note *own, bool locked,
                             bool *made)
{
    char text[NOTE_BYTES];
    struct note note;
    for (int tries = 0; tries < 3; ++tries) {
        *made = create_note(path, own);
        if (*made || (errno != EEXIST && locked))
            return DDPM_OK;
        if (errno != EEXIST)
            return ddpm_raise_errno("cannot make %s", path);
        const bool known = locked ? read_note(path, text, &note) : wait_for_note(path, text, &note);
        const enum holder holder = known ? judge(&note, own) : GONE;
        if (holder == ALIVE && (!locked || note.inode == own->inode))
            return refuse(run, &note);
        if (holder == FAR && !locked)
            return refuse_far(path, run, &note);
        remove_note(path, text);
    }
    return refuse(run, NULL);
}

/* *locked: do we hold the file system's lock? If it has none, a remark says what is used
 * instead. */
static ddpm_status lock_file(const char *path, const char *run, int descriptor, bool *locked)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[NOTE_BYTES];
    struct note note;
    *locked = true;
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        return DDPM_OK;
    int error = errno;
    bool taken = error == EWOULDBLOCK;
#ifdef F_OFD_SETLK
    if (!taken && fcntl(descriptor, F_OFD_SETLK, &whole) == 0) {
        ddpm_log(DDPM_LOG_INFO,
                 "%s: no flock on this file system (%s); using an fcntl lock instead", run,
                 strerror(error));
        return DDPM_OK;
    }
    taken = taken || errno == EAGAIN || errno == EACCES;
#endif
    if (taken)
        return refuse(run, read_note(path, text, &note) ? &note : NULL);
    ddpm_log(DDPM_LOG_INFO, "%s: no locks on this file system (%s); using the file .lock instead",
             run, strerror(error));
    *locked = false;
    return DDPM_OK;
}

ddpm_status ddpm_run_lock_take(struct ddpm_run_lock *lock, const char *run, int descriptor)
{
    const struct note own = own_note(descriptor);
    char *path;
    bool locked, made = false;
    lock->path = NULL;
    DDPM_TRY(ddpm_path_join(&path, run, ".lock"));
    ddpm_status status = lock_file(path, run, descriptor, &locked);
    if (status == DDPM_OK)
        status = take_note(path, run, &own, locked, &made);
    if (made)
        lock->path = path;
    else
        free(path);
    return status;
}

void ddpm_run_lock_release(struct ddpm_run_lock *lock)
{
    if (lock->path)
        (void)unlink(lock->path);
    free(lock->path);
    lock->path = NULL;
}

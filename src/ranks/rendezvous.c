/* Ranks find each other through files. */
#include "ranks/rendezvous.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/memory.h"

enum { PATH_BYTES = 4096, HOST_BYTES = 64, TEXT_BYTES = 400 };
static const double look_again = 0.25; /* seconds */

static const char magic[8] = "ddpm-r1";

/* FILE.k. Only rank k writes it. */
struct presence {
    char magic[8];
    uint64_t job, nonce; /* hash of the launcher's variables; random number of the process */
    int64_t note;
    uint64_t notes; /* how many so far */
    uint64_t ended;
    char host[HOST_BYTES], text[TEXT_BYTES];
};

/* The start of FILE. The nonces of all ranks follow, 0 for a rank that has not arrived. */
struct address {
    char magic[8];
    uint64_t job;
    unsigned char id[DDPM_NCCL_ID_BYTES];
};

/* What is known about another rank. */
struct other {
    struct presence seen;
    uint64_t ended_before; /* nonce of an earlier process of this rank that has ended */
    bool note_is_new;
};

struct ddpm_rendezvous {
    char path[PATH_BYTES];
    const char *variable;
    int index, count;
    struct presence own;
    struct other *others; /* [count] */
    uint64_t *nonces;     /* [count], as published */
    bool published;
    double looked; /* when the files were last read */
};

static void path_of(const struct ddpm_rendezvous *r, int rank, char path[PATH_BYTES + 16])
{
    snprintf(path, PATH_BYTES + 16, "%s.%d", r->path, rank);
}

/* Replace a file with these two blocks of bytes. */
static ddpm_status replace(const char *path, const void *a, size_t a_bytes, const void *b,
                           size_t b_bytes)
{
    char temporary[PATH_BYTES + 64];
    snprintf(temporary, sizeof temporary, "%s.tmp-%ld", path, (long)getpid());
    FILE *file = fopen(temporary, "we");
    if (!file)
        return ddpm_raise_errno("%s: cannot write the file through which ranks find each other "
                                "(DDPM_RANKS_FILE names another)",
                                temporary);
    bool good = fwrite(a, a_bytes, 1, file) == 1 && (!b_bytes || fwrite(b, b_bytes, 1, file) == 1);
    good = fclose(file) == 0 && good;
    if (good && rename(temporary, path) == 0)
        return DDPM_OK;
    const ddpm_status status = ddpm_raise_errno("%s: cannot be written", path);
    unlink(temporary);
    return status;
}

/* False if the file is missing or too short. */
static bool read_bytes(const char *path, void *a, size_t a_bytes, void *b, size_t b_bytes)
{
    FILE *file = fopen(path, "re");
    const bool good =
        file && fread(a, a_bytes, 1, file) == 1 && (!b_bytes || fread(b, b_bytes, 1, file) == 1);
    if (file)
        fclose(file);
    return good;
}

/* NFS remembers that a file did not exist until its folder is opened again. */
static void open_folder(const struct ddpm_rendezvous *r)
{
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", r->path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    DIR *opened = opendir(slash ? folder : ".");
    if (opened)
        closedir(opened);
}

static ddpm_status write_own(struct ddpm_rendezvous *r)
{
    char path[PATH_BYTES + 16];
    path_of(r, r->index, path);
    return replace(path, &r->own, sizeof r->own, NULL, 0);
}

static bool read_presence(const struct ddpm_rendezvous *r, int rank, struct presence *out)
{
    char path[PATH_BYTES + 16];
    path_of(r, rank, path);
    const bool good = read_bytes(path, out, sizeof *out, NULL, 0) &&
                      memcmp(out->magic, magic, sizeof magic) == 0 && out->job == r->own.job;
    out->host[HOST_BYTES - 1] = out->text[TEXT_BYTES - 1] = '\0';
    return good;
}

/* What distinguishes this start of the job from others: "SLURM_JOB_ID=7 SLURM_STEP_ID=0 …". */
static void describe_job(const struct ddpm_tasks *tasks, char *text, size_t bytes, char *name,
                         size_t name_bytes)
{
    static const char *const variables[] = {"SLURM_JOB_ID",
                                            "SLURM_STEP_ID",
                                            "SLURM_RESTART_COUNT",
                                            "TORCHELASTIC_RUN_ID",
                                            "TORCHELASTIC_RESTART_COUNT",
                                            "MASTER_ADDR",
                                            "MASTER_PORT"};
    size_t used = (size_t)snprintf(text, bytes, "%s=%d", tasks->variable, tasks->count);
    const char *first = NULL;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; ++i) {
        const char *value = getenv(variables[i]);
        if (value && used < bytes)
            used += (size_t)snprintf(text + used, bytes - used, " %s=%s", variables[i], value);
        if (value && !first && *value && !strchr(value, '/'))
            first = value;
    }
    snprintf(name, name_bytes, ".ddpm-ranks-%.64s", first ? first : "job");
}

/* Random, but never 0. */
static uint64_t draw_nonce(void)
{
    uint64_t nonce = 0;
    struct timespec moment;
    FILE *file = fopen("/dev/urandom", "re");
    if (file && fread(&nonce, sizeof nonce, 1, file) != 1)
        nonce = 0;
    if (file)
        fclose(file);
    clock_gettime(CLOCK_REALTIME, &moment);
    nonce ^= (uint64_t)moment.tv_nsec << 32 ^ (uint64_t)getpid();
    return nonce ? nonce : 1;
}

static void fill(struct ddpm_rendezvous *r, const struct ddpm_tasks *tasks)
{
    char job[2048], name[96];
    const char *chosen = getenv("DDPM_RANKS_FILE");
    describe_job(tasks, job, sizeof job, name, sizeof name);
    snprintf(r->path, sizeof r->path, "%s", chosen && *chosen ? chosen : name);
    r->variable = tasks->variable;
    r->index = tasks->rank;
    r->count = tasks->count;
    memcpy(r->own.magic, magic, sizeof magic);
    r->own.job = ddpm_fnv64(DDPM_FNV64_START, job, strlen(job));
    r->own.nonce = draw_nonce();
    if (gethostname(r->own.host, HOST_BYTES - 1) != 0)
        snprintf(r->own.host, HOST_BYTES, "unknown host");
}

ddpm_status ddpm_rendezvous_open(const struct ddpm_tasks *tasks, struct ddpm_rendezvous **out)
{
    struct ddpm_rendezvous *r;
    const size_t count = (size_t)tasks->count;
    *out = NULL;
    DDPM_TRY(DDPM_NEW(&r, "ranks"));
    fill(r, tasks);
    ddpm_status status = ddpm_new_array((void **)&r->others, count, sizeof *r->others, "ranks");
    if (status == DDPM_OK)
        status = ddpm_new_array((void **)&r->nonces, count, sizeof *r->nonces, "ranks");
    for (int rank = 0; rank < r->count && status == DDPM_OK; ++rank) {
        struct presence before;
        if (rank != r->index && read_presence(r, rank, &before) && before.ended)
            r->others[rank].ended_before = before.nonce;
    }
    if (status == DDPM_OK)
        status = write_own(r);
    if (status == DDPM_OK)
        *out = r;
    else
        ddpm_rendezvous_close(&r);
    return status;
}

/* Read all files again. Files of processes that ended before this one started do not count. */
static void look_at_all(struct ddpm_rendezvous *r)
{
    r->looked = ddpm_now();
    open_folder(r);
    for (int rank = 0; rank < r->count; ++rank) {
        struct other *other = &r->others[rank];
        struct presence seen;
        if (rank == r->index || !read_presence(r, rank, &seen) || seen.nonce == other->ended_before)
            continue;
        if (seen.notes != other->seen.notes || seen.nonce != other->seen.nonce)
            other->note_is_new = seen.notes > 0;
        other->seen = seen;
    }
}

ddpm_status ddpm_rendezvous_look(struct ddpm_rendezvous *r)
{
    if (ddpm_now() - r->looked > look_again)
        look_at_all(r);
    for (int rank = 0; rank < r->count; ++rank)
        if (r->others[rank].seen.ended)
            return ddpm_raise(DDPM_ERROR_IO, "rank %d (%s) has ended: %s", rank,
                              r->others[rank].seen.host, r->others[rank].seen.text);
    return DDPM_OK;
}

ddpm_status ddpm_rendezvous_publish(struct ddpm_rendezvous *r,
                                    const unsigned char id[DDPM_NCCL_ID_BYTES])
{
    struct address address = {.job = r->own.job};
    bool same = r->published;
    for (int rank = 0; rank < r->count; ++rank) {
        const uint64_t nonce = rank == r->index ? r->own.nonce : r->others[rank].seen.nonce;
        same = same && r->nonces[rank] == nonce;
        r->nonces[rank] = nonce;
    }
    if (same)
        return DDPM_OK;
    r->published = true;
    memcpy(address.magic, magic, sizeof magic);
    memcpy(address.id, id, sizeof address.id);
    return replace(r->path, &address, sizeof address, r->nonces,
                   (size_t)r->count * sizeof *r->nonces);
}

ddpm_status ddpm_rendezvous_find(struct ddpm_rendezvous *r, unsigned char id[DDPM_NCCL_ID_BYTES],
                                 bool *found)
{
    struct address address;
    *found = false;
    DDPM_TRY(ddpm_rendezvous_look(r));
    if (!read_bytes(r->path, &address, sizeof address, r->nonces,
                    (size_t)r->count * sizeof *r->nonces))
        return DDPM_OK;
    *found = memcmp(address.magic, magic, sizeof magic) == 0 && address.job == r->own.job &&
             r->nonces[r->index] == r->own.nonce;
    memcpy(id, address.id, sizeof address.id);
    return DDPM_OK;
}

ddpm_status ddpm_rendezvous_give_up(struct ddpm_rendezvous *r, double timeout)
{
    enum { NAMED = 8 };
    char names[NAMED * 16] = "";
    int missing = 0;
    size_t used = 0;
    look_at_all(r);
    for (int rank = 0; rank < r->count; ++rank) {
        if (rank == r->index || r->others[rank].seen.nonce)
            continue;
        if (missing++ < NAMED)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%d",
                                     missing > 1 ? ", " : "", rank);
    }
    if (missing == 0)
        return ddpm_raise(DDPM_ERROR_IO,
                          "all %d ranks have arrived, but NCCL has not joined them in %g seconds "
                          "(rank-timeout); NCCL_DEBUG=INFO says more",
                          r->count, timeout);
    return ddpm_raise(
        DDPM_ERROR_IO,
        "%s says that %d processes were started, but rank %s%s has not arrived at %s in "
        "%g seconds (rank-timeout); want a file that all of them see: "
        "DDPM_RANKS_FILE names another",
        r->variable, r->count, names, missing > NAMED ? " and others" : "", r->path, timeout);
}

void ddpm_rendezvous_joined(struct ddpm_rendezvous *r)
{
    if (r->index == 0)
        unlink(r->path);
}

ddpm_status ddpm_rendezvous_tell(struct ddpm_rendezvous *r, int64_t note)
{
    r->own.note = note;
    ++r->own.notes;
    return write_own(r);
}

void ddpm_rendezvous_hear(struct ddpm_rendezvous *r, int *from, int64_t *note)
{
    *from = -1;
    if (ddpm_now() - r->looked > look_again)
        look_at_all(r);
    for (int rank = 0; rank < r->count && *from < 0; ++rank) {
        struct other *other = &r->others[rank];
        if (!other->note_is_new)
            continue;
        other->note_is_new = false;
        *from = rank;
        *note = other->seen.note;
    }
}

bool ddpm_rendezvous_has(struct ddpm_rendezvous *r, int rank)
{
    struct presence seen;
    return read_presence(r, rank, &seen) && !seen.ended;
}

void ddpm_rendezvous_end(struct ddpm_rendezvous *r, const char *why)
{
    if (r->own.ended)
        return;
    r->own.ended = 1;
    snprintf(r->own.text, sizeof r->own.text, "%s", why);
    (void)write_own(r);
}

void ddpm_rendezvous_close(struct ddpm_rendezvous **rendezvous)
{
    struct ddpm_rendezvous *closing = *rendezvous;
    char path[PATH_BYTES + 16];
    *rendezvous = NULL;
    if (!closing)
        return;
    path_of(closing, closing->index, path);
    unlink(path);
    ddpm_rendezvous_joined(closing);
    free(closing->others);
    free(closing->nonces);
    free(closing);
}

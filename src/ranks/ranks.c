/* Waiting for other ranks with a deadline.
 *
 * A rank that has waited for a second says so to all others in a note, and again when it continues.
 * When the time is up, the ranks that are not waiting are missing, and the lowest of the waiting
 * ones speaks for all. A rank that is busy for long sends notes that restart the others' time. */
#include "ranks/ranks.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "ranks/state.h"

enum note { GOES_ON, WAITS, STILL_HERE };

static const double eager = 0.02;  /* seconds of waiting without sleeping */
static const double patience = 1;  /* … before telling the others */
static const double stopped = 0.5; /* … between two polls: this process was suspended */

const char *ddpm_rank_name(const struct ddpm_ranks *ranks, int rank, char *text, size_t bytes)
{
    snprintf(text, bytes, "rank %d (%s)", rank, ranks->places[rank].host);
    return text;
}

ddpm_status ddpm_ranks_lose(struct ddpm_ranks *ranks)
{
    ranks->lost = true;
    snprintf(ranks->text, sizeof ranks->text, "%s", ddpm_error_message());
    if (ranks->apart)
        ddpm_nccl_say_end();
    if (ranks->nccl) /* its kernels would wait for ever, and freeing memory would wait for them */
        ranks->nccl->abort();
    return DDPM_ERROR_IO;
}

ddpm_status ddpm_ranks_refuse_lost(const struct ddpm_ranks *ranks)
{
    return ranks->lost ? ddpm_raise(DDPM_ERROR_IO, "%s", ranks->text) : DDPM_OK;
}

static void tell_all(struct ddpm_ranks *ranks, enum note note)
{
    for (int rank = 0; rank < ranks->count; ++rank)
        if (rank != ranks->index)
            (void)ranks->transport->tell(rank,
                                         (int64_t)note); /* the next wait will show who is lost */
}

/* Receive all notes that have arrived; true if one says that its rank is busy. */
static bool hear_all(struct ddpm_ranks *ranks)
{
    bool busy = false;
    int from;
    int64_t note;
    while (ranks->transport->hear(&from, &note) == DDPM_OK && from >= 0) {
        if (note == STILL_HERE)
            busy = true;
        else
            ranks->waiting[from] = note == WAITS;
    }
    return busy;
}

static ddpm_status give_up(struct ddpm_ranks *ranks)
{
    enum { NAMED = 3 };
    char names[NAMED * (DDPM_HOST_BYTES + 24)] = "", name[DDPM_HOST_BYTES + 24];
    int missing = 0, lowest = ranks->index;
    size_t used = 0;
    for (int rank = 0; rank < ranks->count; ++rank) {
        if (rank == ranks->index || ranks->waiting[rank]) {
            lowest = rank < lowest ? rank : lowest;
            continue;
        }
        if (missing++ < NAMED)
            used +=
                (size_t)snprintf(names + used, sizeof names - used, "%s%s", missing > 1 ? ", " : "",
                                 ddpm_rank_name(ranks, rank, name, sizeof name));
    }
    ranks->speaks = lowest == ranks->index;
    if (missing == 0)
        (void)ddpm_raise(DDPM_ERROR_IO,
                         "all %d ranks have waited for %g seconds (rank-timeout) for what the "
                         "others sent: the network between them fails",
                         ranks->count, ranks->timeout);
    else
        (void)ddpm_raise(DDPM_ERROR_IO,
                         "no answer for %g seconds (rank-timeout) from %s%s: killed, stopped or "
                         "out of reach",
                         ranks->timeout, names, missing > NAMED ? " and others" : "");
    return ddpm_ranks_lose(ranks);
}

ddpm_status ddpm_ranks_wait_until(struct ddpm_ranks *ranks, ddpm_ranks_condition *test, int request)
{
    const double begin = ddpm_now();
    double alive = begin, last = begin;
    bool done = false, told = false;
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    for (;;) {
        if (test(request, &done) != DDPM_OK)
            return ddpm_ranks_lose(ranks);
        if (done && told)
            tell_all(ranks, GOES_ON);
        if (done)
            return DDPM_OK;
        const double moment = ddpm_now();
        /* While this process was suspended, it could not hear the others. */
        if (moment - last > stopped)
            alive += moment - last;
        last = moment;
        if (moment - begin < eager) {
            sched_yield();
            continue;
        }
        if (hear_all(ranks))
            alive = moment;
        if (!told &&
            moment - begin > (patience < ranks->timeout / 2 ? patience : ranks->timeout / 2)) {
            tell_all(ranks, WAITS);
            told = true;
        }
        if (moment - alive > ranks->timeout)
            return give_up(ranks);
        ddpm_sleep(moment - begin < patience ? 1e-4 : 1e-3);
    }
}

ddpm_status ddpm_ranks_begin(struct ddpm_ranks *ranks, const struct ddpm_collective_call *call,
                             int *request)
{
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    return ranks->transport->begin(call, request) == DDPM_OK ? DDPM_OK : ddpm_ranks_lose(ranks);
}

ddpm_status ddpm_ranks_test(struct ddpm_ranks *ranks, int request, bool *done)
{
    DDPM_TRY(ddpm_ranks_refuse_lost(ranks));
    return ranks->transport->test(request, done) == DDPM_OK ? DDPM_OK : ddpm_ranks_lose(ranks);
}

ddpm_status ddpm_ranks_wait_for(struct ddpm_ranks *ranks, int request)
{
    return ddpm_ranks_wait_until(ranks, ranks->transport->test, request);
}

ddpm_status ddpm_ranks_run(struct ddpm_ranks *ranks, const struct ddpm_collective_call *call)
{
    int request;
    DDPM_TRY(ddpm_ranks_begin(ranks, call, &request));
    return ddpm_ranks_wait_for(ranks, request);
}

ddpm_status ddpm_ranks_gather(struct ddpm_ranks *ranks, void *all, size_t bytes)
{
    if (!ranks)
        return DDPM_OK;
    return ddpm_ranks_run(ranks, &(struct ddpm_collective_call){.what = DDPM_COLLECTIVE_GATHER,
                                                                .receive = all,
                                                                .count = bytes});
}

ddpm_status ddpm_ranks_broadcast(struct ddpm_ranks *ranks, int root, void *values, size_t bytes)
{
    const size_t most = DDPM_MOST_COLLECTIVE_BYTES;
    for (size_t done = 0; ranks && done < bytes; done += most)
        DDPM_TRY(ddpm_ranks_run(ranks, &(struct ddpm_collective_call){
                                           .what = DDPM_COLLECTIVE_BROADCAST,
                                           .receive = (char *)values + done,
                                           .count = bytes - done < most ? bytes - done : most,
                                           .root = root}));
    return DDPM_OK;
}

ddpm_status ddpm_ranks_collect(struct ddpm_ranks *ranks, int root, const void *own, void *all,
                               size_t bytes)
{
    if (!ranks)
        return DDPM_OK;
    return ddpm_ranks_run(ranks, &(struct ddpm_collective_call){.what = DDPM_COLLECTIVE_COLLECT,
                                                                .send = own,
                                                                .receive = all,
                                                                .count = bytes,
                                                                .root = root});
}

ddpm_status ddpm_ranks_spread(struct ddpm_ranks *ranks, int root, const void *all, void *own,
                              size_t bytes)
{
    if (!ranks)
        return DDPM_OK;
    return ddpm_ranks_run(ranks, &(struct ddpm_collective_call){.what = DDPM_COLLECTIVE_SPREAD,
                                                                .send = all,
                                                                .receive = own,
                                                                .count = bytes,
                                                                .root = root});
}

void ddpm_ranks_still_here(struct ddpm_ranks *ranks)
{
    if (!ranks || ranks->lost || ddpm_now() - ranks->told < patience)
        return;
    ranks->told = ddpm_now();
    tell_all(ranks, STILL_HERE);
}

int ddpm_ranks_index(const struct ddpm_ranks *ranks)
{
    return ranks ? ranks->index : 0;
}

int ddpm_ranks_count(const struct ddpm_ranks *ranks)
{
    return ranks ? ranks->count : 1;
}

const char *ddpm_ranks_transport(const struct ddpm_ranks *ranks)
{
    return ranks->description;
}

int ddpm_ranks_hosts(const struct ddpm_ranks *ranks)
{
    int hosts = 0;
    for (int rank = 0; rank < ranks->count; ++rank) {
        int before = 0;
        while (before < rank && strcmp(ranks->places[before].host, ranks->places[rank].host) != 0)
            ++before;
        hosts += before == rank;
    }
    return hosts;
}

int ddpm_ranks_here(const struct ddpm_ranks *ranks)
{
    int here = ranks == NULL;
    for (int rank = 0; rank < ddpm_ranks_count(ranks) && ranks; ++rank)
        here += strcmp(ranks->places[rank].host, ranks->places[ranks->index].host) == 0;
    return here;
}

int ddpm_ranks_place(const struct ddpm_ranks *ranks)
{
    int before = 0;
    for (int rank = 0; rank < ddpm_ranks_index(ranks); ++rank)
        before += strcmp(ranks->places[rank].host, ranks->places[ranks->index].host) == 0;
    return before;
}

int ddpm_ranks_sharing(const struct ddpm_ranks *ranks)
{
    int sharing = ranks == NULL;
    const struct ddpm_rank_place *own = ranks ? &ranks->places[ranks->index] : NULL;
    for (int rank = 0; rank < ddpm_ranks_count(ranks) && ranks; ++rank)
        sharing += memcmp(&ranks->places[rank], own, sizeof *own) == 0;
    return sharing;
}

void ddpm_ranks_set_timeout(struct ddpm_ranks *ranks, double timeout)
{
    if (ranks)
        ranks->timeout = timeout;
}

bool ddpm_ranks_lost(const struct ddpm_ranks *ranks)
{
    return ranks && ranks->lost;
}

bool ddpm_ranks_speaks(const struct ddpm_ranks *ranks)
{
    return !ranks || ranks->speaks;
}

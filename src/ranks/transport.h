/* What a plug-in that joins processes offers: collective operations that are begun and then tested,
 * and short notes between two ranks. ranks.c makes everything else of these.
 *
 * Every rank begins the same collectives in the same order, lane by lane. All functions are called
 * by one thread. */
#ifndef DDPM_RANKS_TRANSPORT_H
#define DDPM_RANKS_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ddpm/status.h>

/* Raise it whenever this file changes. */
#define DDPM_TRANSPORT_ABI 3u

enum ddpm_collective {
    DDPM_COLLECTIVE_SUM,       /* float [count] of all ranks added up, in `receive` on every rank */
    DDPM_COLLECTIVE_GATHER,    /* `count` bytes of every rank, in the order of ranks, everywhere */
    DDPM_COLLECTIVE_EXCHANGE,  /* bytes [ranks, count]: piece p of rank r becomes piece r of p */
    DDPM_COLLECTIVE_BROADCAST, /* `count` bytes of rank `root`, everywhere */
    DDPM_COLLECTIVE_COLLECT,   /* `count` bytes of every rank, in the order of ranks, at `root` */
    DDPM_COLLECTIVE_SPREAD,    /* bytes [ranks, count] of `root`: piece r to rank r */
};

/* Calls of different lanes may begin in a different order on every rank; those of one lane may not.
 */
enum ddpm_lane { DDPM_LANE_FIRST, DDPM_LANE_SECOND, DDPM_LANE_COUNT };

/* A collective in `receive`. `send` is NULL where the rank's own part lies in `receive` already, as
 * SUM, GATHER (at its place) and BROADCAST want it. COLLECT and SPREAD leave the root's own piece
 * alone: it lies in `receive`, in `send`. Both are borrowed until it is done. */
struct ddpm_collective_call {
    enum ddpm_collective what;
    const void *send;
    void *receive;
    size_t count; /* below 2^31 */
    int root;     /* BROADCAST, COLLECT, SPREAD */
    enum ddpm_lane lane;
};

struct ddpm_transport {
    /* Meet the others, once in a process. *description, "Open MPI v4.1.4", lives as long as the
     * process. */
    ddpm_status (*join)(int *rank, int *count, const char **description);
    /* Part from the others in good order; all ranks do. */
    void (*leave)(void);
    /* End all ranks now. Does not return. */
    void (*abort)(int exit_code);

    ddpm_status (*begin)(const struct ddpm_collective_call *call, int *request);
    /* *done: it is; the request is gone then, and after a failure. Lets all others go on, too. */
    ddpm_status (*test)(int request, bool *done);

    /* Send `note` to a rank without waiting; lost where the one before has not left yet. */
    ddpm_status (*tell)(int to, int64_t note);
    /* A note that has arrived; *from is -1 where there is none. */
    ddpm_status (*hear)(int *from, int64_t *note);
};

/* What the plug-in fails through: its texts reach the caller's ddpm_error_message(). */
typedef ddpm_status ddpm_transport_raise(ddpm_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The plug-in exports `ddpm_transport`, of this type; NULL when `abi` is not the one that it was
 * built for. */
typedef const struct ddpm_transport *ddpm_transport_entry(unsigned abi,
                                                          ddpm_transport_raise *raise);

#endif

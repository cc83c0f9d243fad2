/* What a plug-in that joins processes provides: collective operations that are started and then
 * tested, and short notes between two ranks. ranks.c builds everything else on these.
 *
 * Every rank starts the same collectives in the same order, lane by lane. All functions are called
 * by one thread. */
#ifndef DDPM_RANKS_TRANSPORT_H
#define DDPM_RANKS_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ddpm/status.h>

/* Increment it whenever this file changes. */
#define DDPM_TRANSPORT_ABI 5u

enum ddpm_collective {
    DDPM_COLLECTIVE_SUM,       /* float [count] of all ranks added up, in `receive` on every rank */
    DDPM_COLLECTIVE_GATHER,    /* `count` bytes of every rank, in the order of ranks, everywhere */
    DDPM_COLLECTIVE_EXCHANGE,  /* bytes [ranks, count]: piece p of rank r becomes piece r of p */
    DDPM_COLLECTIVE_BROADCAST, /* `count` bytes of rank `root`, everywhere */
    DDPM_COLLECTIVE_COLLECT,   /* `count` bytes of every rank, in the order of ranks, at `root` */
    DDPM_COLLECTIVE_SPREAD,    /* bytes [ranks, count] of `root`: piece r to rank r */
    DDPM_COLLECTIVE_SUM_AT,    /* float [count] of all ranks added up, in `receive` of rank `root`;
                                  the others keep what they have there */
};

/* Calls in different lanes may start in a different order on every rank; those in one lane may
 * not. */
enum ddpm_lane { DDPM_LANE_FIRST, DDPM_LANE_SECOND, DDPM_LANE_COUNT };

/* Parts of unequal length instead of `count` bytes for each rank: rank r has counts[r] floats from
 * float starts[r] on. Both are borrowed until the collective is done. NULL: equal parts. */
struct ddpm_parts {
    const int *counts, *starts; /* [ranks] */
};

/* A collective with its result in `receive`. `send` is NULL if the rank's own part is already in
 * `receive`, as for SUM, SUM_AT, GATHER (at its place) and BROADCAST. COLLECT and SPREAD do not
 * touch the root's own piece, which is in `receive` or `send`. Both are borrowed until it is done.
 */
struct ddpm_collective_call {
    enum ddpm_collective what;
    const void *send;
    void *receive;
    size_t count; /* below 2^31 */
    int root;     /* BROADCAST, COLLECT, SPREAD, SUM_AT */
    enum ddpm_lane lane;
    struct ddpm_parts parts;    /* GATHER, COLLECT, SPREAD: parts of the buffer for all ranks;
                                   EXCHANGE: parts of `send` */
    struct ddpm_parts received; /* EXCHANGE: parts of `receive` */
};

struct ddpm_transport {
    /* Join the others, once per process. *description, "Open MPI v4.1.4", lives as long as the
     * process. */
    ddpm_status (*join)(int *rank, int *count, const char **description);
    /* Leave the others in good order; all ranks call it. If MPI_Finalize() hangs, as MPICH's has
     * been seen to do, the process ends with `exit_code`. */
    void (*leave)(int exit_code);
    /* End all ranks now. Does not return. */
    void (*abort)(int exit_code);

    ddpm_status (*begin)(const struct ddpm_collective_call *call, int *request);
    /* *done: is it finished? Then, and after a failure, the request is gone. Also makes progress on
     * all others. */
    ddpm_status (*test)(int request, bool *done);

    /* Send `note` to a rank without waiting; it is lost if the previous one has not left yet. */
    ddpm_status (*tell)(int to, int64_t note);
    /* A note that has arrived; *from is -1 if there is none. */
    ddpm_status (*hear)(int *from, int64_t *note);

    /* Memory shared with neighbours: the ranks on this machine that can reach the same memory. All
     * four are NULL if the transport has none. */
    /* The lowest of this rank's neighbours; itself if it has none. */
    ddpm_status (*lowest_neighbour)(int *rank);
    /* `bytes` bytes that all neighbours can read and write. All of them call it, and it waits for
     * them without a timeout. Pages may be missing where the system has none left. */
    ddpm_status (*share)(size_t bytes, void **memory);
    /* Free it, if all neighbours have it; all of them call it. */
    void (*unshare)(void);
    /* Start to wait until all neighbours have called this: then each sees what the others wrote to
     * shared memory before. Test it as a collective; it belongs to no lane. */
    ddpm_status (*meet_neighbours)(int *request);
};

/* How the plug-in reports failures: its messages reach the caller's ddpm_error_message(). */
typedef ddpm_status ddpm_transport_raise(ddpm_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The plug-in exports `ddpm_transport`, of this type; it returns NULL if `abi` is not the one it
 * was built for. */
typedef const struct ddpm_transport *ddpm_transport_entry(unsigned abi,
                                                          ddpm_transport_raise *raise);

#endif
